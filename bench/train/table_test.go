package main

import (
	"strings"
	"testing"
)

// Each way of training has a row a batch, and one at its best batch; what waited for data is
// said of those that measured it.
func TestTable(t *testing.T) {
	lines := `
{"system": "pipe bf16 cosine", "phase": "ir50, batch 128", "rows": 128, "operations": 900, "seconds": 1, "threads": 2, "peak_mib": 10, "also": {"wait_seconds": 0.125}}
{"system": "torch", "phase": "ir50, batch 128", "rows": 128, "operations": 500, "seconds": 1, "peak_mib": 20}
{"system": "pipe bf16 cosine", "phase": "ir50, batch 256", "rows": 256, "operations": 800, "seconds": 1, "peak_mib": 30}
{"system": "torch", "phase": "ir50, batch 256", "rows": 256, "operations": 600, "seconds": 1, "peak_mib": 40}
{"system": "pipe bf16 cosine", "phase": "ir18, batch 128", "rows": 128, "operations": 1500, "seconds": 1, "peak_mib": 50}`
	var b strings.Builder
	if err := printTable(strings.NewReader(lines), &b); err != nil {
		t.Fatal(err)
	}
	want := `2 threads; decoding of the crops included; medians of 1 rounds.

| ir50, batch 128 | images/s | pipe's best is | of it waiting for data, % | peak MiB |
|---|---:|---:|---:|---:|
| pipe bf16 cosine | 900 | 1.00× | 12.5 | 10 |
| torch | 500 | 1.80× |  | 20 |

| ir50, batch 256 | images/s | pipe's best is | of it waiting for data, % | peak MiB |
|---|---:|---:|---:|---:|
| pipe bf16 cosine | 800 | 1.00× |  | 30 |
| torch | 600 | 1.33× |  | 40 |

| ir18, batch 128 | images/s | pipe's best is | of it waiting for data, % | peak MiB |
|---|---:|---:|---:|---:|
| pipe bf16 cosine | 1,500 | 1.00× |  | 50 |

| ir50, each at its best batch | images/s | pipe's best is | of it waiting for data, % | peak MiB |
|---|---:|---:|---:|---:|
| pipe bf16 cosine, 128 | 900 | 1.00× | 12.5 | 10 |
| torch, 256 | 600 | 1.50× |  | 40 |
`
	if b.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", b.String(), want)
	}
	if err := printTable(strings.NewReader(""), &b); err == nil {
		t.Error("a table of nothing is printed")
	}
}

// Memory that has come to its height in the first third of a run and stays there is flat; what
// is read or written at the end may add a little.
func TestGrows(t *testing.T) {
	for _, c := range []struct {
		peaks []float64
		grows bool
	}{
		{[]float64{100, 300, 900, 1000, 1000, 1000, 1000, 1000, 1000, 1010}, false},
		{[]float64{900, 900, 950, 950, 1000, 1000, 1050, 1050, 1100, 1150}, true},
		{[]float64{10, 10, 10, 10, 10, 10, 10, 10, 10, 40}, false},
		{[]float64{5}, false},
	} {
		if err := grows(c.peaks); (err != nil) != c.grows {
			t.Errorf("%v: %v", c.peaks, err)
		}
	}
}
