package page

import (
	"fmt"

	"facepipe/eval/plot"
)

// mostCurves are drawn in one picture.
const mostCurves = 12

// curves are the errors of all models: drawn from the report, or else the pictures of its
// folder.
func (e *evaluation) curves() Section {
	s := Section{ID: "curves", Title: "Curves"}
	var charts []Chart
	if det, ok := e.det(); ok {
		charts = append(charts, det)
	} else if source, ok := e.picture("det.svg"); ok {
		charts = append(charts, Chart{Source: source, Words: "Detection error trade-off of every model", Wide: true})
	}
	if source, ok := e.picture("roc.svg"); ok {
		charts = append(charts, Chart{Source: source, Words: "ROC: true accept rate over false accept rate of every model", Wide: true})
	}
	if len(charts) > 0 {
		s.Blocks = []Block{{Charts: charts}}
	}
	return s
}

// det is the detection error trade-off, with bands where intervals are known.
func (e *evaluation) det() (Chart, bool) {
	c := plot.DETChart{Title: "Errors on " + e.name(), Subtitle: e.pairsInWords()}
	names := e.labels()
	for i, m := range e.Report.Models[:min(len(names), mostCurves)] {
		if len(m.DET) == 0 {
			continue
		}
		c.Same, c.Different = m.Same, m.Different
		curve := plot.DETCurve{Label: names[i], Note: "EER " + percent(m.EER, 2)}
		for _, p := range m.DET[:min(len(m.DET), 2*maxPoints)] {
			point := plot.DETPoint{FMR: p.FMR, FNMR: p.FNMR}
			if p.Interval != nil {
				point.Low, point.High = p.Interval.Low, p.Interval.High
			}
			curve.Points = append(curve.Points, point)
		}
		c.Curves = append(c.Curves, curve)
	}
	if len(c.Curves) == 0 {
		return Chart{}, false
	}
	chart := drawn(c.SVG(), "Detection error trade-off: false non-match rate over false match rate of every model")
	chart.Wide = true
	return chart, true
}

func (e *evaluation) pairsInWords() string {
	if len(e.Report.Models) == 0 {
		return ""
	}
	m := e.Report.Models[0]
	return fmt.Sprintf("%s of one person, %s of two", many(m.Same, "pair"), count(m.Different))
}

// maxBins of a histogram are drawn.
const maxBins = 400

// scores are how the cosines of pairs are spread.
func (e *evaluation) scores() Section {
	s := Section{ID: "scores", Title: "Scores", Lead: "How alike pairs of one person and of two are: the less the two overlap, the better."}
	c := plot.HistogramChart{Title: "Cosines on " + e.name(), Subtitle: e.pairsInWords()}
	names := e.labels()
	bins := 0
	for i, m := range e.Report.Models[:min(len(names), mostCurves)] {
		h := m.Histogram
		if n := len(h.Same); n == 0 || n > maxBins || n != len(h.Different) || bins > 0 && n != bins {
			continue
		}
		bins = len(h.Same)
		panel := plot.Histogram{Label: names[i], Same: h.Same, Different: h.Different}
		if list := e.thresholdsOf(i); len(list) > 0 {
			last := list[len(list)-1]
			panel.Marks = []plot.Mark{{At: last.Cosine, Label: "threshold for " + oneIn(last.Target)}}
		}
		c.Panels = append(c.Panels, panel)
	}
	var chart Chart
	if len(c.Panels) > 0 {
		chart = drawn(c.SVG(), "Histograms of the cosines of pairs of one person and of two, for every model")
	} else if source, ok := e.picture("scores.svg"); ok {
		chart = Chart{Source: source, Words: "Histograms of the cosines of pairs"}
	} else {
		return s
	}
	chart.Wide = true
	s.Blocks = []Block{{Charts: []Chart{chart}}}
	return s
}
