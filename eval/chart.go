package eval

import (
	"fmt"
	"path/filepath"

	"facepipe/eval/plot"
)

// chart is the ROC of all models.
func (r Report) chart() plot.Chart {
	c := plot.Chart{Title: "Face verification on " + filepath.Base(r.Pairs.Path)}
	names := r.labels()
	for i, m := range r.Models {
		c.Different = m.Different
		c.Subtitle = fmt.Sprintf("%d pairs of the same person, %d of different people; %s", m.Same, m.Different, r.embedding())
		curve := plot.Curve{Label: names[i], Note: fmt.Sprintf("accuracy %.2f %%, AUC %.5f", 100*m.Accuracy, m.AUC)}
		for _, p := range m.ROC.Points {
			curve.Points = append(curve.Points, plot.Point{FAR: m.ROC.FAR(p), TAR: m.ROC.TAR(p)})
		}
		c.Curves = append(c.Curves, curve)
	}
	return c
}

// embedding says what stands for a crop.
func (r Report) embedding() string {
	if r.Flip {
		return "mirror images added"
	}
	return "without mirror images"
}

func (r Report) labels() []string {
	paths := make([]string, len(r.Models))
	for i, m := range r.Models {
		paths[i] = m.Model
	}
	return labels(paths)
}
