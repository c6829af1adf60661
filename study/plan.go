package study

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"facepipe/internal/plain"
	"facepipe/student"
)

// Outlook is what a study would take, found without training.
type Outlook struct {
	Rows  []RowOutlook `json:"rows"`
	Steps int          `json:"steps"`
	// Measured rows tell how long a step takes; Hours of what is missing is nil without one.
	Hours *float64 `json:"hours,omitempty"`
	// Bytes on disk at most: checkpoints and models of the rows that are missing, without weights
	// of their losses.
	Bytes int64 `json:"bytes"`
	// Seeds of every group, and what they can tell.
	Seeds int    `json:"seeds"`
	Power string `json:"power"`
	// Spread says how far the baseline's seeds lie apart, if some are done.
	Spread []string `json:"spread,omitempty"`
	// Warnings, Changed and Gone are as in [Result].
	Warnings []string `json:"warnings,omitempty"`
	Changed  []Change `json:"changed,omitempty"`
	Gone     []string `json:"gone,omitempty"`
}

// RowOutlook is a row that is to be trained, or was.
type RowOutlook struct {
	Row        string  `json:"row"`
	State      State   `json:"state"`
	Loss       string  `json:"loss"`
	Crops      int     `json:"crops"`
	Steps      int     `json:"steps"`
	Parameters int     `json:"parameters"`
	Hours      float64 `json:"hours,omitempty"`
}

// bytesAParameter is the most that a run leaves of each: models, and checkpoints with weights and
// AdamW's two moments, those of the best among them.
func bytesAParameter(o student.Options) int64 {
	model, checkpoint, kept := int64(4), int64(3*4), int64(o.KeepCheckpoints)
	if o.EMA > 0 {
		checkpoint += 4
	}
	if o.KeepBest != "" {
		model, kept = 2*model, kept+1
	}
	return model + checkpoint*kept
}

// Foresee says what [Run] would do. It refuses what Run would refuse, and trains nothing.
// secondsPerStep is of a row that is like the others, 0 if nobody knows: rows that are done
// tell.
func Foresee(ctx context.Context, s *Study, o Options, secondsPerStep float64) (a Outlook, err error) {
	r, err := open(ctx, s, o)
	if err != nil {
		return Outlook{}, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	res := &Result{Baseline: r.Baseline, States: map[State]int{}}
	states, err := r.look(ctx, res)
	if err != nil {
		return Outlook{}, err
	}
	groups, order, err := r.doneByGroup(states)
	if err != nil {
		return Outlook{}, err
	}
	rates := map[string]float64{}
	for _, name := range order {
		rates[name] = groups[name][0].figures.SecondsPerStep
		secondsPerStep = rates[name]
	}
	seeds, hours := map[uint64]bool{}, 0.0
	for i, row := range r.rows {
		if o.BaselineOnly && row.Group != r.Baseline {
			continue
		}
		seeds[row.Seed] = true
		one := RowOutlook{Row: row.Name(), State: res.Rows[i].State, Loss: row.Outlook.Loss, Crops: row.Outlook.Crops, Steps: row.Outlook.Steps, Parameters: row.Outlook.Parameters}
		if one.State != Trained && o.due(one.State) {
			rate, ok := rates[row.Group]
			if !ok {
				rate = secondsPerStep
			}
			one.Hours = rate * float64(one.Steps) / time.Hour.Seconds()
			hours += one.Hours
			a.Steps += one.Steps
			a.Bytes += int64(one.Parameters) * bytesAParameter(row.options)
		}
		a.Rows = append(a.Rows, one)
	}
	if secondsPerStep > 0 {
		a.Hours = &hours
	}
	a.Seeds, a.Power, a.Warnings, a.Changed, a.Gone = len(seeds), power(len(seeds)), r.warnings, res.Changed, res.Gone
	a.Spread, err = r.baselineSpread(groups[r.Baseline])
	return a, err
}

// baselineSpread says how far the baseline's seeds lie apart.
func (r *runner) baselineSpread(rows []done) (lines []string, err error) {
	if len(rows) == 0 {
		return nil, nil
	}
	g, err := r.group(rows, nil)
	if err != nil {
		return nil, err
	}
	res := &Result{Baseline: r.Baseline, Groups: []Group{g}}
	for _, t := range r.tests {
		lines = append(lines, res.spread(t.Name)...)
	}
	return lines, nil
}

// power80 is how many standard errors a difference must have to be found at the level of 5 % four
// times in five: 1.96 + 0.84.
const power80 = 2.8

// power says what so many seeds can tell.
func power(seeds int) string {
	if seeds < 2 {
		return "1 seed: no spread, and so no difference can be told"
	}
	least := 2.0
	for range seeds {
		least /= 2
	}
	text := fmt.Sprintf("%d seeds: the least p of a difference is %.3g", seeds, least)
	if least > 0.05 {
		text += ", which cannot be significant at 5 %"
	}
	return text + fmt.Sprintf("; four times in five they find one of 2.8/√%d = %.2f standard deviations of the paired differences", seeds, power80/math.Sqrt(float64(seeds)))
}

// Print writes it for a terminal.
func (a Outlook) Print(w io.Writer) {
	states := map[State]int{}
	for _, r := range a.Rows {
		states[r.State]++
		plain.Fprintf(w, "%-8s %s: %s, %d steps, %d crops, %d parameters\n", r.State, r.Row, r.Loss, r.Steps, r.Crops, r.Parameters)
	}
	fmt.Fprintf(w, "%d rows, %d of them done; %d steps to take", len(a.Rows), states[Done], a.Steps)
	if a.Hours != nil {
		fmt.Fprintf(w, ", %.1f hours", *a.Hours)
	} else {
		fmt.Fprint(w, " (how long they are, the first row that is done will tell; or --seconds-per-step)")
	}
	fmt.Fprintf(w, ", up to %.1f GB\n%s\n", float64(a.Bytes)/1e9, a.Power)
	for _, line := range a.Spread {
		plain.Fprintf(w, "%s\n", line)
	}
	for _, text := range a.Warnings {
		plain.Fprintf(w, "warning: %s\n", text)
	}
	for _, c := range a.Changed {
		plain.Fprintf(w, "%s\n", c.String())
	}
	for _, name := range a.Gone {
		plain.Fprintf(w, "gone: a run of %s, which the study has no more; its folder stays\n", name)
	}
}
