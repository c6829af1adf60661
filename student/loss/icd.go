package loss

import (
	"fmt"
	"math"

	"facepipe/student/net/layer"
	"facepipe/student/torch"
)

var icdLoss = Loss{
	Name:   "icd",
	About:  "feature consistency, and the distribution of similarities within identities is the teacher's",
	Source: "after Yu et al., ICD-Face, ICCV 2023; the abstract names the terms, details are from a public adaptation and our reading",
	Formula: `L      = L_fcd + λ · L_sdc, the latter from a share of the run on
L_fcd  = 1/N Σ_i ½ |ŝ_i - t̂_i|²
L_sdc  = KL(h^t, h^s) = Σ_r h^t_r log(h^t_r / h^s_r)
h_r    ∝ Σ_(i,j) exp(-γ (a_ij - b_r)²), Σ_r h_r = 1, at b_r = -1, -1 + δ, ..., 1
a_ij   <t̂_i, t̂_j> for h^t and <ŝ_i, ŝ_j> for h^s, of pairs of a crop i of the batch and
       another crop j of its identity in the bank, at most V steps old, ŝ_j a constant
bank   the last B crops of each identity, of teacher and student together; the batch goes in first`,
	Needs: TeacherEmbedding | Labels,
	defaults: icdSettings{
		DistributionWeight: 0.5, DistributionStart: 0.5, CropsPerIdentity: 5, ValidSteps: 200, BankCrops: 32768, BinWidth: 0.001, Gamma: 50,
	},
}

// icdSettings tune ICD-Face (after Yu et al., ICCV 2023). Defaults of weight, crops, steps, bins
// and γ are a public adaptation's, the others ours.
type icdSettings struct {
	// DistributionWeight is λ. With 0 the term is only measured.
	DistributionWeight float64 `yaml:"distribution_weight" about:"λ, the weight of the distributions; feature consistency has 1"`
	// DistributionStart is the share of the run's steps after which the term begins. The bank
	// fills before.
	DistributionStart float64 `yaml:"distribution_start" about:"the share of the run after which the distributions count"`
	// CropsPerIdentity is B.
	CropsPerIdentity int `yaml:"crops_per_identity" most:"65536" about:"B, the most crops of an identity that the bank holds"`
	// ValidSteps is V: an entry is compared with in the step that brings it and the V-1 next.
	ValidSteps int `yaml:"valid_steps" about:"V, the steps for which an entry is valid"`
	// BankCrops is the most crops that the bank holds of all identities. Where V steps bring
	// more, the oldest go earlier. There are never more than B of each of the dataset.
	BankCrops int `yaml:"bank_crops" most:"16777216" about:"the most crops that the bank holds of all identities"`
	// BinWidth is δ, which divides 2.
	BinWidth float64 `yaml:"bin_width" about:"δ, the distance of the histograms' nodes; it divides 2"`
	// Gamma is γ.
	Gamma float64 `yaml:"histogram_gamma" about:"γ, how sharply a similarity counts for near nodes only"`
}

func (c icdSettings) settled() (settings, error) {
	bins := math.Round(2 / c.BinWidth)
	switch {
	case !finite(c.DistributionWeight) || c.DistributionWeight < 0:
		return c, fmt.Errorf("loss icd: distribution_weight %g is no number of at least 0", c.DistributionWeight)
	case !(c.DistributionStart >= 0 && c.DistributionStart <= 1):
		return c, fmt.Errorf("loss icd: distribution_start %g is no share in [0, 1]", c.DistributionStart)
	case c.CropsPerIdentity < 1 || c.ValidSteps < 1 || c.BankCrops < 1:
		return c, fmt.Errorf("loss icd: crops_per_identity %d, valid_steps %d and bank_crops %d must be positive",
			c.CropsPerIdentity, c.ValidSteps, c.BankCrops)
	case !(c.BinWidth >= 1e-4 && c.BinWidth <= 1) || math.Abs(bins*c.BinWidth-2) > 1e-9:
		return c, fmt.Errorf("loss icd: bin_width %g is not in [0.0001, 1] or does not divide 2", c.BinWidth)
	case !finite(c.Gamma) || c.Gamma <= 0:
		return c, fmt.Errorf("loss icd: histogram_gamma %g is not positive", c.Gamma)
	}
	return c, nil
}

func (c icdSettings) build(env Env) (term, error) {
	if err := env.tellApart(1); err != nil {
		return nil, err
	}
	l := &icd{c: c, device: env.Device, start: int(c.DistributionStart * float64(env.Steps))}
	entries := min(c.BankCrops, env.Classes*c.CropsPerIdentity)
	if err := bankFits("bank_crops", entries, env.Dim); err != nil {
		return nil, err
	}
	l.bank = newBank(entries, env.Dim, true).limiting(c.CropsPerIdentity)
	l.bank.closely = true // nothing is searched
	for r := range int(math.Round(2/c.BinWidth)) + 1 {
		l.nodes = append(l.nodes, -1+float64(r)*c.BinWidth)
	}
	return l, nil
}

// icd is feature consistency distillation with intra-class compactness distillation, ICD-Face:
//
//	L     = L_fcd + λ · L_sdc
//	L_fcd = 1/N Σ_i ½ |ŝ_i - t̂_i|² = mean of 1 - c_i
//	L_sdc = KL(h^t, h^s) = Σ_r h^t_r log(h^t_r / h^s_r)
//	h_r   = Σ_{(i,j)∈P} exp(-γ (a_ij - b_r)²) / Σ_r' Σ_{(i,j)∈P} exp(-γ (a_ij - b_r')²)
//
// a_ij is <t̂_i, t̂_j> for the teacher's histogram h^t and <ŝ_i, ŝ_j> for the student's h^s, the
// nodes b_r are -1, -1 + δ, …, 1. P are the pairs of a crop i of the batch and an entry j of the
// bank, of one identity, of different samples (a crop and its mirror image are one), the entry
// at most V steps old. Entries are of both models, put in together, and carry no gradient. An
// identity has the last B images; one that comes again replaces its own entry. The batch is put
// into the bank first. Without a pair, as without labels, L_sdc is 0.
//
// Confirmed by the paper's abstract, which is all of it that was to be had: the consistency of
// features, banks of features that make enough positive pairs, and the consistency of the
// estimated distributions of teacher and student. Taken from a public adaptation to palm veins,
// which says that it follows the paper's algorithm: banks by identity, first in first out, with
// steps of validity, the batch put in first, B = 5, V = 200, δ = 0.001, γ = 50, λ = 0.5 from a late
// epoch on (here DistributionStart, half of the run, is ours), KL from teacher to student, and ½
// in L_fcd. Its pairs of a crop with itself, of similarity 1 in both models, stay out here, and
// its histograms, which clamp at 1e-12 and so lose gradients of students far from the teacher, are
// logarithms. The classification loss that goes with it (there ArcFace with weight 0.1) is a term
// of its own.
//
// The bank takes 8·d bytes an entry: with the defaults and d = 512 at most 128 MiB, and where the
// dataset has few identities 20 KiB each. Checkpoints hold that. A step takes about
// 12 bytes for each of its at most N·B pairs and each node: 15 MiB with the defaults and N = 128.
type icd struct {
	c      icdSettings
	bank   *bank
	device string
	start  int // the step at which L_sdc begins
	nodes  []float64
}

func (l *icd) Params() []*layer.Param { return nil }

func (l *icd) State(s *torch.Scope) State {
	st := State{}
	l.bank.state(s, st)
	return st
}

func (l *icd) Restore(s *torch.Scope, st State) error { return l.bank.restore(s, l.device, st) }

func (l *icd) Step(s *torch.Scope, v *view) (torch.Tensor, Parts) {
	parts, p := Parts{}, v.unit()
	parts.know("dropped", float64(p.dropped))
	if len(p.samples) == 0 {
		return zero(s, v.Student), parts
	}
	total := s.Mean(v.distance())
	parts.keep(s, "fcd", total)
	known := p.known(s)
	if len(known.samples) > 0 {
		l.bank.push(s, known, v.Step)
	}
	rows, entries := l.pairs(known, v.Step)
	parts.know("bank", float64(l.bank.filled))
	parts.know("pairs", float64(len(rows)))
	if len(rows) > 0 && v.Step >= l.start && s.Err() == nil {
		sdc := l.consistency(s, known.rows(s, rows), intsLike(s, l.bank.teacher, entries), parts)
		parts.keep(s, "sdc", sdc)
		total = s.Add(total, s.Scale(sdc, l.c.DistributionWeight))
	}
	return total, parts
}

// pairs are P: rows of the batch and entries of the bank.
func (l *icd) pairs(p pair, step int) (rows, entries []int64) {
	b := l.bank
	for i, y := range p.labels {
		for _, j := range b.own[y] {
			if b.sample[j] != p.samples[i] && step-int(b.step[j]) < l.c.ValidSteps {
				rows, entries = append(rows, int64(i)), append(entries, int64(j))
			}
		}
	}
	return rows, entries
}

// consistency is L_sdc of pairs: the crops of p, one each, and the entries.
func (l *icd) consistency(s *torch.Scope, p pair, entries torch.Tensor, parts Parts) torch.Tensor {
	similar := func(vectors, bank torch.Tensor) torch.Tensor {
		vectors = wide(s, vectors)
		return s.SumDim(s.Mul(vectors, s.ToLike(s.Rows(bank, entries), vectors)), 1, true)
	}
	teacher, student := similar(p.teacher, l.bank.teacher), similar(p.student, l.bank.student)
	parts.keep(s, "teacher_similarity", s.Mean(teacher))
	parts.keep(s, "student_similarity", s.Mean(student))
	target, reached := l.histogram(s, teacher), l.histogram(s, student)
	return s.Sum(s.Mul(s.Exp(target), s.Sub(target, reached)))
}

// histogram is log h of similarities, P×1.
func (l *icd) histogram(s *torch.Scope, similarities torch.Tensor) torch.Tensor {
	away := s.Sub(similarities, s.Reshape(floatsLike(s, similarities, l.nodes), 1, -1))
	counts := s.LogSumExp(s.Scale(s.Mul(away, away), -l.c.Gamma), 0, false)
	return s.Sub(counts, s.LogSumExp(counts, 0, true))
}
