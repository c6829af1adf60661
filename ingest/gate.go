package ingest

import (
	"fmt"
	"math"
	"strings"

	"facepipe/store"
)

// Gate says which faces are good enough. A limit of 0 is no limit. An unknown measure passes:
// an aligned crop only has a sharpness.
type Gate struct {
	// MinFace is the least [store.Quality].FaceSize, in pixels of the photograph.
	MinFace float64
	// MinSharpness is the least [store.Quality].Sharpness.
	MinSharpness float64
	// MaxYaw, MaxPitch and MaxRoll are the largest angles in degrees, to either side.
	MaxYaw, MaxPitch, MaxRoll float64
}

// limit is one rule of a gate.
type limit struct {
	name  string // of the flag
	of    func(store.Quality) float32
	bound float64
	least bool // bound is the least, not the largest absolute value
	kind  error
	unit  string
}

// limits are the rules, in the order in which they are tried.
func (g Gate) limits() []limit {
	return []limit{
		{"min-face", func(q store.Quality) float32 { return q.FaceSize }, g.MinFace, true, errSmall, " pixels"},
		{"min-sharpness", func(q store.Quality) float32 { return q.Sharpness }, g.MinSharpness, true, errBlurred, ""},
		{"max-yaw", func(q store.Quality) float32 { return q.Yaw }, g.MaxYaw, false, errYaw, " degrees"},
		{"max-pitch", func(q store.Quality) float32 { return q.Pitch }, g.MaxPitch, false, errPitch, " degrees"},
		{"max-roll", func(q store.Quality) float32 { return q.Roll }, g.MaxRoll, false, errRoll, " degrees"},
	}
}

func (g Gate) validate() error {
	for _, l := range g.limits() {
		if !(l.bound >= 0) || math.IsInf(l.bound, 0) || !l.least && l.bound > 180 {
			return fmt.Errorf("%s of %v makes no sense", l.name, l.bound)
		}
	}
	return nil
}

// describe lists the limits that are set, as flags without dashes; "" without any.
func (g Gate) describe() string {
	var parts []string
	for _, l := range g.limits() {
		if l.bound != 0 {
			parts = append(parts, fmt.Sprintf("%s %g", l.name, l.bound))
		}
	}
	return strings.Join(parts, ", ")
}

// judge is a [refusal] of the first limit that a face breaks, with the measured value.
func (g Gate) judge(q store.Quality) error {
	for _, l := range g.limits() {
		v := float64(l.of(q))
		switch {
		case l.bound == 0 || math.IsNaN(v):
		case l.least && v < l.bound:
			return refuse(stageQuality, fmt.Errorf("%w: %.2f%s, want at least %g", l.kind, v, l.unit, l.bound))
		case !l.least && math.Abs(v) > l.bound:
			return refuse(stageQuality, fmt.Errorf("%w: %.2f%s, want at most %g", l.kind, v, l.unit, l.bound))
		}
	}
	return nil
}
