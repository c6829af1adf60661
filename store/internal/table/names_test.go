package table

import "testing"

func TestShardNames(t *testing.T) {
	for n, want := range map[int]string{0: "000000.arrow", 42: "000042.arrow", 1234567: "1234567.arrow"} {
		if got := ArrowName(n); got != want {
			t.Errorf("%d is %s", n, got)
		}
		if got, ok := ParseShardName(want, ArrowSuffix); got != n || !ok {
			t.Errorf("%s is %d, %t", want, got, ok)
		}
	}
	for _, s := range []string{"0.arrow", "0000001.arrow", "-00001.arrow", "000001.json", ".arrow", "99999999999999999999.arrow", "+00001.arrow"} {
		if _, ok := ParseShardName(s, ArrowSuffix); ok {
			t.Errorf("%s is a shard", s)
		}
	}
}
