package verification

// Plain is the LFW protocol as most papers report it: folds as the list announces them,
// distances against 400 thresholds, and TAR at the largest threshold whose FAR over all
// pairs is at most the target.
var Plain = Rule{
	Name: "plain", Flip: true, Pick: Le,
	Spread:        "population standard deviation",
	Chooses:       "the first of d = 0, 0.01 ... 3.99 that is best on the others",
	folds:         func(same []bool, declared []int) (Folds, error) { return ChooseFolds(same, declared), nil },
	crossValidate: crossValidate,
	plusMinus:     populationStd,
}
