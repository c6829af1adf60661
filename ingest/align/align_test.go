package align

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"facepipe/internal/imgcodec"
)

// randomFace scatters the template's points and moves them through s.
func randomFace(rng *rand.Rand, s Similarity, noise float64) Landmarks {
	face := Template(CropSize)
	for i := range face {
		face[i].X += noise * rng.NormFloat64()
		face[i].Y += noise * rng.NormFloat64()
		face[i] = s.Apply(face[i])
	}
	return face
}

func randomSimilarity(rng *rand.Rand) Similarity {
	scale := math.Exp(4*rng.Float64() - 2)
	angle := 2 * math.Pi * rng.Float64()
	return Similarity{
		A: scale * math.Cos(angle), B: scale * math.Sin(angle),
		Tx: 400 * rng.NormFloat64(), Ty: 400 * rng.NormFloat64(),
	}
}

func residual(s Similarity, src, dst Landmarks) float64 {
	var sum float64
	for i := range src {
		p := s.Apply(src[i])
		sum += (p.X-dst[i].X)*(p.X-dst[i].X) + (p.Y-dst[i].Y)*(p.Y-dst[i].Y)
	}
	return sum
}

// leastSquares solves the same problem by its normal equations, with the four
// parameters as unknowns.
func leastSquares(src, dst Landmarks) Similarity {
	var m [4][5]float64
	add := func(row [4]float64, rhs float64) {
		for i := range 4 {
			for j := range 4 {
				m[i][j] += row[i] * row[j]
			}
			m[i][4] += row[i] * rhs
		}
	}
	for i := range src {
		add([4]float64{src[i].X, -src[i].Y, 1, 0}, dst[i].X)
		add([4]float64{src[i].Y, src[i].X, 0, 1}, dst[i].Y)
	}
	for col := range 4 {
		pivot := col
		for r := col; r < 4; r++ {
			if math.Abs(m[r][col]) > math.Abs(m[pivot][col]) {
				pivot = r
			}
		}
		m[col], m[pivot] = m[pivot], m[col]
		for r := range 4 {
			if r == col {
				continue
			}
			f := m[r][col] / m[col][col]
			for c := col; c < 5; c++ {
				m[r][c] -= f * m[col][c]
			}
		}
	}
	return Similarity{A: m[0][4] / m[0][0], B: m[1][4] / m[1][1], Tx: m[2][4] / m[2][2], Ty: m[3][4] / m[3][3]}
}

func close4(a, b Similarity, tolerance float64) bool {
	return math.Abs(a.A-b.A) < tolerance && math.Abs(a.B-b.B) < tolerance &&
		math.Abs(a.Tx-b.Tx) < tolerance*500 && math.Abs(a.Ty-b.Ty) < tolerance*500
}

func TestEstimateRecoversKnownTransforms(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		want := randomSimilarity(rng)
		src := Template(CropSize)
		got, err := Estimate(src, randomFace(rng, want, 0))
		if err != nil {
			t.Fatal(err)
		}
		if !close4(got, want, 1e-9) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	}
}

func TestEstimateIsTheLeastSquaresOptimum(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	template := Template(CropSize)
	for range 300 {
		src := randomFace(rng, randomSimilarity(rng), 5)
		got, err := Estimate(src, template)
		if err != nil {
			t.Fatal(err)
		}
		if want := leastSquares(src, template); !close4(got, want, 1e-7) {
			t.Fatalf("got %+v, normal equations give %+v", got, want)
		}
		best := residual(got, src, template)
		for range 20 {
			other := got
			other.A += 1e-3 * rng.NormFloat64()
			other.B += 1e-3 * rng.NormFloat64()
			other.Tx += 0.1 * rng.NormFloat64()
			other.Ty += 0.1 * rng.NormFloat64()
			if residual(other, src, template) < best {
				t.Fatalf("%+v fits better than %+v", other, got)
			}
		}
	}
}

// The values come from an independent implementation.
func TestEstimateReference(t *testing.T) {
	face := Landmarks{{46.060, 62.026}, {87.785, 60.323}, {68.851, 77.656}, {52.162, 99.875}, {86.450, 98.648}}
	got, err := Estimate(face, Template(CropSize))
	if err != nil {
		t.Fatal(err)
	}
	want := Similarity{A: 0.953372, B: 0.044244, Tx: -5.526061, Ty: -7.108425}
	if math.Abs(got.A-want.A) > 1e-6 || math.Abs(got.B-want.B) > 1e-6 ||
		math.Abs(got.Tx-want.Tx) > 1e-5 || math.Abs(got.Ty-want.Ty) > 1e-5 {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestInverse(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		s := randomSimilarity(rng)
		p := Point{100 * rng.NormFloat64(), 100 * rng.NormFloat64()}
		if q := s.Inverse().Apply(s.Apply(p)); math.Hypot(p.X-q.X, p.Y-q.Y) > 1e-8 {
			t.Fatalf("%+v does not undo itself: %v became %v", s, p, q)
		}
		if inv := s.Inverse().Scale() * s.Scale(); math.Abs(inv-1) > 1e-9 {
			t.Fatalf("scale of the inverse is off by %g", inv)
		}
	}
}

func TestEstimateRefusesDegenerateLandmarks(t *testing.T) {
	mirrored := Template(CropSize)
	for i := range mirrored {
		mirrored[i].X = CropSize - mirrored[i].X
	}
	tests := map[string]Landmarks{
		"one point":              {{50, 50}, {50, 50}, {50, 50}, {50, 50}, {50, 50}},
		"all zero":               {},
		"half a pixel":           {{50, 50}, {50.5, 50}, {50.2, 50.3}, {50.1, 50.5}, {50.4, 50.5}},
		"not a number":           {{50, 50}, {70, math.NaN()}, {60, 60}, {52, 70}, {68, 70}},
		"infinite":               {{50, 50}, {70, 50}, {math.Inf(1), 60}, {52, 70}, {68, 70}},
		"overflowing":            {{1e300, 50}, {-1e300, 50}, {60, 60}, {52, 70}, {68, 70}},
		"left and right swapped": mirrored,
	}
	for name, face := range tests {
		if s, err := Estimate(face, Template(CropSize)); !errors.Is(err, ErrDegenerate) {
			t.Errorf("%s: got %+v, %v; want ErrDegenerate", name, s, err)
		}
	}
}

func TestTemplateScales(t *testing.T) {
	small, large := Template(112), Template(224)
	for i := range small {
		if large[i].X != 2*small[i].X || large[i].Y != 2*small[i].Y {
			t.Fatalf("point %d: %v and %v", i, small[i], large[i])
		}
	}
}

// noise is an image of random pixels.
func noise(rng *rand.Rand, w, h int) *imgcodec.Image {
	img := imgcodec.NewImage(w, h)
	for i := range img.Pix {
		img.Pix[i] = byte(rng.Uint32())
	}
	return img
}

func at(img *imgcodec.Image, x, y int) []byte { return img.Pix[3*(y*img.W+x):][:3] }

func TestWarpByWholePixels(t *testing.T) {
	src := noise(rand.New(rand.NewPCG(7, 8)), 30, 20)
	tests := map[string]struct {
		m    Similarity
		from func(u, v int) (x, y int)
	}{
		"identity":     {Similarity{A: 1}, func(u, v int) (int, int) { return u, v }},
		"shift":        {Similarity{A: 1, Tx: 3, Ty: -4}, func(u, v int) (int, int) { return u - 3, v + 4 }},
		"quarter turn": {Similarity{B: 1, Tx: 19}, func(u, v int) (int, int) { return v, 19 - u }},
		"half size":    {Similarity{A: 0.5}, func(u, v int) (int, int) { return 2 * u, 2 * v }},
	}
	for name, tt := range tests {
		dst := imgcodec.NewImage(32, 32)
		Warp(dst, src, tt.m)
		for v := range dst.H {
			for u := range dst.W {
				want := []byte{0, 0, 0}
				if x, y := tt.from(u, v); x >= 0 && y >= 0 && x < src.W && y < src.H {
					want = at(src, x, y)
				}
				if !bytes.Equal(at(dst, u, v), want) {
					t.Fatalf("%s: pixel (%d,%d) = %v, want %v", name, u, v, at(dst, u, v), want)
				}
			}
		}
	}
}

// Bilinear interpolation reproduces a linear ramp exactly, wherever it samples.
func TestWarpReproducesRamps(t *testing.T) {
	src := imgcodec.NewImage(101, 101)
	for y := range src.H {
		for x := range src.W {
			p := at(src, x, y)
			p[0], p[1], p[2] = byte(2*x), byte(2*y), byte(x+y)
		}
	}
	rng := rand.New(rand.NewPCG(9, 10))
	dst := imgcodec.NewImage(40, 40)
	for range 50 {
		s := randomSimilarity(rng)
		centre := s.Apply(Point{50, 50})
		s.Tx += 20 - centre.X
		s.Ty += 20 - centre.Y
		Warp(dst, src, s)
		inv := s.Inverse()
		for v := range dst.H {
			for u := range dst.W {
				p := inv.Apply(Point{float64(u), float64(v)})
				if p.X < 0 || p.Y < 0 || p.X > 100 || p.Y > 100 {
					continue
				}
				for c, want := range []float64{2 * p.X, 2 * p.Y, p.X + p.Y} {
					if got := float64(at(dst, u, v)[c]); math.Abs(got-want) > 0.5+1e-9 {
						t.Fatalf("sample at %v, channel %d = %v, want %v", p, c, got, want)
					}
				}
			}
		}
	}
}

func TestWarpBlendsTheBorderWithBlack(t *testing.T) {
	src := imgcodec.NewImage(2, 2)
	for i := range src.Pix {
		src.Pix[i] = 200
	}
	dst := imgcodec.NewImage(4, 4)
	Warp(dst, src, Similarity{A: 1, Tx: 1.5, Ty: 1.5})
	want := []byte{
		0, 0, 0, 0,
		0, 50, 100, 50,
		0, 100, 200, 100,
		0, 50, 100, 50,
	}
	for i, w := range want {
		if got := dst.Pix[3*i]; got != w {
			t.Errorf("pixel (%d,%d) = %d, want %d", i%4, i/4, got, w)
		}
	}
}

// A transform may come from anywhere; no pixel outside the source is touched.
func TestWarpSurvivesWildTransforms(t *testing.T) {
	src := noise(rand.New(rand.NewPCG(11, 12)), 5, 3)
	dst := imgcodec.NewImage(8, 8)
	for _, m := range []Similarity{
		{}, {A: math.NaN()}, {A: math.Inf(1)}, {A: 1e-300}, {A: 1e300, B: 1e300},
		{A: 1, Tx: 1e18}, {A: 1, Tx: math.NaN()}, {A: 1, Ty: math.Inf(-1)},
	} {
		for i := range dst.Pix {
			dst.Pix[i] = 77
		}
		Warp(dst, src, m)
		if m.A == 1 && !bytes.Equal(dst.Pix, make([]byte, len(dst.Pix))) {
			t.Errorf("%+v: a crop beside the image is not black", m)
		}
	}
}

// What the processor's own way of filling a row gives is what pixel by pixel gives, also
// at every edge of the photograph.
func TestWarpLineIsExact(t *testing.T) {
	rng := rand.New(rand.NewPCG(15, 16))
	for range 400 {
		w, h := 1+rng.IntN(40), 1+rng.IntN(40)
		src, dst := noise(rng, w, h), imgcodec.NewImage(1+rng.IntN(50), 1+rng.IntN(50))
		turn, scale := 2*math.Pi*rng.Float64(), math.Exp(3*rng.Float64()-1.5)
		m := Similarity{A: scale * math.Cos(turn), B: scale * math.Sin(turn), Tx: 60*rng.Float64() - 30, Ty: 60*rng.Float64() - 30}
		if rng.IntN(3) == 0 { // exactly on the pixels
			m = Similarity{A: 1, Tx: float64(rng.IntN(9) - 4), Ty: float64(rng.IntN(9) - 4)}
		}
		want := imgcodec.NewImage(dst.W, dst.H)
		for v := range dst.H {
			l := newLine(src, m.Inverse(), v)
			l.sample(want.Pix[3*v*dst.W:3*(v+1)*dst.W], 0)
		}
		Warp(dst, src, m)
		if !bytes.Equal(dst.Pix, want.Pix) {
			t.Fatalf("%dx%d from %dx%d by %+v: the pixels differ", dst.W, dst.H, w, h, m)
		}
	}
}

func TestWarpAgreesWithOpenCV(t *testing.T) {
	src, want := readPNG(t, "testdata/opencv_src.png"), readPNG(t, "testdata/opencv_warp.png")
	got := imgcodec.NewImage(want.W, want.H)
	Warp(got, src, Similarity{A: 0.953372, B: 0.044244, Tx: -5.526061, Ty: -7.108425})
	worst := 0.0
	for i := range got.Pix {
		worst = max(worst, math.Abs(float64(got.Pix[i])-float64(want.Pix[i])))
	}
	if worst > 2 {
		t.Errorf("a pixel differs by %v grey levels", worst)
	}
}

func readPNG(t *testing.T, name string) *imgcodec.Image {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	img, _, err := imgcodec.Decode(data, imgcodec.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestCropPutsLandmarksOnTheTemplate(t *testing.T) {
	// A photograph that is black but for a white square around each landmark.
	face := Landmarks{{120, 100}, {190, 110}, {150, 145}, {118, 180}, {176, 188}}
	photo := imgcodec.NewImage(300, 300)
	for _, p := range face {
		for y := int(p.Y) - 6; y <= int(p.Y)+6; y++ {
			for x := int(p.X) - 6; x <= int(p.X)+6; x++ {
				copy(at(photo, x, y), []byte{255, 255, 255})
			}
		}
	}
	crop, err := Crop(photo, face, CropSize)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range Template(CropSize) {
		if v := at(crop, int(p.X+0.5), int(p.Y+0.5))[0]; v != 255 {
			t.Errorf("landmark %d: the crop shows %d at the template's place", i, v)
		}
	}
	if _, err := Crop(photo, Landmarks{}, CropSize); !errors.Is(err, ErrDegenerate) {
		t.Errorf("error = %v, want ErrDegenerate", err)
	}
}

func BenchmarkCrop(b *testing.B) {
	photo := noise(rand.New(rand.NewPCG(13, 14)), 250, 250)
	face := Landmarks{{100, 110}, {150, 112}, {126, 140}, {105, 165}, {146, 167}}
	crop := imgcodec.NewImage(CropSize, CropSize)
	b.ReportAllocs()
	for b.Loop() {
		m, err := Estimate(face, Template(CropSize))
		if err != nil {
			b.Fatal(err)
		}
		Warp(crop, photo, m)
	}
}
