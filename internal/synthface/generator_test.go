package synthface

import (
	"bytes"
	"math"
	"reflect"
	"strings"
	"sync"
	"testing"

	"facepipe/internal/imgcodec"
)

func TestLandmarksLieInThePhoto(t *testing.T) {
	g := New(3)
	for _, size := range []int{MinSize, 0, 640} {
		for _, hard := range []float64{0, DefaultHard, MaxHard} {
			o := PhotoOptions{Size: size, Hard: hard}
			limit := float64(o.size())
			for i := range 100 {
				for j := range 3 {
					for _, v := range g.Landmarks(i, j, o) {
						if !(v > 0.02*limit && v < 0.98*limit) {
							t.Fatalf("size %d, difficulty %g, picture %d of %d: a landmark at %g", o.size(), hard, j, i, v)
						}
					}
				}
			}
		}
	}
}

func TestLandmarksAreThoseOfThePhoto(t *testing.T) {
	g := New(4)
	for i := range 5 {
		o := PhotoOptions{Size: 100, Hard: 1}
		if _, got := g.Photo(i, i, o); got != g.Landmarks(i, i, o) {
			t.Errorf("picture %d: %v, not %v", i, got, g.Landmarks(i, i, o))
		}
	}
}

// The crop's own landmarks must be best placed as they are: what is left between
// them and the template is shape, not place, scale or rotation.
func TestAlignedSitsOnTheTemplate(t *testing.T) {
	g := New(5)
	for i := range 40 {
		_, got := g.Aligned(i, 0, DefaultHard)
		m := fit(got, template)
		if math.Abs(m.a-1) > 1e-3 || math.Abs(m.b) > 1e-3 || math.Abs(m.tx) > 0.05 || math.Abs(m.ty) > 0.05 {
			t.Errorf("person %d: the crop could be moved by %+v", i, m)
		}
		for k := range got {
			if d := math.Abs(got[k] - template[k]); d > 12 {
				t.Errorf("person %d: coordinate %d is %.1f pixels from the template", i, k, d)
			}
		}
	}
}

func TestAveragePortraitSitsOnTheTemplate(t *testing.T) {
	g := New(6)
	var mean [10]float64
	const people = 500
	for i := range people {
		id, s := g.Identity(i), g.shot(i, 0, 0)
		for k, v := range newScene(&id, &s, alignment(&id, &s), nil).landmarks() {
			mean[k] += v / people
		}
	}
	for k := range mean {
		if math.Abs(mean[k]-template[k]) > 1 {
			t.Errorf("coordinate %d: %.2f on average, %.2f in the template", k, mean[k], template[k])
		}
	}
}

func TestPhotoAndAlignedShowTheSame(t *testing.T) {
	g := New(7)
	for i := range 20 {
		inPhoto := g.Landmarks(i, 1, PhotoOptions{Hard: 1})
		_, inCrop := g.Aligned(i, 1, 1)
		m := fit(inPhoto, template)
		for k := 0; k < 10; k += 2 {
			p := m.apply(vec2{inPhoto[k], inPhoto[k+1]})
			if math.Hypot(p.x-inCrop[k], p.y-inCrop[k+1]) > 0.01 {
				t.Errorf("person %d: the aligned photo has landmark %d at %v, the crop at %v", i, k/2, p, inCrop[k:k+2])
			}
		}
	}
}

func TestSameArgumentsSameBytes(t *testing.T) {
	const pictures = 12
	want := make([][]byte, pictures)
	for i := range want {
		img, _ := New(8).Aligned(i, 2, 1)
		want[i] = img.Pix
	}
	g := New(8)
	var group sync.WaitGroup
	for worker := range 4 {
		group.Go(func() {
			for n := range pictures {
				i := (n*5 + worker) % pictures
				g.Photo(i, n, PhotoOptions{Size: 64 + 16*worker, Hard: 2}) // leaves its canvas behind
				if img, _ := g.Aligned(i, 2, 1); !bytes.Equal(img.Pix, want[i]) {
					t.Errorf("picture %d differs", i)
				}
			}
		})
	}
	group.Wait()
}

func TestOtherArgumentsOtherBytes(t *testing.T) {
	base, _ := New(9).Aligned(1, 1, 0)
	for name, img := range map[string]*imgcodec.Image{
		"seed":       first(New(10).Aligned(1, 1, 0)),
		"person":     first(New(9).Aligned(2, 1, 0)),
		"picture":    first(New(9).Aligned(1, 2, 0)),
		"difficulty": first(New(9).Aligned(1, 1, 1)),
	} {
		if share := changed(base.Pix, img.Pix); share < 0.2 {
			t.Errorf("another %s changes only %.0f %% of the bytes", name, 100*share)
		}
	}
}

func first(img *imgcodec.Image, _ [10]float64) *imgcodec.Image { return img }

// changed is the share of bytes that differ.
func changed(a, b []byte) float64 {
	n := 0
	for i := range a {
		if a[i] != b[i] {
			n++
		}
	}
	return float64(n) / float64(len(a))
}

// model is a person and a picture in which every parameter shows.
func model() (Identity, shot) {
	g := New(11)
	id, s := g.Identity(1), g.shot(1, 0, 0.3)
	id.Hair.Style, id.Hair.Line, id.Hair.Length = Long, 40, 40
	id.Beard = Beard{Moustache: 0.5, Chin: 0.5, Cheeks: 0.5}
	id.Skin.Freckles, id.Skin.Lines, id.Skin.Blush = 30, 0.5, 0.5
	id.Marks = []Mark{{X: 15, Y: 12, Radius: 2, Color: Color{40, 20, 20}}}
	s.expression = expression{open: 0.4, smile: 0.3}
	s.lamp.toward = vec3{0.5, -0.4, 0.7}.unit()
	s.lamp.shine = 0.5
	s.camera.blurX, s.camera.blurY, s.camera.noise = 0.3, 0.3, 0
	s.occlusion = occlusion{}
	return id, s
}

func portrait(id Identity, s shot) []byte {
	img, _ := New(0).take(&id, &s, similarity{a: 0.65, tx: 56, ty: 56}, AlignedSize)
	return img.Pix
}

// Every field of Identity must be visible: one that is not would be a promise in
// the documentation only.
func TestEveryIdentityParameterShows(t *testing.T) {
	id, s := model()
	before := portrait(id, s)
	fields := 0
	visitLeaves(reflect.ValueOf(&id).Elem(), "Identity", func(name string, leaf reflect.Value) {
		fields++
		old := reflect.New(leaf.Type()).Elem()
		old.Set(leaf)
		nudge(t, name, leaf)
		if share := changed(before, portrait(id, s)); share*float64(len(before)) < 4 {
			t.Errorf("%s does not show", name)
		}
		leaf.Set(old)
	})
	if fields < 50 {
		t.Errorf("only %d parameters found", fields)
	}
	if !bytes.Equal(before, portrait(id, s)) {
		t.Error("the model was not restored")
	}
}

func visitLeaves(v reflect.Value, name string, visit func(string, reflect.Value)) {
	switch v.Kind() {
	case reflect.Struct:
		for k := range v.NumField() {
			visitLeaves(v.Field(k), name+"."+v.Type().Field(k).Name, visit)
		}
	case reflect.Slice:
		for k := range v.Len() {
			visitLeaves(v.Index(k), name, visit)
		}
	default:
		visit(name, v)
	}
}

// nudge changes a parameter by a part of its range.
func nudge(t *testing.T, name string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Float64:
		v.SetFloat(v.Float()*1.2 + 0.1)
	case reflect.Int:
		v.SetInt(v.Int() + 20)
	case reflect.Uint8:
		if strings.HasSuffix(name, "Style") {
			v.SetUint((v.Uint() + 1) % 3)
			return
		}
		v.SetUint((v.Uint() + 60) % 256)
	case reflect.Uint64:
		v.SetUint(v.Uint() + 1)
	default:
		t.Fatalf("%s has kind %s", name, v.Kind())
	}
}

func TestEveryCircumstanceShows(t *testing.T) {
	id, s := model()
	before := portrait(id, s)
	tests := map[string]func(*shot){
		"yaw":             func(s *shot) { s.pose.yaw += 0.2 },
		"pitch":           func(s *shot) { s.pose.pitch += 0.2 },
		"distance":        func(s *shot) { s.pose.distance /= 2 },
		"open":            func(s *shot) { s.expression.open += 0.3 },
		"smile":           func(s *shot) { s.expression.smile += 0.4 },
		"brow":            func(s *shot) { s.expression.brow += 0.5 },
		"blink":           func(s *shot) { s.expression.blink = 1 },
		"gaze":            func(s *shot) { s.expression.gaze.x += 2 },
		"lamp's place":    func(s *shot) { s.lamp.toward = vec3{-0.8, 0, 0.6} },
		"lamp's strength": func(s *shot) { s.lamp.key *= 1.5 },
		"lamp's colour":   func(s *shot) { s.lamp.color[0] *= 1.3 },
		"ambient light":   func(s *shot) { s.lamp.ambient /= 2 },
		"shine":           func(s *shot) { s.lamp.shine += 0.5 },
		"exposure":        func(s *shot) { s.camera.gain[1] *= 1.3 },
		"contrast":        func(s *shot) { s.camera.contrast *= 1.2 },
		"saturation":      func(s *shot) { s.camera.saturation = 0 },
		"blur across":     func(s *shot) { s.camera.blurX = 2 },
		"blur down":       func(s *shot) { s.camera.blurY = 2 },
		"noise":           func(s *shot) { s.camera.noise = 5 },
		"glasses":         func(s *shot) { s.occlusion.glasses = clearGlasses },
		"sunglasses":      func(s *shot) { s.occlusion.glasses = sunGlasses },
		"cap":             func(s *shot) { s.occlusion.cap, s.occlusion.capY = true, -36 },
		"bar":             func(s *shot) { s.occlusion.object, s.occlusion.size = bar, 10 },
		"hand":            func(s *shot) { s.occlusion.object, s.occlusion.size = hand, 10 },
		"scene's light":   func(s *shot) { s.place.light *= 1.5 },
		"clothes":         func(s *shot) { s.place.cloth = Color{10, 200, 90} },
		"background":      func(s *shot) { s.place.near.R += 90 },
		"slope":           func(s *shot) { s.place.slope += 1 },
		"texture":         func(s *shot) { s.place.texture += 0.4 },
		"clutter": func(s *shot) {
			s.place.clutter = append(s.place.clutter[:0:0], patch{rx: 0.3, ry: 0.3, color: Color{0, 255, 0}})
		},
	}
	for name, change := range tests {
		other := s
		change(&other)
		if share := changed(before, portrait(id, other)); share < 0.001 {
			t.Errorf("%s does not show", name)
		}
	}
}

func TestValidate(t *testing.T) {
	tests := []struct {
		name string
		o    PhotoOptions
		want string // part of the error, "" for none
	}{
		{"nothing set", PhotoOptions{}, ""},
		{"bounds", PhotoOptions{Size: MinSize, Hard: MaxHard}, ""},
		{"too small", PhotoOptions{Size: MinSize - 1}, "size 63"},
		{"negative", PhotoOptions{Size: -1}, "size -1"},
		{"too large", PhotoOptions{Size: MaxSize + 1}, "size 4097"},
		{"below portrait", PhotoOptions{Hard: -0.1}, "difficulty -0.1"},
		{"beyond hardest", PhotoOptions{Hard: 2.1}, "difficulty 2.1"},
		{"no number", PhotoOptions{Hard: math.NaN()}, "difficulty NaN"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.o.Validate()
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want an error with %q", err, tt.want)
			}
			defer func() {
				if recover() == nil {
					t.Error("Photo drew it all the same")
				}
			}()
			New(0).Photo(0, 0, tt.o)
		})
	}
}

func BenchmarkAligned(b *testing.B) {
	g := New(1)
	for n := range b.N {
		g.Aligned(n/20, n%20, DefaultHard)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "images/s")
}

func BenchmarkPhoto(b *testing.B) {
	g := New(1)
	for n := range b.N {
		g.Photo(n/20, n%20, PhotoOptions{Hard: DefaultHard})
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "images/s")
}

func BenchmarkJPEG(b *testing.B) {
	g := New(1)
	for n := range b.N {
		g.JPEG(n/20, n%20, PhotoOptions{Hard: DefaultHard})
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "images/s")
}
