package measure

import (
	"math"
	"slices"
	"strings"
	"testing"
)

func TestNumber(t *testing.T) {
	for x, want := range map[float64]string{
		0: "0", 1.2345: "1.23", 0.00012345: "0.000123", 99.94: "99.9", 100: "100", 123.4: "123", 1234: "1,230", 999600: "1,000,000",
		2345678: "2,350,000", -1234: "-1,230", -123: "-123", math.NaN(): "",
	} {
		if got := Number(x); got != want && !math.IsNaN(x) {
			t.Errorf("%v: %q, want %q", x, got, want)
		}
	}
	if Number(math.NaN()) != "" || Ratio(math.NaN(), 1) != "" || Ratio(300, 200) != "300 (1.5×)" {
		t.Errorf("%q, %q", Number(math.NaN()), Ratio(300, 200))
	}
}

func TestResults(t *testing.T) {
	var b strings.Builder
	for i, seconds := range []float64{4, 1, 2} {
		if err := (Result{System: "pipe", Phase: "write", Rows: 100, Operations: 10 * (i + 1), Seconds: seconds}).Print(&b); err != nil {
			t.Fatal(err)
		}
	}
	all, err := Read(strings.NewReader(b.String() + `{"system": "lmdb", "phase": "write", "rows": 100}`))
	if err != nil || len(all) != 4 {
		t.Fatalf("%d results, %v", len(all), err)
	}
	if some := all.Of("pipe", "write", 100); len(some) != 3 || some.Rate() != 15 || len(all.Of("pipe", "write", 7)) != 0 {
		t.Errorf("%d results, rate %v", len(some), some.Rate())
	}
	if m := Median([]float64{3, 1, 2, 10}); m != 2.5 || !math.IsNaN(Results{}.Rate()) {
		t.Errorf("median %v", m)
	}
	if _, err := Read(strings.NewReader("{")); err == nil {
		t.Error("half a line is read")
	}
}

func TestTable(t *testing.T) {
	var b strings.Builder
	if err := (Table{{"", "a", "b"}, {"x", "1", "2"}}).Print(&b); err != nil {
		t.Fatal(err)
	}
	if want := "|  | a | b |\n|---|---:|---:|\n| x | 1 | 2 |\n"; b.String() != want {
		t.Errorf("got %q", b.String())
	}
}

func TestPeaks(t *testing.T) {
	for _, c := range []struct {
		samples []int64
		parts   int
		want    []float64
	}{
		{[]int64{1024, 3072, 2048, 1024}, 2, []float64{3, 2}},
		{[]int64{1024, 2048, 3072, 4096, 1024}, 2, []float64{2, 4}},
		{[]int64{2048}, 3, []float64{2, 2, 2}},
		{[]int64{1024, 5120}, 1, []float64{5}},
	} {
		if got := peaks(c.samples, c.parts); !slices.Equal(got, c.want) {
			t.Errorf("%v in %d parts: %v, want %v", c.samples, c.parts, got, c.want)
		}
	}
}

func TestMemory(t *testing.T) {
	m := WatchMemory()
	block := make([]byte, 64<<20)
	for i := range block {
		block[i] = byte(i)
	}
	if peak := m.Peak(); anonymousKiB() > 0 && peak < 64 {
		t.Errorf("%v MiB, though %d were allocated", peak, len(block)>>20)
	}
	if ProcessorSeconds() <= 0 {
		t.Error("no time was spent")
	}
}
