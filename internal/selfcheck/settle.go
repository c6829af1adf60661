package selfcheck

import (
	"errors"
	"fmt"
	"strings"

	"facepipe/internal/embed"
)

var (
	// ErrContradiction marks a model of which the file says one thing about its preprocessing
	// and a measurement another.
	ErrContradiction = errors.New("the preprocessing is in doubt")
	// ErrWeak marks a model that does not tell people apart under any preprocessing.
	ErrWeak = errors.New("the model does not tell people apart")
)

// Settle makes the measured contract that of the models, which are one and the same, where
// their own is only assumed. Where the user has chosen one it is kept, and warning says what
// was measured; so it is where the measurement is not clear enough. [ErrContradiction] where
// the file says otherwise.
func (r *Result) Settle(models ...*embed.Model) (warning string, err error) {
	if r == nil || r.Best == 0 {
		return "", nil
	}
	chosen, best := r.Contracts[0], r.Contracts[r.Best]
	measured := fmt.Sprintf("of %s the model tells people apart better under %s than under %s (separation %.2f against %.2f, AUC %.4f against %.4f)",
		r.faces(), best.Name, chosen.Name, best.Separation, chosen.Separation, best.AUC, chosen.AUC)
	origin := models[0].Origin()
	open := origin == embed.Assumed || origin == embed.Found && best.Preprocess == chosen.reordered().Preprocess
	switch {
	case origin == embed.Chosen:
		return measured + ": is --preprocess right?", nil
	case !r.decisive():
		return measured + ", but not clearly: consider --preprocess", nil
	case open:
		for _, m := range models {
			m.Adopt(best.Preprocess, "auto: measured: "+measured)
		}
		return "", nil
	case chosen.AUC >= best.AUCLow:
		return measured + ": consider --preprocess", nil
	}
	return "", fmt.Errorf("%w: it is %s, but %s; give --preprocess arcface, raw or a file with the right one", ErrContradiction, told(models[0]), measured)
}

// told is the contract that a file tells, and how.
func told(m *embed.Model) string {
	return fmt.Sprintf("%v by the file (%s)", m.Preprocess(), strings.TrimPrefix(m.Reason(), "auto: "))
}

// Limits of what is measured.
const (
	// clearAUC is that of the best contract from which on its advantage says something of the
	// model: one with random weights has favourites, too.
	clearAUC = 0.75
	// clearMirrored is the same for the separation of mirror images, which any network finds
	// alike.
	clearMirrored = 6
	// chance is the AUC of a model that cannot tell anybody apart.
	chance = 0.5
)

// decisive says that the best contract is good enough for a model to go by it.
func (r *Result) decisive() bool {
	best := r.Contracts[r.Best]
	return best.AUCLow >= clearAUC && (!r.Mirrored || best.Separation >= clearMirrored)
}

// Weak is [ErrWeak] with the figures, if under the best contract the model tells people apart
// no better than chance explains.
func (r *Result) Weak() error {
	if r == nil || r.Same < MinPeople || r.Mirrored && r.Same < 2*MinPeople {
		return nil
	}
	best := r.Contracts[r.Best]
	if best.AUCLow > chance {
		return nil
	}
	if best.Separation == 0 {
		return fmt.Errorf("%w: all embeddings of %s are alike or without use", ErrWeak, r.faces())
	}
	return fmt.Errorf("%w: of %s its AUC is %.3f at best (95 %% interval %.3f to %.3f, chance is 0.5), under %s", ErrWeak, r.faces(), best.AUC, best.AUCLow, best.AUCHigh, best.Name)
}

// String says what the test came to.
func (r *Result) String() string {
	best := r.Contracts[r.Best]
	return fmt.Sprintf("of %s on %s the best is %s, AUC %.4f (95 %% interval %.4f to %.4f)",
		preprocessings(len(r.Contracts)), r.faces(), best.Name, best.AUC, best.AUCLow, best.AUCHigh)
}

func (r *Result) faces() Faces { return Faces{Count: r.Crops, Mirrored: r.Mirrored} }
