package loss

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// State is the memory of a loss between steps, by name.
type State map[string]Array

// Array is one named block of a state: numbers of exactly one kind, with a shape.
type Array struct {
	Shape   []int
	Float32 []float32
	Float64 []float64
	Int64   []int64
}

// take fetches one array of a state and checks its length.
func (st State) take(name string, length int) (Array, error) {
	a, ok := st[name]
	if !ok {
		return a, fmt.Errorf("loss state has no %q (it has %v)", name, slices.Sorted(maps.Keys(st)))
	}
	if n := len(a.Float32) + len(a.Float64) + len(a.Int64); n != length {
		return a, fmt.Errorf("loss state %q has %d values, want %d", name, n, length)
	}
	return a, nil
}

// under is the state with all names beginning with prefix.
func (st State) under(prefix string) State {
	all := State{}
	for name, a := range st {
		all[prefix+name] = a
	}
	return all
}

// within is what of the state has names that begin with prefix, without it.
func (st State) within(prefix string) State {
	some := State{}
	for name, a := range st {
		if own, ok := strings.CutPrefix(name, prefix); ok {
			some[own] = a
		}
	}
	return some
}
