package verification

import (
	"math"
	"sort"
)

// Scores are the distances of many trials, each with the two identities. A trial takes
// 16 bytes, and 20 where trials have folds: same and different ones are in columns of
// their own, which are sorted in place. A distance keeps its 64 bits, as 32 would make
// some of them equal and move figures.
type Scores struct {
	folds  int
	ofKind [2]column // different, same
}

// column holds the trials of one kind.
type column struct {
	distances           []float64
	first, second, fold []int32 // fold is nil without folds
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
func (s *Scores) Same() int { return s.ofKind[kind(true)].Len() }

// Different is the number of different-person trials.
func (s *Scores) Different() int { return s.ofKind[kind(false)].Len() }

// ROC sorts the trials of each kind by distance, in place, and is a view of them: it may
// be used until the next trial is added.
func (s *Scores) ROC() ROC {
	for k := range s.ofKind {
		sort.Sort(&s.ofKind[k])
	}
	return ROC{same: s.ofKind[kind(true)].distances, different: s.ofKind[kind(false)].distances}
}

// Len is the number of trials.
func (c *column) Len() int { return len(c.distances) }

// Less orders trials by distance.
func (c *column) Less(i, j int) bool { return c.distances[i] < c.distances[j] }

// Swap exchanges two trials.
func (c *column) Swap(i, j int) {
	c.distances[i], c.distances[j] = c.distances[j], c.distances[i]
	c.first[i], c.first[j] = c.first[j], c.first[i]
	c.second[i], c.second[j] = c.second[j], c.second[i]
	if c.fold != nil {
		c.fold[i], c.fold[j] = c.fold[j], c.fold[i]
	}
}
