package main

import (
	"strings"
	"testing"
)

// What waited for data is said of those that measured it.
func TestTableSaysWait(t *testing.T) {
	lines := `{"system":"pipe bf16","phase":"ir18, batch 8","rows":8,"operations":80,"threads":2,"seconds":4,"peak_mib":100,"also":{"wait_seconds":0.5}}
{"system":"torch fp32","phase":"ir18, batch 8","rows":8,"operations":80,"threads":2,"seconds":8,"peak_mib":200,"also":{"loss":1}}
`
	var out strings.Builder
	if err := printTable(strings.NewReader(lines), &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| ir18, batch 8 | images/s | pipe's best is | of it waiting for data, % | peak MiB |",
		"| pipe bf16 | 20 | 1.00× | 12.5 | 100 |",
		"| torch fp32 | 10 | 2.00× |  | 200 |",
	} {
		if !strings.Contains(out.String(), want+"\n") {
			t.Errorf("no line %q in\n%s", want, out.String())
		}
	}
}
