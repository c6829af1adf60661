package overlap

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"

	"facepipe/internal/nearest"
)

// Expected is how many false hits chance gives at a threshold, over all comparisons of a search: of
// both searches together fewer than one.
const Expected = 0.4

// Sizes of what a tail is fitted to.
const (
	// sampled vectors of a side at most are compared with each other: 200 million pairs.
	sampled = 20000
	// fewest known pairs that a tail is fitted to, and fewest in any point of the fit.
	fewestPairs, fewestBeyond = 1000, 30
	// The fit's points are quantiles between rarest and a hundred times that; points of them.
	rarest, points = 1e-5, 21
	// bins of cosines, from -1 to 1.
	bins = 20000
)

// Tail is how alike the most alike of different people are, and the fit that tells how rare
// more alike ones would be.
//
// The fit is a straight line through upper quantiles of the cosines over those of the normal
// distribution: the tail of a normal distribution with its own mean and deviation, and nothing
// said of the rest. Quantiles between the From-th and the To-th part of the pairs are taken.
// Pairs of one person under two names, which every set has some of, lie beyond them.
type Tail struct {
	// Of is the set whose pairs of different people were taken, "test" or "train".
	Of string `json:"of"`
	// People and Pairs that were taken, a random sample of large sets.
	People int   `json:"people"`
	Pairs  int64 `json:"pairs"`
	// Mean and Deviation are those of the normal distribution.
	Mean      float64 `json:"mean"`
	Deviation float64 `json:"deviation"`
	// From and To are the shares of pairs above the first and the last quantile of the fit.
	From float64 `json:"from"`
	To   float64 `json:"to"`
	// Residual is the largest difference of a cosine from the fit.
	Residual float64 `json:"residual"`
	// Threshold is the cosine that the fit gives for the comparisons of the search.
	Threshold float64 `json:"threshold"`
	// Extrapolated is by how many powers of ten the threshold's share of pairs is below To.
	Extrapolated float64 `json:"extrapolated_decades"`
	// Beyond is how many of the pairs are at or above the threshold of the search, where the
	// fit expects BeyondExpected. More are people under two names, or relatives, or a fit that
	// does not hold.
	Beyond         int64   `json:"beyond"`
	BeyondExpected float64 `json:"beyond_expected"`

	cosines *histogram
}

// histogram counts cosines.
type histogram struct {
	counts [bins]int64
	n      int64
}

func bin(cosine float32) int {
	return min(bins-1, max(0, int((float64(cosine)+1)*(bins/2))))
}

func (h *histogram) add(other *histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.n += other.n
}

// above is the cosine that n of the values are above, between the bounds of its bin as if they
// were spread evenly there.
func (h *histogram) above(n float64) float64 {
	for i, left := bins-1, n; i >= 0; i-- {
		here := float64(h.counts[i])
		if here > 0 && left <= here {
			return (float64(i+1)-left/here)/(bins/2) - 1
		}
		left -= here
	}
	return -1
}

// from counts the values at or above a cosine, to the width of a bin.
func (h *histogram) from(cosine float64) (n int64) {
	for i := bins - 1; i >= 0 && float64(i)/(bins/2)-1 >= cosine-1e-9; i-- {
		n += h.counts[i]
	}
	return n
}

// different takes the cosines of the pairs of vectors of different people: person numbers them,
// and nobody's are left out. Of many vectors a sample is taken, by seed.
func different(ctx context.Context, of string, v nearest.Vectors, person func(i int) int32, seed uint64) (*Tail, error) {
	who := known(v.Len(), person, seed)
	t := &Tail{Of: of, cosines: &histogram{}}
	numbers := make([]int32, len(who))
	people := map[int32]bool{}
	for k, i := range who {
		numbers[k] = person(i)
		people[numbers[k]] = true
	}
	t.People = len(people)
	if len(people) < 2 {
		return t, nil
	}
	var mu sync.Mutex
	var all []*histogram
	known := nearest.Part[int]{Vectors: v, Places: who}
	err := products(ctx, known, known, nil, func() sight {
		h := &histogram{}
		mu.Lock()
		defer mu.Unlock()
		all = append(all, h)
		return func(i int, with []int32, cosines []float32) {
			own := numbers[i]
			for k, j := range with {
				if int(j) > i && numbers[j] != own {
					h.counts[bin(cosines[k])]++
					h.n++
				}
			}
		}
	})
	for _, h := range all {
		t.cosines.add(h)
	}
	t.Pairs = t.cosines.n
	return t, err
}

// known are the numbers of the vectors that show somebody, ascending, a sample if there are many.
func known(n int, person func(i int) int32, seed uint64) []int {
	var who []int
	for i := range n {
		if person(i) != nobody {
			who = append(who, i)
		}
	}
	if len(who) > sampled {
		rng := rand.New(rand.NewPCG(seed, uint64(len(who))))
		rng.Shuffle(len(who), func(a, b int) { who[a], who[b] = who[b], who[a] })
		who = who[:sampled]
		slices.Sort(who)
	}
	return who
}

// fit fits the tail, and gives the cosine above which chance puts the share p of pairs. ok is
// false if there are too few pairs, or all are alike.
func (t *Tail) fit(p float64) (ok bool) {
	if t.Pairs < fewestPairs {
		return false
	}
	n := float64(t.Pairs)
	t.To = max(fewestBeyond/n, rarest)
	t.From = min(0.25, 100*t.To)
	var z, s [points]float64
	for k := range points {
		share := t.To * math.Pow(t.From/t.To, float64(k)/(points-1))
		z[k], s[k] = normalAbove(share), t.cosines.above(share*n)
	}
	if t.Mean, t.Deviation = line(z[:], s[:]); !(t.Deviation > 0) {
		return false
	}
	t.Residual = 0
	for k := range points {
		t.Residual = max(t.Residual, math.Abs(s[k]-(t.Mean+t.Deviation*z[k])))
	}
	t.Threshold = t.Mean + t.Deviation*normalAbove(p)
	t.Extrapolated = max(0, math.Log10(t.To/p))
	return true
}

// conclude compares the pairs above a threshold with what the fit expects there.
func (t *Tail) conclude(threshold float64) {
	t.Beyond, t.BeyondExpected = t.cosines.from(threshold), float64(t.Pairs)*t.share(threshold)
}

// share of the pairs that the fit puts above a cosine.
func (t *Tail) share(cosine float64) float64 {
	return math.Erfc((cosine-t.Mean)/t.Deviation/math.Sqrt2) / 2
}

// line is the straight line of least squares, y = at + slope·x.
func line(x, y []float64) (at, slope float64) {
	var mx, my, xx, xy float64
	for i := range x {
		mx += x[i] / float64(len(x))
		my += y[i] / float64(len(x))
	}
	for i := range x {
		xx += float64((x[i] - mx) * (x[i] - mx))
		xy += float64((x[i] - mx) * (y[i] - my))
	}
	slope = xy / xx
	return my - float64(slope*mx), slope
}

// normalAbove is the value that a standard normal variable exceeds with probability p, 0 < p < 1.
func normalAbove(p float64) float64 {
	low, high := -40.0, 40.0
	for range 100 {
		if middle := (low + high) / 2; math.Erfc(middle/math.Sqrt2)/2 > p {
			low = middle
		} else {
			high = middle
		}
	}
	return low
}

// describe says in a sentence what the threshold of a search rests on.
func (t *Tail) describe() string {
	return fmt.Sprintf("the %d most alike of %d pairs of different people of the %s set (%d people): normal tail, mean %.4f, deviation %.4f, off by %.4f at most, extrapolated by %.1f powers of ten",
		int64(t.From*float64(t.Pairs)), t.Pairs, t.Of, t.People, t.Mean, t.Deviation, t.Residual, t.Extrapolated)
}
