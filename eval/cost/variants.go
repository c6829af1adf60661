package cost

import (
	"math"
	"slices"

	"facepipe/internal/vec"
)

// Subject is a model that was measured, with what it makes of some crops.
type Subject struct {
	Name string
	Cost *Cost
	// Embeddings are of the same crops, in the same order, as those of the other subjects; nil
	// marks a crop that the model makes nothing of use of. Of any length.
	Embeddings [][]float32
}

// Variants are several precisions of one model.
type Variants struct {
	// Baseline is the one that the others are compared with: the first in fp32, else the first.
	Baseline string `json:"baseline"`
	// Stated says that all files tell of the same training. Otherwise they were found to be one
	// model by their figures: see [Group].
	Stated bool      `json:"stated"`
	Others []Variant `json:"others"`
}

// Variant is a model beside its baseline.
type Variant struct {
	Model     string `json:"model"`
	Precision string `json:"precision"`
	// Bytes is the file's size over the baseline's, Latency the median time of a run over the
	// baseline's, at the smallest batch that both were measured at; absent without one.
	Bytes   float64  `json:"bytes_ratio"`
	Latency *float64 `json:"latency_ratio,omitempty"`
	Batch   int      `json:"latency_batch,omitempty"`
	// Cosine is between the embeddings of a crop, absent without crops.
	Cosine *Agreement `json:"cosine,omitempty"`
}

// Agreement sums up the cosines of some crops, -1 to 1.
type Agreement struct {
	Mean float64 `json:"mean"`
	Min  float64 `json:"min"`
	// Crops have an embedding of both models, Missing of one or none of them.
	Crops   int `json:"crops"`
	Missing int `json:"missing"`
}

// oneModel is the mean cosine from which on models that cost the same are taken for one. Two
// trainings agree on no direction, unless one teacher made them.
const oneModel = 0.9

// Group finds the subjects that are one model in several precisions, in the order of the first
// of each. If two files tell of their training, that decides. Otherwise they are one model if
// they multiply as much, are stored in different precisions, have embeddings of one length, and
// agree on the same crops with a mean cosine of at least 0.9: students of one teacher could, too,
// which is why Stated is false then. A file and its copy are no variants.
func Group(subjects []Subject) []Variants {
	var all []Variants
	taken := make([]bool, len(subjects))
	for i := range subjects {
		group, stated := []*Subject{&subjects[i]}, true
		for j := i + 1; j < len(subjects) && !taken[i]; j++ {
			same, said := variants(&subjects[i], &subjects[j])
			if !taken[j] && same {
				group, stated, taken[j] = append(group, &subjects[j]), stated && said, true
			}
		}
		if len(group) > 1 {
			all = append(all, compared(group, stated))
		}
	}
	return all
}

// variants says whether two subjects are one model, and whether the files themselves say so.
func variants(a, b *Subject) (same, stated bool) {
	x, y := a.Cost, b.Cost
	switch {
	case x.Digest == y.Digest:
		return false, false
	case x.Training != "" && y.Training != "":
		return x.Training == y.Training && x.Dim == y.Dim, true
	case x.Precision == y.Precision || x.Dim != y.Dim || x.Multiplications == nil || y.Multiplications == nil,
		x.Multiplications.MACs != y.Multiplications.MACs || x.Multiplications.Attention != y.Multiplications.Attention:
		return false, false
	}
	agree := agreement(a.Embeddings, b.Embeddings)
	return agree != nil && agree.Mean >= oneModel, false
}

// compared compares a group with its baseline.
func compared(group []*Subject, stated bool) Variants {
	base := group[max(0, slices.IndexFunc(group, func(s *Subject) bool { return s.Cost.Precision == "fp32" }))]
	v := Variants{Baseline: base.Name, Stated: stated}
	for _, s := range group {
		if s == base {
			continue
		}
		other := Variant{Model: s.Name, Precision: s.Cost.Precision, Bytes: float64(s.Cost.Bytes) / float64(base.Cost.Bytes),
			Cosine: agreement(base.Embeddings, s.Embeddings)}
		for _, b := range base.Cost.Batches {
			k := slices.IndexFunc(s.Cost.Batches, func(o Batch) bool { return o.Size == b.Size })
			if k >= 0 {
				other.Latency, other.Batch = new(s.Cost.Batches[k].Median/b.Median), b.Size
				break
			}
		}
		v.Others = append(v.Others, other)
	}
	return v
}

// agreement is that of embeddings of the same crops; nil if there is no crop of both.
func agreement(a, b [][]float32) *Agreement {
	g := &Agreement{Min: math.Inf(1)}
	sum := 0.0
	for i := range min(len(a), len(b)) {
		c := math.NaN()
		if len(a[i]) == len(b[i]) && len(a[i]) > 0 {
			c = vec.Cosine(a[i], b[i])
		}
		if math.IsNaN(c) {
			g.Missing++
			continue
		}
		sum, g.Min, g.Crops = sum+c, min(g.Min, c), g.Crops+1
	}
	if g.Crops == 0 {
		return nil
	}
	g.Mean = sum / float64(g.Crops)
	return g
}
