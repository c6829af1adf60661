package eval

import (
	"context"
	"fmt"

	"facepipe/internal/embed"
	"facepipe/internal/selfcheck"
)

// settle compares preprocessings on some of the crops and settles the model's. notes say what
// is in doubt.
func settle(ctx context.Context, o Options, m *embed.Model, faces selfcheck.Faces) (result *selfcheck.Result, notes []string, err error) {
	if o.NoSelfTest {
		return nil, nil, nil
	}
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

// facesOf are pairs of n faces that show one person each or, where there are too few, faces to
// compare with their mirror images.
func facesOf(n int, persons [][2]int, decode func(i int, rgb []byte) error) selfcheck.Faces {
	var places []int
	for _, pair := range persons {
		places = append(places, pair[0], pair[1])
	}
	mirrored := len(places) < 2*selfcheck.MinPeople
	if mirrored {
		some := min(selfcheck.People, n)
		places = make([]int, some)
		for i := range places {
			places[i] = i * n / some
		}
	}
	return selfcheck.Faces{Count: len(places), Mirrored: mirrored, Load: func(i int, rgb []byte) error {
		return decode(places[i], rgb)
	}}
}
