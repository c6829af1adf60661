package identification

import (
	"fmt"
	"math"

	"facepipe/eval/verification"
)

// Result is all that one protocol says of one model.
type Result struct {
	// Protocol is "ijb", "all-pairs" or "distractors", Set what it was run on.
	Protocol string `json:"protocol"`
	Set      string `json:"set"`
	// Switches are all settings that decide the figures, by name.
	Switches map[string]string `json:"switches"`
	// Counts are numbers of what was used, and of what was not and why, by name.
	Counts map[string]int64 `json:"counts"`
	// Verification is TAR at FAR; Curve the same at many rates, for drawing.
	Verification []OperatingPoint `json:"verification,omitempty"`
	Curve        []CurvePoint     `json:"curve,omitempty"`
	// Searches are those in each gallery, Mean what they come to together.
	Searches []Search `json:"searches,omitempty"`
	Mean     *Mean    `json:"mean,omitempty"`
	// RankOne is by the number of distractors.
	RankOne []RankOne `json:"rank_one,omitempty"`
	// Notes say what could not be measured, was left out or should be known.
	Notes []string `json:"notes,omitempty"`
}

// Rate is a share of successes, with its counts.
type Rate struct {
	// Rate is 1 - Errors/Of, 0 to 1.
	Rate   float64 `json:"rate"`
	Errors int64   `json:"errors"`
	Of     int64   `json:"of"`
}

// successes is the rate of so many of all.
func successes(n, of int64) Rate { return Rate{float64(n) / float64(of), of - n, of} }

// OperatingPoint is the ROC at a threshold that follows from a target.
type OperatingPoint struct {
	// Target is the false accept rate that was asked for.
	Target float64 `json:"target_far"`
	// FAR is what is reached: FalseAccepts of NonMated comparisons.
	FAR          float64 `json:"far"`
	FalseAccepts int64   `json:"false_accepts"`
	NonMated     int64   `json:"non_mated"`
	// TAR is the true accept rate, with the mated comparisons that are rejected.
	TAR Rate `json:"tar"`
	// Threshold is a squared distance: comparisons below it are accepted. Cosine is the same as
	// a cosine: those above it are accepted, and in counted protocols those at it.
	Threshold float64 `json:"threshold"`
	Cosine    float64 `json:"threshold_cosine"`
}

// CurvePoint is a point of a curve.
type CurvePoint struct {
	FAR    float64 `json:"far"`
	TAR    float64 `json:"tar"`
	Cosine float64 `json:"threshold_cosine"`
}

// Search is what probes find in one gallery.
type Search struct {
	Gallery string `json:"gallery"`
	// Templates and Subjects of the gallery; Mated probes have a subject of it, NonMated have not.
	Templates int `json:"templates"`
	Subjects  int `json:"subjects"`
	Mated     int `json:"mated"`
	NonMated  int `json:"non_mated"`
	// Ranks are by k, OpenSet by the target.
	Ranks   []RankRate  `json:"ranks"`
	OpenSet []OpenPoint `json:"open_set"`
	// Notes say what of it could not be measured or was left out.
	Notes []string `json:"notes,omitempty"`
}

// RankRate is the share of mated probes whose mate is among the first Rank. A tie counts against
// the mate.
type RankRate struct {
	Rank int  `json:"rank"`
	Hits Rate `json:"hits"`
}

// OpenPoint is TPIR at FPIR.
type OpenPoint struct {
	// Target is the FPIR that was asked for; FPIR what is reached: FalsePositives of NonMated.
	Target         float64 `json:"target_fpir"`
	FPIR           float64 `json:"fpir"`
	FalsePositives int64   `json:"false_positives"`
	NonMated       int64   `json:"non_mated"`
	// TPIR has the mated probes that are missed (FNIR) as its errors.
	TPIR Rate `json:"tpir"`
	// Cosine is the threshold: what is above it counts.
	Cosine float64 `json:"threshold_cosine"`
}

// Mean is over the galleries.
type Mean struct {
	Ranks   []MeanRank `json:"ranks"`
	OpenSet []MeanOpen `json:"open_set"`
}

// MeanRank is a rank's rate: the mean of the galleries', and that of all their probes together,
// which is what insightface's scripts call the mean.
type MeanRank struct {
	Rank   int     `json:"rank"`
	Mean   float64 `json:"mean"`
	Pooled Rate    `json:"pooled"`
}

// MeanOpen is the mean TPIR at a target that every gallery could measure.
type MeanOpen struct {
	Target float64 `json:"target_fpir"`
	TPIR   float64 `json:"tpir"`
}

// RankOne is the share of mated pairs of probes, each in both directions, in which the mate is
// nearer than every distractor.
type RankOne struct {
	Distractors int64 `json:"distractors"`
	Hits        Rate  `json:"hits"`
}

// notMeasurable says what a target lacks.
func notMeasurable(figure string, target float64, have int64, of string) string {
	return fmt.Sprintf("%s %s is not measurable: needs %.0f %s, has %d", figure, verification.RateName(target), math.Ceil(1/target), of, have)
}

// allowed is the largest number of n whose share is at most the target. Shares themselves are
// compared: the product may be rounded to either side of a whole number.
func allowed(target float64, n int64) int64 {
	k := int64(target * float64(n))
	for k < n && float64(k+1)/float64(n) <= target {
		k++
	}
	for k > 0 && float64(k)/float64(n) > target {
		k--
	}
	return k
}
