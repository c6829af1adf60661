// Package optim moves a student's parameters: stochastic gradient descent, AdamW, and the
// schedules of their learning rate.
package optim

import (
	"fmt"
	"math"
	"slices"
)

// Schedule is the learning rate over a run.
type Schedule struct {
	// Kind is cosine, poly, step or constant.
	Kind string `json:"kind" yaml:"kind"`
	// Peak is the learning rate after the warm-up.
	Peak float64 `json:"peak" yaml:"peak"`
	// Warmup is the number of steps over which the rate rises linearly from 0.
	Warmup int `json:"warmup" yaml:"warmup"`
	// Total is the number of steps of the run, warm-up included.
	Total int `json:"total" yaml:"total"`
	// Power of poly (1 is a straight line down).
	Power float64 `json:"power" yaml:"power"`
	// Milestones of step, as fractions of the run in ascending order; at each the
	// rate is multiplied by Factor.
	Milestones []float64 `json:"milestones" yaml:"milestones"`
	Factor     float64   `json:"factor" yaml:"factor"`
}

// Schedules lists the kinds.
func Schedules() []string { return []string{"cosine", "poly", "step", "constant"} }

// Validate reports settings that make no schedule.
func (c Schedule) Validate() error {
	switch {
	case !slices.Contains(Schedules(), c.Kind):
		return fmt.Errorf("schedule %q is none of %v", c.Kind, Schedules())
	case !(c.Peak > 0) || math.IsInf(c.Peak, 1):
		return fmt.Errorf("learning rate %g is no positive number", c.Peak)
	case c.Warmup < 0 || c.Warmup > c.Total:
		return fmt.Errorf("warm-up of %d steps does not fit a run of %d", c.Warmup, c.Total)
	case c.Kind == "poly" && (!(c.Power > 0) || math.IsInf(c.Power, 1)):
		return fmt.Errorf("power %g of the poly schedule is no positive number", c.Power)
	case c.Kind == "step" && (!(c.Factor > 0 && c.Factor <= 1) || !ascending(c.Milestones)):
		return fmt.Errorf("step schedule needs a factor in (0, 1] and ascending milestones, got %g and %v", c.Factor, c.Milestones)
	}
	return nil
}

// ascending is whether no number is below the one before it, or is none.
func ascending(v []float64) bool {
	return slices.IsSorted(v) && !slices.ContainsFunc(v, math.IsNaN)
}

// At is the learning rate of a step in [0, Total).
func (c Schedule) At(step int) float64 {
	if step < c.Warmup {
		return c.Peak * float64(step+1) / float64(c.Warmup)
	}
	done := float64(step-c.Warmup) / float64(max(1, c.Total-c.Warmup))
	switch c.Kind {
	case "cosine":
		return c.Peak * 0.5 * (1 + math.Cos(math.Pi*done))
	case "poly":
		return c.Peak * math.Pow(max(0, 1-done), c.Power)
	case "step":
		rate := c.Peak
		for _, m := range c.Milestones {
			if float64(step) >= m*float64(c.Total) {
				rate *= c.Factor
			}
		}
		return rate
	}
	return c.Peak
}
