// Command eval-exact helps to check the figures of verification against other programs:
// `eval-exact make` writes lists of scores, good, bad and degenerate ones, and `eval-exact
// figures` says what eval/verification computes of such a list, by every rule and every way to
// read TAR at a FAR. bench/eval.sh compares that with bench/peers/eval.py.
//
// A list is a CSV file with the columns distance (the squared distance of embeddings of length
// one) and same (1 or 0), in the order of the pairs.
package main

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"

	"facepipe/eval/verification"
)

var targets = []float64{1e-1, 1e-2, 1e-3, 1e-4}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "eval-exact:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 2 && args[0] == "make" {
		return makeLists(args[1])
	}
	if len(args) == 2 && args[0] == "figures" {
		return printFigures(args[1], os.Stdout)
	}
	return errors.New("say: make DIR, or figures FILE.csv")
}

// shape is a list to make: runs of same and of different pairs that take turns.
type shape struct {
	name            string
	same, different int // in all
	runs            int // of each kind; 0 for a random order
	signal, grain   float64
}

var shapes = []shape{
	{"lfw-like", 3000, 3000, 10, 1.3, 0},
	{"weak", 3000, 3000, 10, 0.4, 0},
	{"many ties", 3000, 3000, 10, 0.9, 0.05},
	{"cfp-like", 3500, 3500, 10, 1.0, 0},
	{"few same", 1000, 50_000, 0, 1.0, 0},
	{"separated", 1500, 1500, 5, 3.5, 0},
	{"sorted by kind", 1000, 1400, 1, 1.0, 0.001},
	{"all equal", 900, 900, 0, 0, 10},
}

// makeLists writes all shapes into a folder.
func makeLists(dir string) error {
	for i, s := range shapes {
		f, err := os.Create(filepath.Join(dir, s.name+".csv"))
		if err != nil {
			return err
		}
		w := csv.NewWriter(f)
		err = w.Write([]string{"distance", "same"})
		for _, t := range s.trials(rand.New(rand.NewPCG(18, uint64(i)))) {
			same := "0"
			if t.Same {
				same = "1"
			}
			err = errors.Join(err, w.Write([]string{strconv.FormatFloat(t.Distance, 'g', -1, 64), same}))
		}
		w.Flush()
		if err = errors.Join(err, w.Error(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (s shape) trials(rng *rand.Rand) []verification.Trial {
	var trials []verification.Trial
	draw := func(n int, same bool, mean float64) {
		for range n {
			d := mean + 0.25*rng.NormFloat64()
			if s.grain > 0 {
				d = math.Round(d/s.grain) * s.grain
			}
			trials = append(trials, verification.Trial{Distance: min(max(d, 0), verification.MaxDistance), Same: same})
		}
	}
	runs := max(s.runs, 1)
	for range runs {
		draw(s.same/runs, true, 2-s.signal)
		draw(s.different/runs, false, 2)
	}
	if s.runs == 0 {
		rng.Shuffle(len(trials), func(i, j int) { trials[i], trials[j] = trials[j], trials[i] })
	}
	return trials
}

// printFigures writes the results of all rules with all picks as JSON: {"plain": {"le": …}}.
func printFigures(path string, w io.Writer) error {
	trials, err := read(path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	same := make([]bool, len(trials))
	for i, t := range trials {
		same[i] = t.Same
	}
	figures := map[string]map[verification.Pick]verification.Result{}
	for _, rule := range verification.Rules() {
		figures[rule.Name] = map[verification.Pick]verification.Result{}
		folds, err := rule.Folds(same, nil)
		if err != nil {
			return err
		}
		for _, rule.Pick = range verification.Picks() {
			scores := verification.NewScores(len(trials), len(trials), folds.Count)
			for i, t := range trials {
				t.Fold = int32(folds.Of[i])
				scores.Add(t)
			}
			if figures[rule.Name][rule.Pick], err = rule.Evaluate(scores, targets); err != nil {
				return err
			}
		}
	}
	return json.NewEncoder(w).Encode(figures)
}

func read(path string) ([]verification.Trial, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil || len(rows) == 0 {
		return nil, errors.Join(err, errors.New("no list"))
	}
	var trials []verification.Trial
	for i, row := range rows[1:] {
		d, err := strconv.ParseFloat(row[0], 64)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+2, err)
		}
		trials = append(trials, verification.Trial{Distance: d, Same: row[1] == "1"})
	}
	return trials, nil
}
