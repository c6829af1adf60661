// Command coverage measures how often the intervals of eval/uncertainty hold the truth, on made-up
// people whose error rates are known. It prints a table in Markdown.
package main

import (
	"flag"
	"fmt"
	"os"

	"facepipe/bench/measure"
)

func main() {
	simulations := flag.Int("simulations", 500, "how many sets of people to draw for each design")
	replicates := flag.Int("replicates", 1000, "replicates of every bootstrap")
	compare := flag.Bool("compare", false, "compare two models that are equally good instead: how often are they told apart?")
	flag.Parse()
	table := printIntervals
	if *compare {
		table = printComparisons
	}
	if err := table(*simulations, *replicates); err != nil {
		fmt.Fprintln(os.Stderr, "coverage:", err)
		os.Exit(1)
	}
}

// printIntervals prints how many intervals hold the truth.
func printIntervals(simulations, replicates int) error {
	table := measure.Table{{"people and comparisons", "figure", "with identities, %", "width", "without, %", "width"}}
	for _, d := range designs {
		found, err := cover(d, simulations, replicates)
		if err != nil {
			return err
		}
		for i, figure := range figures {
			row := []string{d.name, figure}
			for _, c := range found {
				row = append(row, fmt.Sprintf("%.1f", 100*c[i].share()), fmt.Sprintf("%.4f", c[i].width/float64(c[i].intervals)))
			}
			table = append(table, row)
		}
	}
	return table.Print(os.Stdout)
}

// printComparisons prints how many of two equally good models are told apart.
func printComparisons(simulations, replicates int) error {
	table := measure.Table{append([]string{"people and comparisons"}, compared...)}
	for _, d := range designs {
		counts, err := alarms(d, simulations, replicates)
		if err != nil {
			return err
		}
		row := []string{d.name}
		for _, n := range counts {
			row = append(row, fmt.Sprintf("%.1f", 100*float64(n)/float64(simulations)))
		}
		table = append(table, row)
	}
	return table.Print(os.Stdout)
}
