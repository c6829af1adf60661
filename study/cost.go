package study

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"facepipe/internal/journal"
	"facepipe/internal/regular"
	"facepipe/store"
	"facepipe/student/checkpoint"
)

// secondsPerStep is the median over what a run logged of the time that a step took. It counts
// no pause of the run, and little of a machine that was busy at times.
func secondsPerStep(run string) (float64, error) {
	id, err := checkpoint.IDOf(run)
	if err != nil {
		return 0, err
	}
	f, err := journal.Open(run)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	chain := journal.Of(id)
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
		object, err := chain.Read(lines.Bytes())
		if err == nil {
			err = json.Unmarshal(object, &now)
		}
		if err != nil {
			return 0, fmt.Errorf("%w: %s: a line is not what was written; remove %s, and the run notes what it has lost", store.ErrDamaged, journal.Path(run), filepath.Join(run, summaryFile))
		}
		if now.Seconds == 0 {
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

// watchMemory begins to watch the most memory that this process has resident; the function that
// it returns ends that and is the MiB, 0 where the system does not tell.
func watchMemory() func() float64 {
	// Linux starts the mark anew. Where it does not, the mark is that of an earlier row at most.
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
	return func() float64 {
		data, err := regular.Read("/proc/self/status", 1<<20)
		if err != nil {
			return 0
		}
		for line := range strings.Lines(string(data)) {
			var kib float64
			if n, _ := fmt.Sscanf(line, "VmHWM: %f kB", &kib); n == 1 {
				return kib / 1024
			}
		}
		return 0
	}
}
