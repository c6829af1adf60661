package report

import (
	"fmt"
	"path/filepath"

	"facepipe/eval/plot"
)

// roc draws the curves of all models.
func roc(r Report) ([]byte, error) {
	c := plot.Chart{Title: "Face verification on " + filepath.Base(r.Pairs.Path)}
	names := r.labels()
	for i, m := range r.Models {
		c.Different = m.Different
		c.Subtitle = fmt.Sprintf("%d pairs of the same person, %d of different people; %s", m.Same, m.Different, r.embedding())
		curve := plot.Curve{Label: names[i], Note: note(m)}
		for _, p := range m.Curve {
			curve.Points = append(curve.Points, plot.Point{FAR: p.FAR, TAR: p.TAR})
		}
		c.Curves = append(c.Curves, curve)
	}
	return c.SVG(), nil
}

// note is what the legend says of a model.
func note(m Model) string {
	auc := fmt.Sprintf("AUC %.5f", m.AUC)
	if m.CrossValidation == nil {
		return auc
	}
	return fmt.Sprintf("accuracy %.2f %%, %s", 100*m.Accuracy, auc)
}
