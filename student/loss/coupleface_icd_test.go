package loss

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"facepipe/student/torch"
	"facepipe/student/torch/torchtest"
)

// plainEntry is what a plain bank holds: unit vectors in single precision, as the banks do.
type plainEntry struct {
	sample           int64
	mirrored         bool
	label            int32
	step             int
	student, teacher []float64
}

// plainUnit is row i of n×d numbers, divided by its length.
func plainUnit(v []float64, i, d int) []float64 {
	row, length := slices.Clone(v[i*d:(i+1)*d]), 0.0
	for _, x := range row {
		length += x * x
	}
	for k := range row {
		row[k] /= math.Sqrt(length)
	}
	return row
}

func plainDot(a, b []float64) float64 {
	sum := 0.0
	for k := range a {
		sum += a[k] * b[k]
	}
	return sum
}

func plainSingle(v []float64) []float64 {
	out := make([]float64, len(v))
	for k, x := range v {
		out[k] = float64(float32(x))
	}
	return out
}

// plainBatch is a batch of a small dataset in which crops come again, mirrored or not; some have
// no label, and some no usable teacher's vector.
type plainBatch struct {
	problem
	mirrored []bool
}

func newPlainBatch(step int) plainBatch {
	const n, d, crops, people = 10, 6, 40, 7
	rng := rand.New(rand.NewPCG(uint64(step), 41))
	b := plainBatch{problem: newProblem(uint64(step), n, d)}
	b.step = step
	for i := range n {
		sample := rng.Int64N(crops)
		b.samples[i], b.labels[i] = sample, int32(sample%people)
		if sample%9 == 0 {
			b.labels[i] = -1
		}
		b.mirrored = append(b.mirrored, rng.IntN(3) == 0)
		for k := range d { // the vectors of one person are alike
			same := rand.New(rand.NewPCG(uint64(sample%people), uint64(k))).NormFloat64()
			b.teacher[i*d+k] = same + 0.4*b.teacher[i*d+k]
			b.student[i*d+k] = b.teacher[i*d+k] + 0.5*b.student[i*d+k]
		}
	}
	if step%3 == 1 {
		clear(b.teacher[2*d : 3*d])
	}
	return b
}

// usable are the rows with a teacher's vector.
func (b plainBatch) usable() []int {
	var rows []int
	for i := range b.n {
		if !slices.Equal(b.teacher[i*b.d:(i+1)*b.d], make([]float64, b.d)) {
			rows = append(rows, i)
		}
	}
	return rows
}

// plainFCD is the mean of ½|ŝ - t̂|².
func (b plainBatch) plainFCD() float64 {
	sum, rows := 0.0, b.usable()
	for _, i := range rows {
		student, teacher := plainUnit(b.student, i, b.d), plainUnit(b.teacher, i, b.d)
		for k := range student {
			sum += (student[k] - teacher[k]) * (student[k] - teacher[k]) / 2
		}
	}
	return sum / float64(len(rows))
}

// plainLoss is a loss written from its formulas: its value on a batch, and what it remembers of
// it before and after.
type plainLoss interface {
	before(b plainBatch)
	value(b plainBatch) (value float64, pairs int)
	after(b plainBatch)
}

// plainCoupleFace has the latest vector of each identity, those least recently new going first.
type plainCoupleFace struct {
	weight, margin float64
	relations      int
	identities     int
	bank           []plainEntry // a ring
	next           int
}

func (l *plainCoupleFace) before(plainBatch) {}

func (l *plainCoupleFace) value(b plainBatch) (float64, int) {
	sum, pairs := 0.0, 0
	for _, i := range b.usable() {
		student, teacher := plainUnit(b.student, i, b.d), plainUnit(b.teacher, i, b.d)
		others := slices.DeleteFunc(slices.Clone(l.bank), func(e plainEntry) bool { return e.label == b.labels[i] })
		slices.SortFunc(others, func(x, y plainEntry) int {
			return cmp.Compare(plainDot(teacher, y.teacher), plainDot(teacher, x.teacher))
		})
		for _, e := range others[:min(len(others), l.relations)] {
			sum += max(math.Abs(plainDot(student, e.teacher)-plainDot(teacher, e.teacher))-l.margin, 0)
			pairs++
		}
	}
	return b.plainFCD() + l.weight*sum/float64(max(pairs, 1)), pairs
}

func (l *plainCoupleFace) after(b plainBatch) {
	for _, i := range b.usable() {
		if b.labels[i] < 0 {
			continue
		}
		e := plainEntry{label: b.labels[i], teacher: plainSingle(plainUnit(b.teacher, i, b.d))}
		if at := slices.IndexFunc(l.bank, func(o plainEntry) bool { return o.label == e.label }); at >= 0 {
			l.bank[at] = e
			continue
		}
		if len(l.bank) < l.identities {
			l.bank = append(l.bank, e)
			continue
		}
		l.bank[l.next] = e
		l.next = (l.next + 1) % l.identities
	}
}

// plainICD has places for each identity; the first of those longest not written goes first.
type plainICD struct {
	weight, width, gamma float64
	crops, valid         int
	bank                 map[int32][]plainEntry
}

func (l *plainICD) before(b plainBatch) {
	for _, i := range b.usable() {
		if b.labels[i] < 0 {
			continue
		}
		e := plainEntry{b.samples[i], b.mirrored[i], b.labels[i], b.step,
			plainSingle(plainUnit(b.student, i, b.d)), plainSingle(plainUnit(b.teacher, i, b.d))}
		own := l.bank[e.label]
		at := slices.IndexFunc(own, func(o plainEntry) bool { return o.sample == e.sample && o.mirrored == e.mirrored })
		if at < 0 && len(own) < l.crops {
			l.bank[e.label] = append(own, e)
			continue
		}
		if at < 0 {
			oldest := slices.MinFunc(own, func(x, y plainEntry) int { return cmp.Compare(x.step, y.step) })
			at = slices.IndexFunc(own, func(o plainEntry) bool { return o.step == oldest.step })
		}
		own[at] = e
	}
}

func (l *plainICD) value(b plainBatch) (float64, int) {
	var ofStudent, ofTeacher []float64
	for _, i := range b.usable() {
		if b.labels[i] < 0 {
			continue
		}
		for _, e := range l.bank[b.labels[i]] {
			if e.sample != b.samples[i] && b.step-e.step < l.valid {
				ofStudent = append(ofStudent, plainDot(plainUnit(b.student, i, b.d), e.student))
				ofTeacher = append(ofTeacher, plainDot(plainUnit(b.teacher, i, b.d), e.teacher))
			}
		}
	}
	if len(ofStudent) == 0 {
		return b.plainFCD(), 0
	}
	student, teacher, divergence := l.histogram(ofStudent), l.histogram(ofTeacher), 0.0
	for r := range teacher {
		divergence += teacher[r] * math.Log(teacher[r]/student[r])
	}
	return b.plainFCD() + l.weight*divergence, len(ofStudent)
}

func (l *plainICD) histogram(similarities []float64) []float64 {
	var h []float64
	total := 0.0
	for r := 0; float64(r) <= 2/l.width+0.5; r++ {
		count := 0.0
		for _, a := range similarities {
			away := a - (-1 + float64(r)*l.width)
			count += math.Exp(-l.gamma * away * away)
		}
		h = append(h, count)
		total += count
	}
	for r := range h {
		h[r] /= total
	}
	return h
}

func (l *plainICD) after(plainBatch) {}

// Both losses, their banks and their gradients agree with plain implementations over a run whose
// second half goes on from a checkpoint.
func TestBanksOfIdentitiesAgainstPlainOnes(t *testing.T) {
	e := torchtest.Open(t)
	for name, tt := range map[string]struct {
		loss, section string
		plain         plainLoss
		identities    int
	}{
		"coupleface": {"coupleface", "{relations: 3, relation_margin: 0.05, relation_weight: 2}",
			&plainCoupleFace{weight: 2, margin: 0.05, relations: 3, identities: 7}, 7},
		"coupleface of all": {"coupleface", "{relation_margin: 0}",
			&plainCoupleFace{weight: 1, relations: 100, identities: 7}, 7},
		"coupleface of few": {"coupleface", "{relations: 2, relation_margin: 0, identities: 4}",
			&plainCoupleFace{weight: 1, relations: 2, identities: 4}, 7},
		"icd": {"icd", "{bin_width: 0.01}",
			&plainICD{weight: 0.5, width: 0.01, gamma: 50, crops: 5, valid: 200, bank: map[int32][]plainEntry{}}, 7},
		"icd of few": {"icd", "{bin_width: 0.25, histogram_gamma: 20, distribution_weight: 3, valid_steps: 2, crops_per_identity: 12}",
			&plainICD{weight: 3, width: 0.25, gamma: 20, crops: 12, valid: 2, bank: map[int32][]plainEntry{}}, 7},
	} {
		t.Run(name, func(t *testing.T) {
			c, env := config(t, tt.loss, tt.section), Env{Device: "cpu", Dim: 6, OwnDim: 6, Classes: tt.identities}
			o, err := New(c, env)
			if err != nil {
				t.Fatal(err)
			}
			related := 0
			for step := range 24 {
				b := newPlainBatch(step)
				tt.plain.before(b)
				value, gradient, pairs := b.run(t, e, o)
				want, wantPairs := tt.plain.value(b)
				if math.Abs(value-want) > 1e-9 || pairs != wantPairs {
					t.Fatalf("step %d: loss %g of %d pairs, want %g of %d", step, value, pairs, want, wantPairs)
				}
				if worst := b.worst(gradient, func(b plainBatch) float64 { v, _ := tt.plain.value(b); return v }); worst > 1e-6 {
					t.Errorf("step %d: the gradient is off by %g", step, worst)
				}
				tt.plain.after(b)
				related += pairs
				if step == 12 {
					s := torchtest.Scope(t, e)
					st := o.State(s)
					if o, err = New(c, env); err != nil {
						t.Fatal(err)
					}
					if err := o.Restore(s, st); err != nil {
						t.Fatal(err)
					}
				}
			}
			if related < 50 {
				t.Errorf("only %d pairs", related)
			}
		})
	}
}

// run is the loss of a batch, its gradient and the number of its pairs.
func (b plainBatch) run(t *testing.T, e *torch.Engine, o *Objective) (float64, []float64, int) {
	s := torchtest.Scope(t, e)
	student := torch.FromData(s, "cpu", b.student, b.n, b.d)
	s.RequireGrad(student, true)
	batch := b.batch(s, student)
	batch.Mirrored = b.mirrored
	loss, parts := o.Step(s, batch)
	s.Backward(loss)
	pairs := 0.0
	for name, f := range parts {
		if strings.HasSuffix(name, ".pairs") || strings.HasSuffix(name, ".relations") {
			pairs = f.Value
		}
	}
	return s.Scalar(loss), torch.ToData[float64](s, s.Grad(student)), int(pairs)
}

// worst is the largest difference of a gradient and differences of value.
func (b plainBatch) worst(gradient []float64, value func(plainBatch) float64) float64 {
	const eps = 1e-6
	worst := 0.0
	for i := range b.student {
		at := func(delta float64) float64 {
			moved := b
			moved.student = slices.Clone(b.student)
			moved.student[i] += delta
			return value(moved)
		}
		worst = max(worst, math.Abs((at(eps)-at(-eps))/(2*eps)-gradient[i]))
	}
	return worst
}

// bfloat16 gives what single precision does, to its rounding, and finite gradients.
func TestBanksOfIdentitiesInBFloat16(t *testing.T) {
	e := torchtest.Open(t)
	for _, name := range []string{"coupleface", "icd"} {
		run := func(dtype torch.DType) float64 {
			o, err := New(Config{Name: name}, Env{Device: "cpu", Dim: 6, OwnDim: 6, Classes: 7})
			if err != nil {
				t.Fatal(err)
			}
			value := 0.0
			for step := range 8 {
				s, b := torchtest.Scope(t, e), newPlainBatch(step)
				student := s.To(torch.FromData(s, "cpu", b.student, b.n, b.d), dtype)
				s.RequireGrad(student, true)
				loss, _ := o.Step(s, b.batch(s, student))
				s.Backward(loss)
				value = s.Scalar(loss)
				for _, g := range s.Floats(s.Grad(student)) {
					if math.IsNaN(float64(g)) || math.IsInf(float64(g), 0) {
						t.Fatalf("%s, %v: gradient %g", name, dtype, g)
					}
				}
			}
			return value
		}
		want := run(torch.Float32)
		if got := run(torch.BFloat16); !(math.Abs(got-want) < 0.02*want) {
			t.Errorf("%s: loss %g, want about %g", name, got, want)
		}
	}
}

// A crop makes no pair with itself or its mirror image, and an old entry none.
func TestICDPairs(t *testing.T) {
	e := torchtest.Open(t)
	o, err := New(config(t, "icd", "valid_steps: 3"), Env{Device: "cpu", Dim: 4, OwnDim: 4, Classes: 1})
	if err != nil {
		t.Fatal(err)
	}
	b := plainBatch{problem: newProblem(1, 2, 4), mirrored: []bool{false, true}}
	pairs := func(step int, samples ...int64) int {
		b.step, b.samples, b.labels = step, samples, []int32{0, 0}
		_, _, n := b.run(t, e, o)
		return n
	}
	if n := pairs(0, 5, 5); n != 0 {
		t.Errorf("a crop and its mirror image are %d pairs", n)
	}
	if n := pairs(2, 6, 7); n != 6 {
		t.Errorf("two crops and two entries of another make %d pairs, want 6", n)
	}
	if n := pairs(3, 6, 7); n != 2 {
		t.Errorf("entries of 3 steps ago are among %d pairs, want 2", n)
	}
}

// The distributions count from their share of the run on; the bank fills before.
func TestICDStart(t *testing.T) {
	e := torchtest.Open(t)
	for step, want := range map[int]bool{49: false, 50: true} {
		o, err := New(config(t, "icd", "distribution_start: 0.25"), Env{Device: "cpu", Dim: 6, OwnDim: 6, Classes: 7, Steps: 200})
		if err != nil {
			t.Fatal(err)
		}
		b := newPlainBatch(0)
		b.step = step
		if value, _, n := b.run(t, e, o); n == 0 || (math.Abs(value-b.plainFCD()) > 1e-6) != want {
			t.Errorf("step %d: loss %g with %d pairs, feature consistency alone is %g", step, value, n, b.plainFCD())
		}
	}
}

// Banks have no more room than the dataset has use for.
func TestBanksOfIdentitiesAreBounded(t *testing.T) {
	for _, tt := range []struct {
		name, section string
		classes, want int
	}{
		{"coupleface", "{}", 100, 100},
		{"coupleface", "{}", 360232, 16384},
		{"icd", "{}", 100, 500},
		{"icd", "{}", 360232, 32768},
		{"icd", "{bank_crops: 64}", 100, 64},
	} {
		o, err := New(config(t, tt.name, tt.section), Env{Device: "cpu", Dim: 512, OwnDim: 512, Classes: tt.classes})
		if err != nil {
			t.Fatal(err)
		}
		var room int
		switch l := o.terms[0].term.(type) {
		case *coupleface:
			room = l.bank.capacity
		case *icd:
			room = l.bank.capacity
		}
		if room != tt.want {
			t.Errorf("%s %s of %d identities has room for %d, want %d", tt.name, tt.section, tt.classes, room, tt.want)
		}
	}
}

func TestBanksOfIdentitiesRefuse(t *testing.T) {
	for _, tt := range []struct{ name, section, want string }{
		{"coupleface", "relations: -1", "relations"},
		{"coupleface", "relation_weight: .nan", "relation_weight"},
		{"coupleface", "relation_margin: 2", "relation_margin"},
		{"coupleface", "relation_margin: .inf", "relation_margin"},
		{"coupleface", "identities: 1", "identities"},
		{"icd", "distribution_weight: -1", "distribution_weight"},
		{"icd", "distribution_start: 1.5", "distribution_start"},
		{"icd", "distribution_start: .nan", "distribution_start"},
		{"icd", "bin_width: 0.3", "bin_width"},
		{"icd", "bin_width: .nan", "bin_width"},
		{"icd", "bin_width: 0.00001", "bin_width"},
		{"icd", "histogram_gamma: .inf", "histogram_gamma"},
		{"icd", "bank_crops: -3", "bank_crops"},
	} {
		err := config(t, tt.name, tt.section).Validate()
		if err == nil || !strings.HasPrefix(err.Error(), "loss "+tt.name) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s %s: %v", tt.name, tt.section, err)
		}
	}
	for name, classes := range map[string]int{"coupleface": 1, "icd": 0} {
		_, err := New(Config{Name: name}, Env{Device: "cpu", Dim: 8, OwnDim: 8, Classes: classes, Split: "train"})
		if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "split train") {
			t.Errorf("%s of %d identities: %v", name, classes, err)
		}
	}
}
