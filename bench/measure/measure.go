// Package measure is what the benchmark programs share: a measurement as a line of
// JSON, whoever makes it (the peers in Python print the same), medians of such lines,
// and tables of medians.
package measure

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// Result is one measurement.
type Result struct {
	// System is what was measured (pipe, lmdb, ...), Version which.
	System  string `json:"system"`
	Version string `json:"version,omitempty"`
	// Phase is what it did.
	Phase string `json:"phase"`
	// Rows of the data set it did that to, Operations of them that it did.
	Rows       int `json:"rows"`
	Operations int `json:"operations"`
	Threads    int `json:"threads,omitempty"`
	// Seconds on the clock, Processor on all processors.
	Seconds   float64 `json:"seconds"`
	Processor float64 `json:"processor_seconds,omitempty"`
	// Bytes on disk, PeakMiB of memory that it allocated.
	Bytes   int64   `json:"bytes,omitempty"`
	PeakMiB float64 `json:"peak_mib,omitempty"`
	// Also has further figures.
	Also map[string]float64 `json:"also,omitempty"`
}

// Print writes the result as a line.
func (r Result) Print(w io.Writer) error { return json.NewEncoder(w).Encode(r) }

// Results are measurements, several of each kind.
type Results []Result

// Read reads lines of results, of which there must be one.
func Read(r io.Reader) (Results, error) {
	var all Results
	for d := json.NewDecoder(r); ; {
		var one Result
		switch err := d.Decode(&one); err {
		case nil:
			all = append(all, one)
		case io.EOF:
			if len(all) == 0 {
				return nil, errors.New("no results")
			}
			return all, nil
		default:
			return nil, fmt.Errorf("read results: %w", err)
		}
	}
}

// Of are the results of one system, phase and number of rows; rows 0 is any.
func (all Results) Of(system, phase string, rows int) Results {
	var some Results
	for _, r := range all {
		if r.System == system && r.Phase == phase && (rows == 0 || r.Rows == rows) {
			some = append(some, r)
		}
	}
	return some
}

// Median is that of a figure over all results; NaN without any.
func (all Results) Median(figure func(Result) float64) float64 {
	var values []float64
	for _, r := range all {
		values = append(values, figure(r))
	}
	return Median(values)
}

// Rate is the median number of operations a second.
func (all Results) Rate() float64 {
	return all.Median(func(r Result) float64 { return float64(r.Operations) / r.Seconds })
}

// Median of some numbers, which it sorts; NaN without any.
func Median(x []float64) float64 {
	if len(x) == 0 {
		return math.NaN()
	}
	slices.Sort(x)
	return (x[(len(x)-1)/2] + x[len(x)/2]) / 2
}

// Table is a table in Markdown, its first line the heads of its columns.
type Table [][]string

// Print writes the table.
func (t Table) Print(w io.Writer) error {
	var b strings.Builder
	for i, line := range t {
		b.WriteString("| " + strings.Join(line, " | ") + " |\n")
		if i == 0 {
			b.WriteString("|---" + strings.Repeat("|---:", len(line)-1) + "|\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Number writes a figure with three significant digits and thousands apart; "" for NaN.
func Number(x float64) string {
	switch {
	case math.IsNaN(x):
		return ""
	case math.Abs(x) < 100:
		return fmt.Sprintf("%.3g", x)
	}
	unit := math.Pow(10, math.Floor(math.Log10(math.Abs(x)))-2)
	digits := fmt.Sprintf("%.0f", math.Round(x/unit)*unit)
	for at := len(digits) - 3; at > 0 && digits[at-1] != '-'; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return digits
}

// Ratio writes a figure and how many times another it is.
func Ratio(x, of float64) string {
	if math.IsNaN(x) {
		return ""
	}
	return fmt.Sprintf("%s (%.2g×)", Number(x), x/of)
}
