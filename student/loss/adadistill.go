package loss

import (
	"cmp"
	"math/rand/v2"
	"slices"

	"facepipe/internal/vec"
	"facepipe/student/net/layer"
	"facepipe/student/torch"
)

var adadistillLoss = Loss{
	Name:   "adadistill",
	About:  "margin softmax whose class centres follow the teacher's embeddings, the faster the worse the student",
	Source: "Boutros, Štruc and Damer 2024 (AdaDistill), arXiv 2407.01332, and its code",
	Formula: `for each sample, before the logits: w_yi ← α_i·w_yi + (1 - α_i)·t̂_i
α_i = clip(c_i, 1e-6, 1) (alpha plain) or clip(c_i·clip(<ŵ_yi, t̂_i>, 1e-6, 1), 1e-6, 1) (weighted)
L = mean over i of -log softmax(z_i)[y_i]
z_ik = s·cos θ_ik for k ≠ y_i, cos θ_ik = <ŝ_i, ŵ_k>
z_iy = s·cos(θ_iy + m) (classifier arcface) or s·(cos θ_iy - m) (cosface)
w_k: the centre of identity k, which no gradient moves. Several samples of one identity move its
centre one after the other, by the samples' numbers in the dataset.`,
	Needs: TeacherEmbedding | Labels,
	Rate:  rateOfClasses,
	defaults: adadistillSettings{Classifier: "arcface", Margin: differentiating(arcfaceMargin, 0.45),
		Own: followSettings{Alpha: "weighted", Start: "random"}},
}

// adadistillSettings tune adadistill. m = 0.45 for arcface, 0.35 for cosface, s = 64 and the
// weighted α are the paper's best, the start at random the code's.
type adadistillSettings struct {
	Classifier string         `yaml:"classifier" about:"the margin softmax: arcface or cosface"`
	Margin     marginSettings `yaml:"margin" about:"its scale and margin"`
	Own        followSettings `yaml:",inline"`
}

// followSettings say how centres follow the teacher.
type followSettings struct {
	// Alpha is how much of a centre stays: by the student's cosine to the teacher ("plain"),
	// and also by the teacher's to the centre ("weighted").
	Alpha string `yaml:"alpha" about:"how much of a centre stays: plain (by the student's cosine) or weighted (also by the teacher's to the centre)"`
	// Start is what the centres are at first: drawn from N(0, 0.01) ("random"), as published,
	// or the vectors of identities from a source, random where it has none.
	Start string `yaml:"start" about:"the centres at first: random, centres (the class centres) or classifier (the teacher's)"`
}

func (c adadistillSettings) defaults() settings {
	d := adadistillLoss.defaults.(adadistillSettings)
	if c.Classifier == "cosface" {
		d.Margin = differentiating(cosfaceMargin, 0.35)
	}
	return d
}

func (c adadistillSettings) settled() (settings, error) {
	for _, s := range []struct {
		name, value string
		values      []string
	}{
		{"classifier", c.Classifier, []string{"arcface", "cosface"}},
		{"adadistill.alpha", c.Own.Alpha, []string{"weighted", "plain"}},
		{"adadistill.start", c.Own.Start, []string{"random", "centres", "classifier"}},
	} {
		if err := oneOf(s.name, s.value, s.values); err != nil {
			return c, err
		}
	}
	var err error
	c.Margin, err = c.Margin.settled()
	return c, err
}

func (c adadistillSettings) build(env Env) (term, error) {
	l := &adadistill{c: c.Own, margin: &margin{kind: c.Classifier, c: c.Margin}}
	if err := env.tellApart(2); err != nil {
		return nil, err
	}
	if c.Own.Start != "random" {
		p, err := askForProxies(adadistillLoss.Name, c.Own.Start, env)
		if err != nil {
			return nil, err
		}
		l.start = p.Vectors
	}
	l.rows = make([]int32, env.Classes)
	for label := range l.rows {
		l.rows[label] = int32(label)
	}
	l.centres = layer.NewParam("centres.weight", []int{env.Classes, env.Dim}, l.begin)
	l.centres.Trained = false
	return l, nil
}

// adadistill is [adadistillLoss] at work. Its centres are one table of C×d float32, 737 MB for
// 360,000 identities and d = 512, the same on all ranks, which see all of a batch, and in
// checkpoints. What the published code does otherwise stays out: it lets one of several samples
// of an identity win, has each rank keep a table of its own, and loses it on resume; its
// unweighted α reads what was never set.
type adadistill struct {
	stateless // the centres are a parameter
	c         followSettings
	margin    *margin // without centres of its own
	centres   *layer.Param
	rows      []int32   // all labels have a centre
	start     []float32 // until the first step
}

// begin gives the centres their first values.
func (l *adadistill) begin(rng *rand.Rand, data []float32) {
	scatter(rng, data)
	dim := l.centres.Shape[1]
	for from := 0; from < len(l.start); from += dim {
		if w := l.start[from:][:dim]; vec.HasDirection(vec.Norm(w)) {
			copy(data[from:], w)
		}
	}
}

func (l *adadistill) Params() []*layer.Param { return []*layer.Param{l.centres} }

func (l *adadistill) Step(s *torch.Scope, v *view) (torch.Tensor, Parts) {
	parts := Parts{}
	l.start = nil
	c := v.classed(l.rows, true, parts)
	if len(c.at) == 0 {
		return zero(s, v.Student), parts
	}
	s.Engine().NoGrad(func() { l.follow(s, v, c, parts) })
	w := l.centres.Tensor()
	cosines := s.Cosines(c.student, s.ToLike(w, c.student))
	parts.keep(s, "target_cosine", s.Mean(s.Gather(cosines, 1, c.column)))
	return s.CrossEntropy(l.margin.logits(s, cosines, c), c.target), parts
}

// follow moves the centres: each identity's by its first sample, then by its second, and so on.
func (l *adadistill) follow(s *torch.Scope, v *view, c classed, parts Parts) {
	teacher := s.To(c.teacher, torch.Float32)
	cosines := s.SumDim(s.Mul(s.To(c.student, torch.Float32), teacher), 1, true)
	w := l.centres.Tensor()
	var shares []torch.Tensor
	for _, turn := range turns(v, c) {
		at, class := intsLike(s, w, turn), intsLike(s, w, pick(c.class, turn))
		old, t := s.Rows(w, class), s.Rows(teacher, at)
		share := s.Clamp(s.Rows(cosines, at), -1, 1)
		if l.c.Alpha == "weighted" {
			share = s.Mul(share, s.Clamp(s.SumDim(s.Mul(s.Unit(old), t), 1, true), 1e-6, 1))
		}
		share = s.Clamp(share, 1e-6, 1)
		rest := s.AddScalar(s.Scale(share, -1), 1)
		s.SetRows(w, class, s.Add(s.Mul(share, old), s.Mul(rest, t)))
		shares = append(shares, share)
	}
	parts.keep(s, "alpha", s.Mean(s.Concat(shares, 0)))
}

// turns puts samples in an order that is the same however a batch is ordered and parted among
// ranks, and splits it: no identity comes twice in a turn.
func turns(v *view, c classed) [][]int64 {
	order := make([]int64, len(c.at))
	for k := range order {
		order[k] = int64(k)
	}
	slices.SortStableFunc(order, func(a, b int64) int {
		i, j := c.at[a], c.at[b]
		return cmp.Or(cmp.Compare(v.Samples[i], v.Samples[j]), cmp.Compare(v.flag(i), v.flag(j)))
	})
	var list [][]int64
	met := map[int64]int{}
	for _, k := range order {
		turn := met[c.class[k]]
		met[c.class[k]]++
		if turn == len(list) {
			list = append(list, nil)
		}
		list[turn] = append(list[turn], k)
	}
	return list
}

// flag is 1 for a mirrored sample, else 0.
func (v *view) flag(i int64) int {
	if v.Mirrored != nil && v.Mirrored[i] {
		return 1
	}
	return 0
}
