package recordio

import (
	"io"
	"math"
	"reflect"
	"strings"
	"testing"

	"facepipe/internal/alloctest"
)

func readList(text string) (entries []ListEntry, err error) {
	l := NewListReader(strings.NewReader(text))
	for {
		e, err := l.Next()
		if err == io.EOF {
			return entries, nil
		}
		if err != nil {
			return entries, err
		}
		entries = append(entries, e)
	}
}

func TestListReader(t *testing.T) {
	corners := &[4]float64{10, 20, 90, 110}
	landmarks := &[5][2]float64{{1, 6}, {2, 7}, {3, 8}, {4, 9}, {5, 10}}
	const face = "\t10\t20\t90\t110\t1\t2\t3\t4\t5\t6\t7\t8\t9\t10"
	tests := []struct {
		name, text string
		want       []ListEntry
	}{
		{"im2rec", "5\t0.000000\tann/1.jpg\n0\t1\tbob/a b.jpg\n",
			[]ListEntry{{Key: 5, Path: "ann/1.jpg"}, {Key: 0, Label: 1, Path: "bob/a b.jpg"}}},
		{"im2rec with a vector", "7\t2\t4\t0.5\tx.jpg\r\n", []ListEntry{{Key: 7, Label: 2, Path: "x.jpg"}}},
		{"insightface, aligned", "\ufeff1\tann/1.jpg\t0\n\n1\tbob/1.jpg\t1",
			[]ListEntry{{Key: 1, Path: "ann/1.jpg", Aligned: true}, {Key: 2, Path: "bob/1.jpg", Label: 1, Aligned: true}}},
		{"insightface, landmarks and one line that it passes over",
			"0\tann/1.jpg\t0" + face + "\n0\tann/2.jpg\t0\n0\tann/3.jpg\t0\t10\t20\t90\t110\n0\tbob/1.jpg\t3" + face + "\n",
			[]ListEntry{
				{Key: 1, Path: "ann/1.jpg", Corners: corners, Landmarks: landmarks},
				{Key: 2, Path: "bob/1.jpg", Label: 3, Corners: corners, Landmarks: landmarks},
			}},
		{"insightface, a box only", "1\tann/1.jpg\t0\t10\t20\t90\t110\n", []ListEntry{{Key: 1, Path: "ann/1.jpg", Aligned: true, Corners: corners}}},
		{"nothing", "\n\r\n", nil},
	}
	for _, tt := range tests {
		if got, err := readList(tt.text); err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, %v\nwant %+v", tt.name, got, err, tt.want)
		}
	}
}

func TestListReaderRefusals(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"two fields", "1\t2\n", "line 1: 2 fields"},
		{"index", "0\t1\ta\n-1\t1\tb\n", `line 2: index "-1"`},
		{"index beyond all keys", "18446744073709551615\t1\tb\n", "index"},
		{"label", "0\t1\ta\n1\tx\tb\n", `line 2: label "x"`},
		{"label not finite", "0\t1\tnan\ta\n", `label "nan"`},
		{"aligned", "2\ta.jpg\t0\n", `"2" is neither 0 nor 1`},
		{"insightface's label", "1\ta.jpg\tx\n", `"x" is not a number`},
		{"landmarks missing", "1\ta.jpg\t0\t1\t2\t3\t4\t5\n", "8 fields"},
		{"landmark not finite", "0\ta.jpg\t0" + strings.Repeat("\t1", 13) + "\tInf\n", `"Inf" is not a number`},
		{"the other dialect further down", "1\ta.jpg\t0\n1\t0\ta.jpg\n", `line 2: "a.jpg" is not a number`},
		{"long line", strings.Repeat("x", maxListLine+1), "line 1: longer than"},
		{"binary", "\x00\x01\x02\n", "line 1: 1 fields"},
	}
	for _, tt := range tests {
		if got, err := readList(tt.text); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %+v, error %v, want %q", tt.name, got, err, tt.want)
		}
	}
}

func FuzzListReader(f *testing.F) {
	f.Add("5\t0.000000\tann/1.jpg\n0\t1\tbob/a b.jpg\n")
	f.Add("1\tann/1.jpg\t0\n0\tann/1.jpg\t0\t10\t20\t90\t110\t1\t2\t3\t4\t5\t6\t7\t8\t9\t10")
	f.Fuzz(func(t *testing.T, text string) {
		alloctest.AtMost(t, 512*len(text)+1<<20, func() { _, _ = readList(text) })
		entries, _ := readList(text)
		for _, e := range entries {
			sum := e.Label
			if e.Landmarks != nil {
				sum += e.Landmarks[0][0] + e.Landmarks[4][1]
			}
			if math.IsNaN(sum-sum) && !math.IsInf(sum, 0) || e.Key == counted || !e.Aligned && e.Corners != nil && e.Landmarks == nil {
				t.Fatalf("%q gave %+v", text, e)
			}
		}
	})
}
