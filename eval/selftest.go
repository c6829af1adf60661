package eval

import (
	"context"
	"fmt"

	"facepipe/internal/embed"
	"facepipe/internal/selfcheck"
)

// settle compares preprocessings on some of the crops and settles the model's. notes say what
// is in doubt.
func settle(ctx context.Context, o Options, m *embed.Model, t *test) (result *selfcheck.Result, notes []string, err error) {
	if o.NoSelfTest {
		return nil, nil, nil
	}
	faces := facesOf(t)
	if result, err = selfcheck.Run(ctx, m, faces, o.Progress); err != nil {
		return nil, nil, err
	}
	if err := result.Weak(); err != nil {
		return result, []string{err.Error()}, nil
	}
	assumed := m.Preprocess()
	warning, err := result.Settle(m)
	if warning != "" {
		notes = append(notes, warning)
	}
	if now := m.Preprocess(); now != assumed {
		notes = append(notes, fmt.Sprintf("the file does not tell the preprocessing: the measured one is taken, %v", now))
	}
	return result, notes, err
}

// facesOf are pairs of crops that show one person each or, where there are too few, crops to
// compare with their mirror images.
func facesOf(t *test) selfcheck.Faces {
	var places []int
	for _, pair := range t.Persons(selfcheck.People) {
		places = append(places, pair[0], pair[1])
	}
	mirrored := len(places) < 2*selfcheck.MinPeople
	if mirrored {
		n := min(selfcheck.People, len(t.Faces()))
		places = make([]int, n)
		for i := range places {
			places[i] = i * len(t.Faces()) / n
		}
	}
	return selfcheck.Faces{Count: len(places), Mirrored: mirrored, Load: func(i int, rgb []byte) error {
		return t.decode(places[i], rgb)
	}}
}
