package report

import (
	"fmt"
	"path/filepath"

	"facepipe/eval/plot"
)

// roc draws the curves of all models.
func roc(r Report) ([]byte, error) {
	c := plot.Chart{Title: r.chartTitle("Face verification"), Subtitle: r.chartSubtitle()}
	for i, label := range r.labels() {
		m := r.Models[i]
		c.Different = max(c.Different, m.Different)
		curve := plot.Curve{Label: label, Note: note(m)}
		for _, p := range m.Curve {
			curve.Points = append(curve.Points, plot.Point{FAR: p.FAR, TAR: p.TAR})
		}
		c.Curves = append(c.Curves, curve)
	}
	return c.SVG(), nil
}

// det draws the errors of all models.
func det(r Report) ([]byte, error) {
	c := plot.DETChart{Title: r.chartTitle("Errors of face verification"), Subtitle: r.chartSubtitle()}
	for i, label := range r.labels() {
		m := r.Models[i]
		c.Same, c.Different = max(c.Same, m.Same), max(c.Different, m.Different)
		curve := plot.DETCurve{Label: label, Note: "EER " + percent(m.EER)}
		for _, p := range m.DET {
			point := plot.DETPoint{FMR: p.FMR, FNMR: p.FNMR}
			if p.Interval != nil {
				point.Low, point.High = p.Interval.Low, p.Interval.High
			}
			curve.Points = append(curve.Points, point)
		}
		c.Curves = append(c.Curves, curve)
	}
	return c.SVG(), nil
}

// scores draws how the cosines of all models are spread.
func scores(r Report) ([]byte, error) {
	c := plot.HistogramChart{Title: r.chartTitle("Cosines of pairs"), Subtitle: r.chartSubtitle()}
	for i, label := range r.labels() {
		m := r.Models[i]
		panel := plot.Histogram{Label: label, Note: note(m), Same: m.Histogram.Same, Different: m.Histogram.Different}
		if n := len(m.Thresholds); n > 0 {
			panel.Marks = []plot.Mark{{At: m.Thresholds[n-1].Cosine, Label: "FMR " + m.Thresholds[n-1].Name()}}
		}
		c.Panels = append(c.Panels, panel)
	}
	return c.SVG(), nil
}

func (r Report) chartTitle(of string) string {
	if n := len(r.Tests); n > 1 {
		return fmt.Sprintf("%s on %d tests", of, n)
	}
	return of + " on " + filepath.Base(r.Pairs.Path)
}

// chartSubtitle says how many pairs there are. All models have the same ones of a test.
func (r Report) chartSubtitle() string {
	if len(r.Models) == 0 {
		return ""
	}
	if len(r.Tests) > 1 {
		return r.embedding()
	}
	m := r.Models[0]
	return fmt.Sprintf("%d pairs of the same person, %d of different people; %s", m.Same, m.Different, r.embedding())
}

// note is what the legend says of a model.
func note(m Model) string {
	auc := fmt.Sprintf("AUC %.5f", m.AUC)
	if m.CrossValidation == nil {
		return auc
	}
	return fmt.Sprintf("accuracy %.2f %%, %s", 100*m.Accuracy, auc)
}
