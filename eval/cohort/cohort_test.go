package cohort_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"facepipe/eval/cohort"
	"facepipe/eval/faces"
	"facepipe/eval/protocol"
	"facepipe/eval/uncertainty"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/storetest"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]cohort.Spec{
		"yaw":               {Column: "yaw"},
		"age=18,30, 50":     {Column: "age", Edges: []float64{18, 30, 50}},
		"yaw=-10,10":        {Column: "yaw", Edges: []float64{-10, 10}},
		"norm=quantiles:3":  {Column: "norm", Quantiles: 3},
		"country=top:5":     {Column: "country", Top: 5},
		" skin type =1.5e1": {Column: "skin type", Edges: []float64{15}},
	} {
		got, err := cohort.Parse(text)
		if err != nil || got.Column != want.Column || !slices.Equal(got.Edges, want.Edges) || got.Quantiles != want.Quantiles || got.Top != want.Top {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "=1,2", "age=", "age=30,18", "age=18,18", "age=x", "age=NaN", "age=1,Inf", "age=quantiles:1", "age=quantiles:x", "age=top:21",
		"age=1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20"} {
		if s, err := cohort.Parse(text); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", text)) {
			t.Errorf("%q: %+v, %v", text, s, err)
		}
	}
}

// write makes a dataset of n faces, of which change says more.
func write(t *testing.T, n int, change func(i int, c *store.Crop)) *faces.Dataset {
	t.Helper()
	var crops []store.Crop
	for i := range n {
		pixels := make([]byte, storetest.Contract.CropSize*storetest.Contract.CropSize*3)
		rng := rand.New(rand.NewPCG(uint64(n), uint64(i)))
		for k := range pixels {
			pixels[k] = byte(rng.Uint32())
		}
		c := storetest.Raw(storetest.Contract, pixels, fmt.Sprintf("%04d.png", i), fmt.Sprintf("P%02d", i/2))
		change(i, &c)
		crops = append(crops, c)
	}
	dir := filepath.Join(t.TempDir(), "faces.ds")
	storetest.Write(t, dir, storetest.Contract, 16, store.SourceInfo{Kind: "folder", Path: "x", Detector: "none"}, crops)
	set := faces.Of(storetest.Open(t, dir))
	t.Cleanup(func() { set.Close() })
	return set
}

func attributes(t *testing.T, pairs ...string) string {
	t.Helper()
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// places are the first n.
func places(n int) (list []int) {
	for i := range n {
		list = append(list, i)
	}
	return list
}

func read(t *testing.T, set *faces.Dataset, text string, norms []float64) (*cohort.Groups, error) {
	t.Helper()
	s, err := cohort.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return cohort.Read(t.Context(), set, places(set.Len()), s, norms)
}

// Columns become groups by their kind, and by what is asked for.
func TestRead(t *testing.T) {
	const n = 100
	set := write(t, n, func(i int, c *store.Crop) {
		c.HasQuality, c.Quality = i > 0, store.Quality{Yaw: float32(i - 50), Sharpness: 7, FaceSize: float32(math.NaN())}
		c.Score = 0.5 + float32(i%2)/4
		list := []string{"Age", fmt.Sprint(i), "sex", []string{"F", "M"}[i%2], "code", fmt.Sprint(i % 4), "who", fmt.Sprintf("x%d", i), "yaw", "left", "mixed", "7"}
		if i%10 == 0 {
			list[3] = " "
		}
		if i == 3 {
			list[len(list)-1] = "unknown"
		}
		if i != 5 {
			c.Attributes = attributes(t, list...)
		}
	})
	norms := make([]float64, n)
	for i := range norms {
		norms[i] = float64(20 + i%3)
	}
	for _, c := range []struct {
		ask   string
		names []string
		sizes []int
		note  string
	}{
		{"sex", []string{"F", "M"}, []int{40, 49}, ""},
		{"SEX", []string{"F", "M"}, []int{40, 49}, ""},
		{"age=18,30,50", []string{"below 18", "18 to below 30", "30 to below 50", "50 or more"}, []int{17, 12, 20, 50}, ""},
		{"age", []string{"below 25", "25 to below 50", "50 to below 75", "75 or more"}, []int{24, 25, 25, 25}, ""},
		{"age=quantiles:2", []string{"below 50", "50 or more"}, []int{49, 50}, ""},
		{"code", []string{"0", "1", "2", "3"}, []int{25, 24, 25, 25}, "taken as they are"},
		{"code=1.5", []string{"below 1.5", "1.5 or more"}, []int{49, 50}, ""},
		{"measured.yaw=-10,10", []string{"below -10", "-10 to below 10", "10 or more"}, []int{39, 20, 40}, ""},
		{"attributes.yaw", []string{"left"}, []int{99}, ""},
		{"sharpness", []string{"all"}, []int{99}, "make 1 groups"},
		{"score", []string{"below 0.75", "0.75 or more"}, []int{50, 50}, "make 2 groups"},
		{"who=top:2", []string{"x0", "x1", "others"}, []int{1, 1, 97}, ""},
		{"norm=21", []string{"below 21", "21 or more"}, []int{34, 66}, ""},
		{"mixed", []string{"7", "unknown"}, []int{98, 1}, ""},
	} {
		g, err := read(t, set, c.ask, norms)
		if err != nil {
			t.Errorf("%s: %v", c.ask, err)
			continue
		}
		sizes := make([]int, len(g.Names))
		for _, of := range g.Of {
			if of >= 0 {
				sizes[of]++
			}
		}
		known := 0
		for _, size := range sizes {
			known += size
		}
		if !slices.Equal(g.Names, c.names) || !slices.Equal(sizes, c.sizes) || !strings.Contains(strings.Join(g.Notes, ";"), c.note) || g.Unknown() != n-known {
			t.Errorf("%s: %q with %v faces, %d unknown, notes %q; want %q with %v", c.ask, g.Names, sizes, g.Unknown(), g.Notes, c.names, c.sizes)
		}
		if len(g.Of) != n || len(g.Low) != len(g.Names) || len(g.High) != len(g.Names) {
			t.Errorf("%s: %+v", c.ask, g)
		}
	}
	for ask, want := range map[string]string{
		"yaw":             "write attributes.yaw or measured.yaw",
		"who":             "has 99 values, of which a table takes 20: who=top:5",
		"sexx":            "the attributes are Age, code, mixed, sex, who, yaw, the measures are face_size, norm, pitch, roll, score, sharpness, yaw; did you mean sex?",
		"hair colour":     "there is no such column",
		"face_size":       "says nothing of the faces",
		"sex=1,2":         "not of numbers alone",
		"mixed=5":         `not of numbers alone ("unknown")`,
		"sharpness=top:2": "is a measure",
	} {
		if g, err := read(t, set, ask, norms); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v, want %q", ask, g, err, want)
		}
	}
	if _, err := read(t, set, "norm", nil); err == nil || !strings.Contains(err.Error(), "needs a teacher's cache") {
		t.Errorf("norm without norms: %v", err)
	}
	if _, err := read(t, set, "norm", norms[:3]); err == nil {
		t.Error("norms of other faces are taken")
	}
}

// Columns that are alike are told apart by their own names alone.
func TestReadAlike(t *testing.T) {
	set := write(t, 4, func(i int, c *store.Crop) {
		c.Attributes = attributes(t, "Skin Type", "1", "skin_type", fmt.Sprint("b", i))
	})
	if g, err := read(t, set, "skin_type", nil); err != nil || len(g.Names) != 4 {
		t.Errorf("%+v, %v", g, err)
	}
	if _, err := read(t, set, "skintype", nil); err == nil || !strings.Contains(err.Error(), "Skin Type, skin_type are alike") {
		t.Errorf("%v", err)
	}
	if _, err := read(t, write(t, 2, func(int, *store.Crop) {}), "age", nil); err == nil || !strings.Contains(err.Error(), "no attributes") {
		t.Errorf("%v", err)
	}
}

// Others have no name of a value's.
func TestOthers(t *testing.T) {
	set := write(t, 9, func(i int, c *store.Crop) {
		c.Attributes = attributes(t, "x", []string{"a", "a", "a", "others", "others", "b", "c", "d", "e"}[i])
	})
	g, err := read(t, set, "x=top:2", nil)
	if err != nil || !slices.Equal(g.Names, []string{"a", "others", "(others)"}) || !slices.Equal(g.Of, []int32{0, 0, 0, 1, 1, 2, 2, 2, 2}) {
		t.Errorf("%+v, %v", g, err)
	}
}

func TestNorms(t *testing.T) {
	set := write(t, 40, func(int, *store.Crop) {})
	ds := set.Dataset()
	storetest.Embed(t, ds, storetest.Info(cache.FP32, false), -1, storetest.SpoilSome)
	norms, err := cohort.Norms(ds, "r50", []int{39, 3, 0})
	if err != nil || len(norms) != 3 || !(norms[0] > 1) || !math.IsNaN(norms[1]) || !(norms[2] > 1) {
		t.Errorf("%v, %v", norms, err)
	}
	if _, err := cohort.Norms(ds, "r51", []int{0}); err == nil {
		t.Error("a cache that is not there is read")
	}
}

// world are random trials of people in groups.
func world(rng *rand.Rand, templates, n, groups int) (*cohort.Groups, cohort.Trials) {
	g := &cohort.Groups{Column: "x", Cut: "values"}
	for i := range groups {
		g.Names, g.Low, g.High = append(g.Names, fmt.Sprint(i)), append(g.Low, math.NaN()), append(g.High, math.NaN())
	}
	t := cohort.Trials{}
	for i := range templates {
		t.Identities = append(t.Identities, int32(i/2))
		g.Of = append(g.Of, int32(rng.IntN(groups+1)-1))
	}
	var list []protocol.Comparison
	for range n {
		a, b := rng.IntN(templates), rng.IntN(templates)
		list = append(list, protocol.Comparison{First: int32(a), Second: int32(b), Same: a/2 == b/2})
		t.Distances = append(t.Distances, 4*rng.Float64())
	}
	t.Comparisons = slices.Values(list)
	return g, t
}

// The rates are what counting by hand gives, of every two groups.
func TestMeasure(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	for _, groups := range []int{1, 2, 5} {
		g, trials := world(rng, 60, 4000, groups)
		table, err := cohort.Measure(g, trials, cohort.At{Threshold: 1.3, TargetFMR: 0.1})
		if err != nil {
			t.Fatal(err)
		}
		type key struct {
			a, b int32
			same bool
		}
		errors, of := map[key]int{}, map[key]int{}
		left, i := 0, 0
		for c := range trials.Comparisons {
			d := trials.Distances[i]
			i++
			a, b := g.Of[c.First], g.Of[c.Second]
			if a < 0 || b < 0 {
				left++
				continue
			}
			for _, k := range slices.Compact([]key{{a, b, c.Same}, {b, a, c.Same}}) {
				of[k]++
				if (d < 1.3) != c.Same {
					errors[k]++
				}
			}
		}
		if table.Left != left || table.Unknown != g.Unknown() {
			t.Errorf("%d comparisons are left and %d faces unknown, want %d and %d", table.Left, table.Unknown, left, g.Unknown())
		}
		check := func(what string, r *uncertainty.Rate, k key) {
			t.Helper()
			if (r == nil) != (of[k] == 0) || r != nil && (r.Errors != errors[k] || r.Of != of[k]) {
				t.Errorf("%s of %d and %d: %+v, want %d of %d", what, k.a, k.b, r, errors[k], of[k])
			}
		}
		for a := range int32(groups) {
			for b := range int32(groups) {
				check("FMR", table.Matrix[a][b].FMR, key{a, b, false})
				check("FNMR", table.Matrix[a][b].FNMR, key{a, b, true})
			}
			check("FMR", table.Groups[a].FMR, key{a, a, false})
			if table.Groups[a].Name != fmt.Sprint(a) || table.Groups[a].Small != (table.Groups[a].Identities < 30) {
				t.Errorf("group %+v", table.Groups[a])
			}
		}
		if table.All.FMR.Of+table.All.FNMR.Of != 4000 {
			t.Errorf("all are %+v", table.All)
		}
		if _, err := json.Marshal(table); err != nil {
			t.Error(err)
		}
	}
}

// Groups are small for want of people, or of comparisons for the rate; two that are not have a
// summary, which counting gives.
func TestSmallAndSummary(t *testing.T) {
	g := &cohort.Groups{Column: "x", Names: []string{"a", "b", "few"}, Low: []float64{math.NaN(), 1, 2}, High: []float64{1, 2, math.NaN()}}
	var list []protocol.Comparison
	trials := cohort.Trials{}
	add := func(a, b int, same bool, d float64) {
		list = append(list, protocol.Comparison{First: int32(a), Second: int32(b), Same: same})
		trials.Distances = append(trials.Distances, d)
	}
	for i := range 3 {
		people := []int{100, 100, 10}[i]
		first := len(g.Of)
		for k := range 2 * people {
			g.Of, trials.Identities = append(g.Of, int32(i)), append(trials.Identities, int32(1000*i+k/2))
		}
		for k := range people {
			d := 0.5
			if k < []int{10, 0, 5}[i] {
				d = 2
			}
			add(first+2*k, first+2*k+1, true, d)
			for far := 1; far <= 4; far++ {
				d = 2
				if far == 1 && k < []int{8, 2, 5}[i] {
					d = 0.5
				}
				add(first+2*k, first+2*((k+far)%people), false, d)
			}
		}
	}
	trials.Comparisons = slices.Values(list)
	table, err := cohort.Measure(g, trials, cohort.At{Threshold: 1, TargetFMR: 1.0 / 400})
	if err != nil {
		t.Fatal(err)
	}
	if a, b, few := table.Groups[0], table.Groups[1], table.Groups[2]; a.Small || b.Small || !few.Small || !strings.Contains(few.SmallBecause, "10 people") ||
		a.FMR.Value != 0.02 || b.FMR.Value != 0.005 || a.FNMR.Value != 0.1 || b.FNMR.Value != 0 || *b.Low != 1 || *b.High != 2 || a.Low != nil {
		t.Errorf("%+v\n%+v\n%+v", a, b, few)
	}
	s := table.Summary
	near := func(got, want float64) bool { return math.Abs(got-want) < 1e-12 }
	if s == nil || s.Groups != 2 || !near(*s.FDR, 1-(0.015+0.1)/2) || !near(*s.GARBE, (0.6+1)/2) || !near(*s.FMRRatio, 4) || s.FMRBounded || !s.FNMRBounded ||
		!near(*s.FNMRRatio, 0.1/table.Groups[1].FNMR.Interval.High) {
		t.Errorf("%+v, ratios %v and %v, %+v", s, *s.FMRRatio, *s.FNMRRatio, table.Groups[1].FNMR.Interval)
	}
	strict, err := cohort.Measure(g, trials, cohort.At{Threshold: 1, TargetFMR: 1e-3})
	if err != nil || !strict.Groups[0].Small || strict.Summary != nil || !strings.Contains(strict.Groups[0].SmallBecause, "at least 1000") {
		t.Errorf("%+v, %v", strict.Groups[0], err)
	}
	// Without a target the rate of all is the one at hand.
	if free, err := cohort.Measure(g, trials, cohort.At{Threshold: 1}); err != nil || free.Groups[0].Small {
		t.Errorf("%+v, %v", free.Groups[0], err)
	}
	trials.Distances = trials.Distances[1:]
	if _, err := cohort.Measure(g, trials, cohort.At{Threshold: 1}); err == nil {
		t.Error("fewer distances than comparisons are taken")
	}
	trials.Distances = append(trials.Distances, 1, 1)
	if _, err := cohort.Measure(g, trials, cohort.At{Threshold: 1}); err == nil {
		t.Error("more distances than comparisons are taken")
	}
	g.Of = g.Of[1:]
	if _, err := cohort.Measure(g, trials, cohort.At{Threshold: 1}); err == nil {
		t.Error("groups of other faces are taken")
	}
}
