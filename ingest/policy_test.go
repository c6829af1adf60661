package ingest

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"facepipe/ingest/align"
	"facepipe/ingest/detect"
	"facepipe/ingest/source"
	"facepipe/internal/imgcodec"
	"facepipe/store"
)

// No photograph's key is that of a further face, and no two photographs become one.
func TestPhotoKey(t *testing.T) {
	for key, want := range map[string]string{
		"a.jpg": "a.jpg", "a.jpg#": "a.jpg##", "a.jpg#1": "a.jpg##1", "a#b.jpg": "a#b.jpg", "##12": "####12", "7": "7", "": "",
	} {
		if got := photoKey(key); got != want {
			t.Errorf("%q becomes %q, want %q", key, got, want)
		}
	}
	keys := map[string]string{}
	take := func(key, of string) {
		if other, taken := keys[key]; taken {
			t.Fatalf("%q is the key of %s and of %s", key, other, of)
		}
		keys[key] = of
	}
	var every func(prefix string, n int)
	every = func(prefix string, n int) {
		take(photoKey(prefix), fmt.Sprintf("photograph %q", prefix))
		for face := 1; face <= 12; face++ {
			take(furtherKey(photoKey(prefix), face), fmt.Sprintf("face %d of %q", face, prefix))
		}
		for _, c := range "a#1" {
			if n > 0 {
				every(prefix+string(c), n-1)
			}
		}
	}
	every("x", 6)
	long := strings.Repeat("k", store.MaxKeyBytes)
	if a, b := furtherKey(long, 1), furtherKey(long, 2); a == b || store.ValidKey(a) != nil || store.ValidKey(b) != nil {
		t.Errorf("further faces of a long key: %q and %q", a, b)
	}
}

func TestParseSplit(t *testing.T) {
	for _, bad := range []string{"train", "train=", "train=x", "train=0.5", "train=0.9,val=0.2", "=1", "a b=1", "a=0.5,a=0.5", "a=-1,b=2", "a=NaN", "a=0,b=1", "a=1,"} {
		if _, err := parseSplit(bad, 0); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	for _, good := range []string{"train=1", "train=0.9,val=0.1", "a=0.1, b=0.2, c=0.7", "a=0.3333333,b=0.3333333,c=0.3333334"} {
		p, err := parseSplit(good, 0)
		if err != nil {
			t.Errorf("%q: %v", good, err)
			continue
		}
		for i := range 1000 {
			p.of(fmt.Sprint(i)) // finds a split for every name
		}
	}
	if p, err := parseSplit("", 7); p != nil || err != nil {
		t.Errorf("no split is %v, %v", p, err)
	}
}

// Shares are kept, a seed gives another split, and what a name gets is pinned: a dataset
// is appended to over years.
func TestSplitter(t *testing.T) {
	one, err := parseSplit("train=0.8,val=0.15,test=0.05", 0)
	if err != nil {
		t.Fatal(err)
	}
	two, err := parseSplit("train=0.8,val=0.15,test=0.05", 1)
	if err != nil {
		t.Fatal(err)
	}
	const names = 20_000
	counts, moved := map[string]int{}, 0
	for i := range names {
		name := fmt.Sprintf("person_%d", i)
		counts[one.of(name)]++
		if one.of(name) != two.of(name) {
			moved++
		}
	}
	for i, share := range []float64{0.8, 0.15, 0.05} {
		// Five standard deviations of a binomial distribution.
		if got := float64(counts[one.names[i]]) / names; math.Abs(got-share) > 5*math.Sqrt(share*(1-share)/names) {
			t.Errorf("%s has a share of %.4f, want %.2f", one.names[i], got, share)
		}
	}
	if moved < names/4 {
		t.Errorf("another seed moves %d of %d names", moved, names)
	}
	got := ""
	for i := range 40 {
		got += one.of(fmt.Sprintf("person_%d", i))[:2]
	}
	if want := "trtrtrtrtrtrtrtrtrtrtrtrvatrtrvatrtrtrtrtrtrtrtrvatrtrtrtrtrtrtrtrtrtrvatrtrvatr"; got != want {
		t.Errorf("the split is %q, want %q", got, want)
	}
}

func TestAttributesJSON(t *testing.T) {
	for want, list := range map[string][]source.Attribute{
		"":                            nil,
		`{"b":"1","a":"<x> & \"y\""}`: {{Name: "b", Value: "1"}, {Name: "a", Value: `<x> & "y"`}},
		`{"ä\n":""}`:                  {{Name: "ä\n", Value: ""}},
	} {
		if got := attributesJSON(list); got != want {
			t.Errorf("%v is %s, want %s", list, got, want)
		}
	}
}

func TestGate(t *testing.T) {
	nan := float32(math.NaN())
	good := store.Quality{FaceSize: 100, Sharpness: 50, Yaw: -10, Pitch: 5, Roll: 20}
	aligned := store.Quality{FaceSize: nan, Sharpness: 50, Yaw: nan, Pitch: nan, Roll: nan}
	for _, tt := range []struct {
		gate Gate
		q    store.Quality
		want string // "" passes
	}{
		{Gate{}, store.Quality{Yaw: 90}, ""},
		{Gate{MinFace: 100, MinSharpness: 50, MaxYaw: 10, MaxPitch: 5, MaxRoll: 20}, good, ""},
		{Gate{MinFace: 101, MinSharpness: 51}, good, "quality: face too small: 100.00 pixels, want at least 101"},
		{Gate{MinSharpness: 50.5}, good, "quality: face too blurred: 50.00, want at least 50.5"},
		{Gate{MaxYaw: 9.5}, good, "quality: face turned too far: -10.00 degrees, want at most 9.5"},
		{Gate{MaxPitch: 4}, good, "quality: face looks too far up or down: 5.00 degrees, want at most 4"},
		{Gate{MaxRoll: 19}, good, "quality: head leans too far: 20.00 degrees, want at most 19"},
		{Gate{MinFace: 500, MaxYaw: 1, MaxPitch: 1, MaxRoll: 1}, aligned, ""},
		{Gate{MinSharpness: 60}, aligned, "quality: face too blurred: 50.00, want at least 60"},
	} {
		got := ""
		if err := tt.gate.judge(tt.q); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%+v says %q of %+v, want %q", tt.gate, got, tt.q, tt.want)
		}
	}
	for _, bad := range []Gate{{MinFace: -1}, {MinSharpness: math.NaN()}, {MaxYaw: 181}, {MaxRoll: math.Inf(1)}} {
		if bad.validate() == nil {
			t.Errorf("%+v is valid", bad)
		}
	}
	if got, want := (Gate{MinFace: 40, MaxYaw: 30.5}).describe(), "min-face 40, max-yaw 30.5"; got != want {
		t.Errorf("described as %q, want %q", got, want)
	}
}

// slowSharpness is the definition, in floating point.
func slowSharpness(img *imgcodec.Image) float64 {
	luma := func(x, y int) float64 {
		p := img.Pix[3*(y*img.W+x):]
		return 0.299*float64(p[0]) + 0.587*float64(p[1]) + 0.114*float64(p[2])
	}
	var values []float64
	mean := 0.0
	for y := 1; y < img.H-1; y++ {
		for x := 1; x < img.W-1; x++ {
			l := luma(x-1, y) + luma(x+1, y) + luma(x, y-1) + luma(x, y+1) - 4*luma(x, y)
			values = append(values, l)
			mean += l
		}
	}
	mean /= float64(len(values))
	variance := 0.0
	for _, v := range values {
		variance += (v - mean) * (v - mean) / float64(len(values))
	}
	return variance
}

func TestSharpness(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 20 {
		img := imgcodec.NewImage(3+rng.IntN(110), 3+rng.IntN(110))
		span := 1 + rng.IntN(256)
		for i := range img.Pix {
			img.Pix[i] = byte(rng.IntN(span))
		}
		if got, want := sharpness(img), slowSharpness(img); math.Abs(got-want) > 1e-9*(1+want) {
			t.Errorf("%dx%d: %v, want %v", img.W, img.H, got, want)
		}
	}
	flat := imgcodec.NewImage(112, 112)
	for i := range flat.Pix {
		flat.Pix[i] = 200
	}
	if got := sharpness(flat); got != 0 {
		t.Errorf("a flat image has a sharpness of %v", got)
	}
	checks := imgcodec.NewImage(112, 112) // the sharpest there is: black and white in turn
	for i := range checks.Pix {
		checks.Pix[i] = byte(255 * ((i/3%112 + i/3/112) % 2))
	}
	if got, want := sharpness(checks), 1020.0*1020; math.Abs(got-want) > 1 {
		t.Errorf("a chess board has a sharpness of %v, want %v", got, want)
	}
	if got := sharpness(imgcodec.NewImage(2, 5)); got != 0 {
		t.Errorf("without inner pixels: %v", got)
	}
}

// A face that is twice as large as the template, and leans, is measured so.
func TestMeasure(t *testing.T) {
	face := align.Template(112)
	m := align.Similarity{A: 2 * math.Cos(0.5), B: 2 * math.Sin(0.5), Tx: 300, Ty: 40}
	for i, p := range face {
		face[i] = m.Apply(p)
	}
	q := measure(imgcodec.NewImage(112, 112), &face)
	lean := math.Round(100*0.5*180/math.Pi) / 100
	if q.FaceSize != 224 || math.Abs(float64(q.Roll)-lean) > 0.5 || math.Abs(float64(q.Yaw)) > 0.5 || math.Abs(float64(q.Pitch)) > 0.5 || q.Sharpness != 0 {
		t.Errorf("measured %+v", q)
	}
	q = measure(imgcodec.NewImage(112, 112), nil)
	if q.FaceSize == q.FaceSize || q.Yaw == q.Yaw || q.Pitch == q.Pitch || q.Roll == q.Roll || q.Sharpness != 0 {
		t.Errorf("without landmarks %+v", q)
	}
}

func BenchmarkMeasure(b *testing.B) {
	img, face := imgcodec.NewImage(112, 112), align.Template(112)
	for b.Loop() {
		measure(img, &face)
	}
}

// Whatever the policy, a photograph's box chooses one face.
func TestChoose(t *testing.T) {
	face := func(x float64) detect.Face { return detect.Face{X1: x, X2: x + 40, Y1: 0, Y2: 40, Score: 0.9} }
	small := detect.Face{X1: 180, X2: 190, Y1: 180, Y2: 190, Score: 0.9}
	three := []detect.Face{small, face(60), face(120)}
	right := &source.Box{X: 118, Y: 2, W: 44, H: 40}
	for _, c := range []struct {
		policy string
		faces  []detect.Face
		box    *source.Box
		want   []detect.Face
		fails  error
	}{
		{FacesLargest, three, nil, []detect.Face{face(60)}, nil},
		{FacesAll, three, nil, []detect.Face{small, face(120), face(60)}, nil},
		{FacesOne, three, nil, nil, errFaceCount},
		{FacesOne, three[:1], nil, three[:1], nil},
		{FacesLargest, three, right, []detect.Face{face(120)}, nil},
		{FacesAll, three, right, []detect.Face{face(120)}, nil},
		{FacesOne, three, right, []detect.Face{face(120)}, nil},
		{FacesAll, three[:2], right, nil, errNoMatch},
		{FacesAll, nil, nil, nil, errNoFace},
	} {
		got, err := choose(c.policy, c.faces, c.box, 200, 200)
		if !slices.Equal(got, c.want) || !errors.Is(err, c.fails) {
			t.Errorf("%s of %d faces, box %v: %v, %v", c.policy, len(c.faces), c.box, got, err)
		}
	}
}

// What stands for a key that cannot be recorded can, and is no other one's.
func TestSubstitute(t *testing.T) {
	seen := map[string]bool{}
	for _, key := range []string{
		"", "a\x00b", "ab", "a\xffb", "\x00", strings.Repeat("é", store.MaxKeyBytes), strings.Repeat("é", store.MaxKeyBytes) + "1",
		"p" + strings.Repeat("é", store.MaxKeyBytes),
	} {
		got := substitute(key)
		if err := store.ValidKey(got); err != nil || seen[got] || len(got) > 600 {
			t.Errorf("%.20q becomes %q: %v", key, got, err)
		}
		seen[got] = true
	}
}
