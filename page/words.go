package page

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"facepipe/eval/plot"
)

// count is a whole number with its thousands apart.
func count[N ~int | ~int64](n N) string {
	text := strconv.FormatInt(int64(n), 10)
	sign := ""
	if text[0] == '-' {
		sign, text = "−", text[1:]
	}
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return sign + text
}

// many is a number of things, with an s unless it is one.
func many[N ~int | ~int64](n N, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	if stem, ok := strings.CutSuffix(thing, "y"); ok {
		return count(n) + " " + stem + "ies"
	}
	return count(n) + " " + thing + "s"
}

// number is a figure with so many digits after the point, its minus sign as wide as a plus;
// a dash for what is no number.
func number(v float64, digits int) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "–"
	}
	return strings.Replace(strconv.FormatFloat(v, 'f', digits, 64), "-", "−", 1)
}

// brief is a figure in as few digits as tell it.
func brief(v float64) string {
	text := strings.Replace(strconv.FormatFloat(v, 'g', 4, 64), "e-0", "e-", 1)
	if rest, negative := strings.CutPrefix(text, "-"); negative {
		return "−" + rest
	}
	return text
}

// percent is a rate, 0 to 1, in per cent.
func percent(rate float64, digits int) string { return number(100*rate, digits) + " %" }

// size is a number of bytes for people.
func size(n int64) string {
	units := []string{"bytes", "KiB", "MiB", "GiB", "TiB"}
	value, unit := float64(n), 0
	for value >= 1024 && unit+1 < len(units) {
		value, unit = value/1024, unit+1
	}
	if unit == 0 {
		return many(n, "byte")
	}
	return number(value, 1) + " " + units[unit]
}

// duration is a time for people.
func duration(seconds float64) string {
	if !(seconds >= 0 && seconds < 1e9) {
		return "–"
	}
	if seconds < 10 {
		return number(seconds, 1) + " s"
	}
	d := time.Duration(math.Round(seconds)) * time.Second
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
}

// drawn is a picture that eval/plot made.
func drawn(svg []byte, words string) Chart {
	return Chart{Source: dataURL("image/svg+xml", svg), Words: words}
}

// bars are a histogram as a picture.
func bars(b plot.Bars) Chart {
	most := plot.Bar{}
	for _, bar := range b.Bars {
		if bar.Count > most.Count {
			most = bar
		}
	}
	where := fmt.Sprintf("%s to %s", brief(most.From), brief(most.To))
	if most.Name != "" {
		where = most.Name
	}
	return drawn(b.SVG(), fmt.Sprintf("%s, a histogram: most (%s) at %s", b.Title, count(most.Count), where))
}

// facts leaves out those of which nothing is known.
func facts(list ...Fact) []Fact {
	var known []Fact
	for _, f := range list {
		if f.Is != "" {
			known = append(known, f)
		}
	}
	return known
}
