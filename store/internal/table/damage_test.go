package table

import (
	"errors"
	"strings"
	"testing"
)

func TestDamageError(t *testing.T) {
	inner := errors.New("cause")
	err := Damaged("a/b", "outer: %w", inner)
	if !errors.Is(err, ErrDamaged) || !errors.Is(err, inner) || !strings.Contains(err.Error(), "a/b") {
		t.Error(err)
	}
	if AsDamage("c", err) != err || AsDamage("c", nil) != nil || !errors.Is(AsDamage("c", inner), ErrDamaged) {
		t.Error("AsDamage")
	}
	if file, what, ok := DamageIn(err); file != "a/b" || !errors.Is(what, inner) || !ok {
		t.Errorf("damage is in %q, %v, %t", file, what, ok)
	}
}
