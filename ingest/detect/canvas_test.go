package detect

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	"facepipe/internal/imgcodec"
)

func TestPlace(t *testing.T) {
	free := canvasSize{limit: 640, step: 64}
	fixed := canvasSize{fixedW: 320, fixedH: 240}
	tests := []struct {
		name   string
		size   canvasSize
		w, h   int
		shrink float64
		want   placement
	}{
		{"lfw", free, 250, 250, 1, placement{256, 256, 0, 0, 250, 250}},
		{"smaller than the smallest canvas", free, 40, 30, 1, placement{128, 128, 0, 0, 40, 30}},
		{"exactly a multiple", free, 256, 100, 1, placement{256, 256, 0, 0, 256, 100}},
		{"at the limit", free, 640, 640, 1, placement{640, 640, 0, 0, 640, 640}},
		{"a large photograph", free, 3000, 2000, 1, placement{640, 640, 0, 0, 640, 427}},
		{"upright", free, 2000, 4000, 1, placement{640, 640, 0, 0, 320, 640}},
		{"a sliver", free, 6400, 2, 1, placement{640, 640, 0, 0, 640, 1}},
		{"second look at lfw", free, 250, 250, 0.5, placement{256, 256, 65, 65, 125, 125}},
		{"second look at a large photograph", free, 3000, 2000, 0.5, placement{640, 640, 160, 213, 320, 213}},
		{"third look does not outgrow the limit", free, 3000, 3000, 0.85, placement{640, 640, 48, 48, 544, 544}},
		{"fixed, fits", fixed, 200, 200, 1, placement{320, 240, 0, 0, 200, 200}},
		{"fixed, too high", fixed, 300, 480, 1, placement{320, 240, 0, 0, 150, 240}},
		{"fixed, second look", fixed, 300, 480, 0.5, placement{320, 240, 122, 60, 75, 120}},
		{"limit between multiples", canvasSize{limit: 300, step: 64}, 1000, 500, 1, placement{256, 256, 0, 0, 256, 128}},
		{"limit below a multiple", canvasSize{limit: 10, step: 64}, 1000, 500, 1, placement{64, 64, 0, 0, 64, 32}},
		{"coarse levels", canvasSize{limit: 640, step: 128}, 250, 200, 1, placement{256, 256, 0, 0, 250, 200}},
	}
	for _, tt := range tests {
		if got := tt.size.place(tt.w, tt.h, tt.shrink); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

// Whatever the photograph, it lies inside the canvas.
func TestPlaceStaysInside(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 5000 {
		w, h := 1+rng.IntN(1<<rng.IntN(14)), 1+rng.IntN(1<<rng.IntN(14))
		size := canvasSize{limit: 64 + rng.IntN(2000), step: 64}
		if rng.IntN(3) == 0 {
			size = canvasSize{fixedW: 1 + rng.IntN(700), fixedH: 1 + rng.IntN(700)}
		}
		shrink := []float64{1, 0.85, 0.5}[rng.IntN(3)]
		p := size.place(w, h, shrink)
		if p.left < 0 || p.top < 0 || p.photoW < 1 || p.photoH < 1 ||
			p.left+p.photoW > p.w || p.top+p.photoH > p.h || p.photoW > w || p.photoH > h {
			t.Fatalf("%+v for %dx%d at %v: %+v", size, w, h, shrink, p)
		}
	}
}

func TestToPhotoUndoesThePlacement(t *testing.T) {
	p := placement{w: 640, h: 640, left: 160, top: 213, photoW: 320, photoH: 213}
	want := faceAt(1500, 800, 600, 0.9)
	onCanvas := want
	move := func(x, y *float64) { *x, *y = *x*320/3000+160, *y*213/2000+213 }
	move(&onCanvas.X1, &onCanvas.Y1)
	move(&onCanvas.X2, &onCanvas.Y2)
	for i := range onCanvas.Landmarks {
		move(&onCanvas.Landmarks[i].X, &onCanvas.Landmarks[i].Y)
	}
	if got := p.toPhoto(onCanvas, 3000, 2000); !near(got, want, 1e-9) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestPaint(t *testing.T) {
	photo := imgcodec.NewImage(2, 1)
	copy(photo.Pix, []byte{10, 20, 30, 40, 50, 60})
	p := placement{w: 4, h: 2, left: 1, top: 1, photoW: 2, photoH: 1}
	scale := func(v float32) float32 { return (v - 127.5) / 128 }
	tests := map[string]struct {
		layout inputLayout
		first  [3][2]float32 // the two pixels in each plane
		black  float32
	}{
		"scrfd": {scrfdFamily.input, [3][2]float32{{scale(10), scale(40)}, {scale(20), scale(50)}, {scale(30), scale(60)}}, scale(0)},
		"yunet": {yunetFamily.input, [3][2]float32{{30, 60}, {20, 50}, {10, 40}}, 0},
	}
	for name, tt := range tests {
		dst := make([]float32, 3*8)
		for i := range dst {
			dst[i] = 99
		}
		tt.layout.paint(dst, p, photo)
		for c := range 3 {
			want := []float32{tt.black, tt.black, tt.black, tt.black, tt.black, tt.first[c][0], tt.first[c][1], tt.black}
			for i, w := range want {
				if dst[8*c+i] != w {
					t.Errorf("%s: plane %d value %d = %v, want %v", name, c, i, dst[8*c+i], w)
				}
			}
		}
	}
}

func TestShrink(t *testing.T) {
	src := imgcodec.NewImage(4, 2)
	for i := range src.Pix {
		src.Pix[i] = byte(10 * (i / 3)) // pixels 0, 10, 20 ... 70
	}
	if got := shrink(src, 4, 2); got != src {
		t.Error("an image of the right size was copied")
	}
	half := shrink(src, 2, 1)
	if want := []byte{25, 25, 25, 45, 45, 45}; !bytes.Equal(half.Pix, want) {
		t.Errorf("half = %v, want %v", half.Pix, want)
	}
	// Three pixels from four: each covers one and a third.
	third := shrink(src, 3, 2)
	if want := []byte{3, 3, 3, 15, 15, 15, 28, 28, 28}; !bytes.Equal(third.Pix[:9], want) {
		t.Errorf("first row = %v, want %v", third.Pix[:9], want)
	}
}

func TestShrinkKeepsTheMean(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for range 30 {
		src := imgcodec.NewImage(20+rng.IntN(200), 20+rng.IntN(200))
		for i := range src.Pix {
			src.Pix[i] = byte(rng.Uint32())
		}
		out := shrink(src, 1+rng.IntN(src.W), 1+rng.IntN(src.H))
		if d := math.Abs(mean(src) - mean(out)); d > 1 {
			t.Fatalf("%dx%d to %dx%d moved the mean by %v", src.W, src.H, out.W, out.H, d)
		}
	}
}

func mean(img *imgcodec.Image) float64 {
	var sum float64
	for _, v := range img.Pix {
		sum += float64(v)
	}
	return sum / float64(len(img.Pix))
}
