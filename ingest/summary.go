package ingest

import "time"

// Summary is what a run did, and the dataset after it. Its JSON keys are part of
// the command line's contract.
type Summary struct {
	// Seen counts the inputs: photographs and, where all faces are taken, each further face.
	// Each is counted in one of the next four as well.
	Seen       int `json:"seen"`
	Written    int `json:"written"`
	Duplicates int `json:"duplicates"`
	Rejected   int `json:"rejected"`
	// Skipped inputs were dealt with by an earlier run over the same source.
	Skipped int `json:"skipped"`
	// RejectedBefore of the skipped inputs were refused by that run.
	RejectedBefore int `json:"rejected_before"`
	// Retried inputs were refused by an earlier run, and looked at again: what became of them is
	// among Written, Duplicates and Rejected.
	Retried int `json:"retried"`
	// Changed counts those of Skipped that were taken in, and whose files hold something else now.
	Changed int `json:"changed"`
	// Filtered counts the photographs of identities that have too few. They are not in Seen,
	// and nothing is recorded of them.
	Filtered int `json:"filtered"`
	// Pairs is the number of pairs that were written.
	Pairs int `json:"pairs"`
	// Seconds is the run's duration. ImagesPerSecond counts the inputs that it processed, not
	// those that it skipped.
	Seconds         float64 `json:"seconds"`
	ImagesPerSecond float64 `json:"images_per_second"`
	// RejectReasons counts the refused inputs by "stage: reason".
	RejectReasons map[string]int `json:"reject_reasons"`
	// Dataset is the folder written to; Digest, Rows, Shards and Identities are the
	// dataset's after the run.
	Dataset    string `json:"dataset"`
	Digest     string `json:"digest"`
	Rows       int    `json:"rows"`
	Shards     int    `json:"shards"`
	Identities int    `json:"identities"`
	// Memory is the bytes that photographs and crops in work could take at once.
	Memory int64 `json:"memory"`
	// Decoder and Detector are what the crops were made with.
	Decoder  string `json:"decoder"`
	Detector string `json:"detector"`
}

// judge is an error if too many of the inputs were refused, by this run or by an earlier one:
// the outcome of a job does not depend on how often it was interrupted.
func (s *Summary) judge(allowed float64) error {
	rejected := s.Rejected + s.RejectedBefore
	if float64(rejected) <= allowed*float64(s.Seen) {
		return nil
	}
	return &RejectRateError{Rejected: rejected, Seen: s.Seen, Max: allowed}
}

func (s *Summary) time(begun time.Time) {
	s.Seconds = time.Since(begun).Seconds()
	if s.Seconds > 0 {
		s.ImagesPerSecond = float64(s.Seen-s.Skipped) / s.Seconds
	}
}
