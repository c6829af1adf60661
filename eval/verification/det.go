package verification

import (
	"math"
	"slices"
)

// DETPoint is a point of the detection error trade-off: both rates of errors at a threshold.
type DETPoint struct {
	FMR  float64 `json:"fmr"`
	FNMR float64 `json:"fnmr"`
	// Cosine is the threshold: pairs above it match.
	Cosine float64 `json:"threshold_cosine"`
	// Interval is that of FNMR at this FMR, nil if it was not computed.
	Interval *Interval `json:"fnmr_interval,omitempty"`
}

// detPoints is the largest number of points of a DET curve: half of them are spaced by the
// logarithm of FMR, half by that of FNMR.
const detPoints = 200

// DET is the curve of both rates of errors from the best threshold with an FMR of 0 to the
// best with an FNMR of 0, by ascending FMR. Its points are exact; of many trials it has the
// best thresholds for the spaced rates. It is one point where no pair is taken wrongly.
func (r ROC) DET() []DETPoint {
	first, last := r.different[0], above(r.same[len(r.same)-1])
	limits := []float64{first, max(first, last)}
	for _, n := range logSpaced(len(r.different), detPoints/2-1) {
		limits = append(limits, r.limit(n))
	}
	for _, n := range logSpaced(len(r.same)-1, detPoints/2-1) {
		limits = append(limits, above(r.same[len(r.same)-1-n])) // the least that rejects only n
	}
	slices.Sort(limits)
	var det []DETPoint
	for _, limit := range limits {
		if limit < first || limit > max(first, last) {
			continue
		}
		p := r.operatingPoint(0, limit)
		next := DETPoint{FMR: p.FAR, FNMR: p.FNMR, Cosine: p.Cosine}
		if n := len(det); n == 0 || next.FMR != det[n-1].FMR || next.FNMR != det[n-1].FNMR {
			det = append(det, next)
		}
	}
	return det
}

// logSpaced are up to k numbers from 1 to n, each about as many times the one before.
func logSpaced(n, k int) []int {
	var numbers []int
	for i := range k {
		number := int(math.Round(math.Pow(float64(n), float64(i)/float64(k-1))))
		if number >= 1 && (len(numbers) == 0 || number > numbers[len(numbers)-1]) {
			numbers = append(numbers, min(number, n))
		}
	}
	return numbers
}

// Bins is the number of bins of a [Histogram].
const Bins = 64

// Histogram counts the trials of each kind by their cosine, in bins of equal width from -1 to
// 1. A bin holds its lower end, the last one 1 as well.
type Histogram struct {
	Same      []int `json:"same"`
	Different []int `json:"different"`
}

// Histogram is that of all trials.
func (r ROC) Histogram() Histogram {
	return Histogram{Same: binned(r.same), Different: binned(r.different)}
}

func binned(distances []float64) []int {
	bins := make([]int, Bins)
	for _, d := range distances {
		bin := int(math.Floor((Cosine(d) + 1) / 2 * Bins))
		bins[min(max(bin, 0), Bins-1)]++
	}
	return bins
}
