package verification

import (
	"fmt"
	"strings"
)

// Rule is a way to compute figures of trials that published figures follow. The zero Rule is
// [Plain].
type Rule struct {
	// Name is what users call it.
	Name string
	// Flip says whether the rule's embeddings have those of the mirrored crop added.
	Flip bool
	// Pick says how TAR is read at a FAR. It may be set to another.
	Pick Pick
	// Spread is what stands behind the accuracy's ±, and Chooses how the threshold of a fold is
	// found on the other folds, both in words. VAL says in words what [Result.VAL] holds; it
	// is "" where the rule knows no such figure.
	Spread, Chooses, VAL string
	// folds deals trials out; declared folds are those that the list announces, or nil.
	folds func(same []bool, declared []int) (Folds, error)
	// crossValidate fills in the figures of folds.
	crossValidate func(*Scores) []FoldResult
	// plusMinus takes what Spread says from the summary.
	plusMinus func(CrossValidation) float64
}

// Rules are all rules, the usual one first.
func Rules() []Rule {
	return []Rule{
		Plain,
		InsightFace,
		FaceXZoo,
	}
}

// RuleNamed is the rule of that name. The error names those that there are.
func RuleNamed(name string) (Rule, error) {
	var names []string
	for _, r := range Rules() {
		if r.Name == name {
			return r, nil
		}
		names = append(names, r.Name)
	}
	return Rule{}, fmt.Errorf("no rule is called %q; there are %s", name, strings.Join(names, ", "))
}

// Folds deals trials out to the parts of the rule's cross-validation. same[i] tells the kind
// of trial i; declared are the folds that the list itself announces, or nil. [ErrTooFew].
func (r Rule) Folds(same []bool, declared []int) (Folds, error) {
	return r.orPlain().folds(same, declared)
}

func (r Rule) orPlain() Rule {
	if r.Name == "" {
		return Plain
	}
	return r
}

func populationStd(c CrossValidation) float64 { return c.AccuracyStd }

func standardError(c CrossValidation) float64 { return c.AccuracyStdError }
