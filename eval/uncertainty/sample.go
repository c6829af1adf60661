package uncertainty

import (
	"math"

	"facepipe/eval/verification"
	"facepipe/internal/vec"
)

// tries are the cells of a fold: thresholds of the cross-validation by which a trial is accepted
// first, and one for trials that none accepts.
const tries = verification.Tries + 1

// model is how the trials of one model are resampled.
type model struct {
	scores  *verification.Scores
	targets []float64 // those that can be measured
	order   []int     // of targets, from the largest to the least
	best    float64   // threshold
	right   int       // trials, at the best threshold
	cells
	byCell [2]celled // by kind
	byFold [2]celled // by fold and try; only with folds
}

func newModel(s *verification.Scores, p people, targets, thresholds []float64) model {
	m := model{scores: s, targets: targets, order: descending(targets)}
	roc := s.ROC()
	for _, target := range targets {
		at, _ := roc.AtFAR(target)
		thresholds = append(thresholds[:len(thresholds):len(thresholds)], at.Threshold)
	}
	m.best, m.right = bestThreshold(s)
	m.cells = newCells(s.Sorted(false), s.Sorted(true), thresholds)
	for kind, of := range p.of {
		c := s.Column(kind == same)
		m.byCell[kind] = newCelled(of, len(m.least), func(i int) int { return m.of(c.Distances[i]) })
		if s.Folds() > 0 {
			m.byFold[kind] = newCelled(of, s.Folds()*tries, func(i int) int { return int(c.Fold[i])*tries + firstTry(c.Distances[i]) })
		}
	}
	return m
}

// firstTry is the first threshold of the cross-validation that accepts a distance.
func firstTry(distance float64) int {
	low, high := 0, verification.Tries
	for low < high {
		if middle := (low + high) / 2; distance < verification.Tried(middle) {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return low
}

// exact says whether every cell has a single distance.
func (m model) exact() bool {
	for i, least := range m.least {
		if m.most[i] != least {
			return false
		}
	}
	return true
}

// sample is what a replicate keeps: numbers of trials, by kind.
type sample struct {
	byCell, byFold [2][]uint32
	all, kept      [2]float64 // numbers of trials before and after
}

// usable says whether there are trials of both kinds.
func (s sample) usable() bool { return s.kept[different] > 0 && s.kept[same] > 0 }

// weights make the kept trials of each kind count as much as all did beside those of the other kind.
// They are whole numbers, so that sums that should be equal are.
func (s sample) weights() [2]float64 {
	a, b := uint64(s.all[different])*uint64(s.kept[same]), uint64(s.all[same])*uint64(s.kept[different])
	divisor := a
	for rest := b; rest > 0; {
		divisor, rest = rest, divisor%rest
	}
	return [2]float64{different: float64(a / divisor), same: float64(b / divisor)}
}

// figures of a sample, in this order; then come FNMR and threshold of every target.
const (
	accuracy = iota
	auc
	eer
	atTargets
)

// fnmrAt and thresholdAt are the places of the figures of target k.
func fnmrAt(k int) int      { return atTargets + 2*k }
func thresholdAt(k int) int { return atTargets + 2*k + 1 }

// figures is how many a sample has.
func (m model) figures() int { return fnmrAt(len(m.targets)) }

// measure computes the figures of a usable sample.
func (m model) measure(s sample, into []float64) {
	m.measureROC(s, into)
	if folds := m.scores.Folds(); folds > 0 {
		into[accuracy] = crossValidated(s, folds)
	}
}

// measureROC goes through the cells once. Between the ends of a cell of several distances
// curves are straight.
func (m model) measureROC(s sample, into []float64) {
	n, total, w := s.kept[different], s.kept[same], s.weights()
	falses, trues, twice := 0.0, 0.0, 0.0 // accepts; nothing is accepted
	best := n * w[different]
	target, crossed := len(m.targets)-1, false
	allowed := m.allowed(n)
	sames, differents := s.byCell[same][:len(m.least)], s.byCell[different][:len(m.least)]
	for cell := range m.least {
		dFalse, dTrue := float64(differents[cell]), float64(sames[cell])
		if dFalse == 0 && dTrue == 0 {
			continue
		}
		for ; target >= 0 && falses+dFalse > allowed[m.order[target]]; target-- {
			k := m.order[target]
			part := 0.0
			if m.most[cell] > m.least[cell] {
				part = max(0, m.targets[k]*n-falses) / dFalse
			}
			into[fnmrAt(k)] = (total - trues - float64(part*dTrue)) / total
			into[thresholdAt(k)] = m.least[cell] + float64(part*(m.most[cell]-m.least[cell]))
		}
		if !crossed && (falses+dFalse)*total+float64((trues+dTrue)*n) >= n*total {
			before, after := falses/n-(1-trues/total), (falses+dFalse)/n-(1-(trues+dTrue)/total)
			into[eer] = falses/n - float64(before/(after-before)*(dFalse/n))
			crossed = true
		}
		twice += float64(dFalse * (trues + dTrue + trues))
		falses, trues = falses+dFalse, trues+dTrue
		best = max(best, float64(w[same]*trues)+float64(w[different]*(n-falses)))
	}
	into[auc] = twice / 2 / total / n
	into[accuracy] = best / (float64(w[same]*total) + float64(w[different]*n))
}

// allowed are the most false accepts of n trials whose rate is within each target.
func (m model) allowed(n float64) []float64 {
	most := make([]float64, len(m.targets))
	for k, target := range m.targets {
		most[k] = math.Floor(target * n)
		if (most[k]+1)/n <= target { // rounding
			most[k]++
		}
		if most[k]/n > target {
			most[k]--
		}
	}
	return most
}

// everybody is the sample of all trials.
func (m model) everybody() (s sample) {
	for kind := range s.byCell {
		s.byCell[kind], s.byFold[kind] = m.byCell[kind].sizes(), m.byFold[kind].sizes()
		s.all[kind] = float64(len(m.byCell[kind].pairs))
	}
	s.kept = s.all
	return s
}

// whole are the figures of all trials, exactly: those of package verification.
func (m model) whole() []float64 {
	s := m.everybody()
	into := make([]float64, m.figures())
	m.measure(s, into)
	if m.scores.Folds() == 0 {
		into[accuracy] = float64(m.right) / (s.all[same] + s.all[different])
	}
	roc := m.scores.ROC()
	into[auc], into[eer] = roc.AUC(), roc.EER()
	for k, target := range m.targets {
		at, _ := roc.AtFAR(target)
		into[fnmrAt(k)] = math.Round((1-at.TAR)*s.all[same]) / s.all[same] // a number of trials of all
		into[thresholdAt(k)] = at.Threshold
	}
	return into
}

// crossValidated is the accuracy of the protocol: every fold is decided by the threshold that
// decides most of the other folds rightly, the smallest of several; the mean over the folds that
// have trials.
func crossValidated(s sample, folds int) float64 {
	w := s.weights()
	rights, sizes := make([][verification.Tries]float64, folds), make([]float64, folds)
	var all [verification.Tries]float64
	for f := range folds {
		sames, differents := s.byFold[same][f*tries:][:tries], s.byFold[different][f*tries:][:tries]
		right := 0.0
		for k := range tries {
			right += float64(w[different] * float64(differents[k]))
			sizes[f] += float64(w[different]*float64(differents[k])) + float64(w[same]*float64(sames[k]))
		}
		for k := range all {
			right += float64(w[same]*float64(sames[k])) - float64(w[different]*float64(differents[k]))
			rights[f][k] = right
			all[k] += right
		}
	}
	var accuracies []float64
	for f, right := range rights {
		if sizes[f] == 0 {
			continue
		}
		best := 0
		for k := range all {
			if all[k]-right[k] > all[best]-right[best] {
				best = k
			}
		}
		accuracies = append(accuracies, right[best]/sizes[f])
	}
	return vec.Mean(accuracies)
}
