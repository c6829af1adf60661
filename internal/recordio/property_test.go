package recordio

import (
	"strings"
	"testing"

	"facepipe/internal/alloctest"
)

func TestParseProperty(t *testing.T) {
	tests := []struct {
		text string
		want Property
	}{
		{"85742,112,112", Property{Classes: 85742, Height: 112, Width: 112}},
		{"10572,112,96\n", Property{Classes: 10572, Height: 112, Width: 96}},
		{" 360232, 112, 112 \r\n17091657\r\n", Property{Classes: 360232, Height: 112, Width: 112, Images: 17091657}},
	}
	for _, tt := range tests {
		if got, err := ParseProperty([]byte(tt.text)); err != nil || got != tt.want {
			t.Errorf("%q: %+v, %v", tt.text, got, err)
		}
	}
	if got := (Property{Classes: 5, Height: 112, Width: 96, Images: 7}).String(); got != "5,112,96\n" {
		t.Errorf("written %q", got)
	}
	for _, text := range []string{"", "1,2", "1,2,3,4", "a,112,112", "-1,112,112", "1,0,112", "1,112,0", "1,112,70000", "1,112,112\nmany", "1,112,", strings.Repeat("1", 5000)} {
		if got, err := ParseProperty([]byte(text)); err == nil {
			t.Errorf("%.20q was accepted: %+v", text, got)
		}
	}
}

func FuzzProperty(f *testing.F) {
	f.Add("85742,112,112\n5822653")
	f.Add("1,2,3")
	f.Fuzz(func(t *testing.T, text string) {
		alloctest.AtMost(t, 64*len(text)+1<<16, func() { _, _ = ParseProperty([]byte(text)) })
		p, err := ParseProperty([]byte(text))
		if err != nil {
			return
		}
		again, err := ParseProperty([]byte(p.String()))
		p.Images = 0
		if err != nil || again != p {
			t.Fatalf("%q: %+v, then %+v, %v", text, p, again, err)
		}
	})
}
