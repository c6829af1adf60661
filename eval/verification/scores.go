package verification

import "math"

// Scores are the distances of many trials, each with the two identities. A trial takes
// 16 bytes, and 20 where trials have folds: same and different ones are in columns of
// their own, in the order in which they were added, so that trials of two models stand
// beside each other. A distance keeps its 64 bits, as 32 would make some of them equal and
// move figures. Figures need the distances of each kind in their order: 8 bytes more.
type Scores struct {
	folds  int
	ofKind [2]column // different, same
}

// column holds the trials of one kind.
type column struct {
	distances           []float64
	first, second, fold []int32   // fold is nil without folds
	sorted              []float64 // the distances in ascending order, once they were asked for
}

// Column holds the trials of one kind in the order in which they were added; trial i is at
// place i of every list. It is for reading only.
type Column struct {
	// Distances are the squared distances of the unit embeddings, 0 to [MaxDistance].
	Distances []float64
	// First and Second are the numbers of the identities.
	First, Second []int32
	// Fold is nil without folds.
	Fold []int32
}

// NewScores has room for so many trials of each kind. folds is the number of parts of a
// cross-validation that they belong to, 0 for none.
func NewScores(same, different, folds int) *Scores {
	return &Scores{folds: folds, ofKind: [2]column{newColumn(different, folds), newColumn(same, folds)}}
}

func newColumn(n, folds int) column {
	c := column{distances: make([]float64, 0, n), first: make([]int32, 0, n), second: make([]int32, 0, n)}
	if folds > 0 {
		c.fold = make([]int32, 0, n)
	}
	return c
}

// Add appends a trial. It panics if the distance is not a number.
func (s *Scores) Add(t Trial) {
	if math.IsNaN(t.Distance) {
		panic("verification: the distance of a trial is not a number")
	}
	c := &s.ofKind[kind(t.Same)]
	c.distances = append(c.distances, t.Distance)
	c.first, c.second = append(c.first, t.First), append(c.second, t.Second)
	if s.folds > 0 {
		c.fold = append(c.fold, t.Fold)
	}
}

// Same is the number of same-person trials.
func (s *Scores) Same() int { return len(s.ofKind[kind(true)].distances) }

// Different is the number of different-person trials.
func (s *Scores) Different() int { return len(s.ofKind[kind(false)].distances) }

// Folds is the number of parts of a cross-validation, 0 for none.
func (s *Scores) Folds() int { return s.folds }

// Column is a view of the trials of one kind. It may be used until the next trial is added.
func (s *Scores) Column(same bool) Column {
	c := &s.ofKind[kind(same)]
	return Column{c.distances, c.first, c.second, c.fold}
}

// Sorted are the distances of one kind in ascending order, for reading only. They are
// sorted when they are first asked for after a trial was added. So the first call must not
// run beside another.
func (s *Scores) Sorted(same bool) []float64 {
	c := &s.ofKind[kind(same)]
	if len(c.sorted) != len(c.distances) {
		c.sorted = sortedCopy(c.distances)
	}
	return c.sorted
}

// ROC is a view of the trials: it may be used until the next one is added.
func (s *Scores) ROC() ROC { return ROC{same: s.Sorted(true), different: s.Sorted(false)} }

// Tries is the number of thresholds that a cross-validation tries.
const Tries = 400

// Tried is threshold k of those that a cross-validation tries, 0 to [Tries]-1, ascending.
func Tried(k int) float64 { return accuracyThresholds.at(k) }
