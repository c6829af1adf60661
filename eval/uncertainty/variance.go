package uncertainty

import "slices"

// tally is how many trials a threshold accepts, and the variance of their share.
type tally struct {
	accepted int
	variance float64
}

// spread counts the trials that each of several thresholds accepts, and how much their share varies
// from one choice of people to the next:
//
//	Var = [Σ Z² + max(0, Σ S² - 2 Σ Z² + Σ Z'²)] / N²
//
// Z = n (e - share) of the n trials with two given identities, or with a given single one, of whose
// share e is accepted; Z' are the Z of single ones. S sums up all Z that an identity has part in. So
// the second term is that of trials with one identity in common and another not. N is the number of
// all trials. first is the number of the first threshold that accepts a trial, of so many. The trials
// are gone through once; what they take besides is 8 bytes a trial and some numbers an identity.
func spread(of pairs, people, thresholds int, first func(i int) int) []tally {
	d := newDeviations(people, thresholds, of.count())
	begin := make([]int, people+1) // of the trials of each first identity
	for i := range of.count() {
		p := of.at(i)
		d.accepted[first(i)]++
		begin[min(p.a, p.b)+1]++
	}
	d.share()
	rows := byFirst(of, begin, first)
	width := thresholds + 1
	count := make([]int32, people*width) // by second identity and first threshold that accepts
	var met []int32
	for a := range people {
		met = met[:0]
		for _, r := range rows[begin[a]:begin[a+1]] {
			of := count[int(r.second)*width:][:width]
			if isZero(of) {
				met = append(met, r.second)
			}
			of[r.first]++
		}
		for _, b := range met {
			of := count[int(b)*width:][:width]
			d.add(a, int(b), of)
			clear(of)
		}
	}
	return d.tallies()
}

// deviations sums up the Z of [spread], for each threshold.
type deviations struct {
	trials, people  int
	accepted        []int // by threshold; first only those that no threshold before accepts
	shares          []float64
	sums            [][]float64 // S, by threshold and identity
	squares, single []float64
}

func newDeviations(people, thresholds, trials int) *deviations {
	d := &deviations{
		trials: trials, people: people, accepted: make([]int, thresholds+1), shares: make([]float64, thresholds),
		sums: make([][]float64, thresholds), squares: make([]float64, thresholds), single: make([]float64, thresholds),
	}
	for k := range d.sums {
		d.sums[k] = make([]float64, people)
	}
	return d
}

// share turns counts of trials by first threshold into those of all that each threshold accepts.
func (d *deviations) share() {
	for k := range d.shares {
		if k > 0 {
			d.accepted[k] += d.accepted[k-1]
		}
		d.shares[k] = float64(d.accepted[k]) / float64(d.trials)
	}
}

// add adds the trials of two identities, or of one, counted by the first threshold that accepts them.
func (d *deviations) add(a, b int, byFirst []int32) {
	n, accepted := 0, 0
	for _, count := range byFirst {
		n += int(count)
	}
	for k := range d.shares {
		accepted += int(byFirst[k])
		z := float64(accepted) - float64(float64(n)*d.shares[k])
		d.squares[k] += float64(z * z)
		d.sums[k][a] += z
		if a == b {
			d.single[k] += float64(z * z)
		} else {
			d.sums[k][b] += z
		}
	}
}

func (d *deviations) tallies() []tally {
	tallies := make([]tally, len(d.shares))
	for k := range tallies {
		common := d.single[k] - 2*d.squares[k]
		for _, s := range d.sums[k] {
			common += float64(s * s)
		}
		n := float64(d.trials)
		tallies[k] = tally{d.accepted[k], (d.squares[k] + max(0, common)) / n / n}
	}
	return tallies
}

// row is a trial in the list of its first identity.
type row struct{ second, first int32 }

// byFirst brings trials together that have one first identity. begin counts them, each count a
// place late, and becomes where each identity's begin.
func byFirst(of pairs, begin []int, first func(i int) int) []row {
	for a := 1; a < len(begin); a++ {
		begin[a] += begin[a-1]
	}
	next := slices.Clone(begin)
	rows := make([]row, of.count())
	for i := range rows {
		p := of.at(i)
		a, b := min(p.a, p.b), max(p.a, p.b)
		rows[next[a]] = row{b, int32(first(i))}
		next[a]++
	}
	return rows
}

func isZero(counts []int32) bool {
	for _, c := range counts {
		if c != 0 {
			return false
		}
	}
	return true
}
