package study

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
)

// secondsPerStep is the median over what a run logged of the time that a step took. It counts
// no pause of the run, and little of a machine that was busy at times.
func secondsPerStep(run string) (float64, error) {
	f, err := os.Open(filepath.Join(run, "metrics.jsonl"))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	type line struct {
		Step    int     `json:"step"`
		Seconds float64 `json:"seconds"`
	}
	var rates []float64
	var before *line
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var now line
		if json.Unmarshal(lines.Bytes(), &now) != nil || now.Seconds == 0 {
			continue // of a validation
		}
		if before != nil && now.Step > before.Step && now.Seconds > before.Seconds {
			rates = append(rates, (now.Seconds-before.Seconds)/float64(now.Step-before.Step))
		}
		before = &now
	}
	if err := lines.Err(); err != nil {
		return 0, err
	}
	if len(rates) == 0 {
		if before == nil {
			return 0, errors.New("the run logged no step")
		}
		return before.Seconds / float64(before.Step), nil
	}
	slices.Sort(rates)
	return rates[len(rates)/2], nil
}
