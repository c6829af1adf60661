package verification

import "sort"

// InsightFace is the rule of the InsightFace project's verification of pairs, which follows
// FaceNet's: ten runs of the list in its own order are the folds, whatever it announces.
// Accuracy is that of [Plain] on them. [Result.VAL] is its rate of same-person pairs
// accepted: see [VALPoint]. Over all pairs TAR is read at the point of the ROC whose FAR is
// nearest to the target, as in its evaluation of IJB.
var InsightFace = Rule{
	Name: "insightface", Flip: true, Pick: Nearest,
	Spread:  "population standard deviation",
	Chooses: "the first of d = 0, 0.01 ... 3.99 that is best on the others",
	VAL: "mean ± population standard deviation over the folds of the same-person pairs accepted; the threshold of a fold is interpolated " +
		"linearly between d = 0, 0.001 ... 3.999 to where the FAR of the others passes the target, and 0 if it never reaches it",
	folds:         func(same []bool, _ []int) (Folds, error) { return ChooseFolds(same, nil), nil },
	crossValidate: crossValidate,
	plusMinus:     populationStd,
}

// valThresholds are those that FAR is computed at to find the threshold of VAL.
var valThresholds = grid{4000, 0.001}

// VALPoint is InsightFace's validation rate at a false accept rate: for each fold the
// threshold is taken from the curve of FAR over thresholds on the other folds.
type VALPoint struct {
	// Target is the false accept rate that was asked for.
	Target float64 `json:"target_far"`
	// VAL is the mean over the folds of the share of same-person pairs accepted, Std its
	// population standard deviation, and FAR the mean of the false accept rates that the
	// folds then have.
	VAL float64 `json:"val"`
	Std float64 `json:"val_std"`
	FAR float64 `json:"far"`
	// FalseAccepts of Different pairs and FalseRejects of Same pairs are the errors in all
	// folds together.
	FalseAccepts int `json:"false_accepts"`
	Different    int `json:"different"`
	FalseRejects int `json:"false_rejects"`
	Same         int `json:"same"`
	// Folds is how many folds the means are over: a fold without a kind has no rate of it,
	// and is left out of that mean.
	Folds int `json:"folds"`
	// Unreached is the number of folds whose threshold is 0, since no threshold reaches the
	// target on the others.
	Unreached int `json:"unreached,omitempty"`
}

// Name is the target in the field's short form, "1e-3".
func (p VALPoint) Name() string { return RateName(p.Target) }

// valPoints are the points at targets that can be measured.
func valPoints(s *Scores, targets []float64) []VALPoint {
	tallies := s.tallies(valThresholds.n+1, valThresholds.place)
	points := make([]VALPoint, len(targets))
	for i, target := range targets {
		points[i] = s.valPoint(target, valLimits(tallies, target))
	}
	return points
}

// valLimits are the thresholds of the folds.
func valLimits(tallies []tally, target float64) []float64 {
	all := sumOf(tallies)[kind(false)]
	limits := make([]float64, len(tallies))
	far := make([]float64, valThresholds.n)
	for f, t := range tallies {
		total := 0
		for k := range all {
			total += all[k] - t[kind(false)][k]
		}
		accepted := 0
		for k := range far {
			accepted += all[k] - t[kind(false)][k]
			far[k] = share(accepted, total)
		}
		limits[f] = wherePassed(far, target)
	}
	return limits
}

// wherePassed is the threshold at which rates, one for each of valThresholds and ascending,
// pass a target, linearly between the last one of at most the target and the next; 0 if none
// reaches it. Of several thresholds with just the target it is the last, as in the spline of
// degree one that FaceNet's evaluation code asked SciPy for, and in NumPy's interp.
func wherePassed(rates []float64, target float64) float64 {
	n := len(rates)
	if rates[n-1] < target {
		return 0
	}
	after := sort.Search(n, func(k int) bool { return rates[k] > target })
	if after == 0 || after == n {
		return valThresholds.at(max(after-1, 0))
	}
	from, to := valThresholds.at(after-1), valThresholds.at(after)
	slope := (to - from) / (rates[after] - rates[after-1])
	return from + float64(slope*(target-rates[after-1])) // not fused: see Distance
}

// valPoint applies to every fold its threshold.
func (s *Scores) valPoint(target float64, limits []float64) VALPoint {
	p := VALPoint{Target: target, Different: s.Different(), Same: s.Same()}
	accepted, trials := make([][2]int, s.folds), make([][2]int, s.folds)
	for k, c := range s.ofKind {
		for i, fold := range c.fold {
			trials[fold][k]++
			if c.distances[i] < limits[fold] {
				accepted[fold][k]++
			}
		}
	}
	var vals, fars []float64
	p.FalseRejects = p.Same
	for f, n := range trials {
		p.FalseAccepts += accepted[f][kind(false)]
		p.FalseRejects -= accepted[f][kind(true)]
		if n[kind(false)] > 0 {
			fars = append(fars, share(accepted[f][kind(false)], n[kind(false)]))
		}
		if n[kind(true)] > 0 {
			vals = append(vals, share(accepted[f][kind(true)], n[kind(true)]))
		}
		if limits[f] == 0 {
			p.Unreached++
		}
	}
	p.VAL, p.Std = meanStd(vals)
	p.FAR, _ = meanStd(fars)
	p.Folds = len(vals)
	return p
}
