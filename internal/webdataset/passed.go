package webdataset

import "io"

// Passed is how many bytes of the file, as it lies on the disk, [Shard.Walk] has passed. Only
// its visitor may ask.
func (s *Shard) Passed() int64 {
	if s.walked == nil {
		return 0
	}
	at, err := s.walked.Seek(0, io.SeekCurrent)
	if err != nil { // it is closed
		return s.size
	}
	return min(at, s.size)
}
