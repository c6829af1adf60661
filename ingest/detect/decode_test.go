package detect

import (
	"errors"
	"math"
	"testing"
)

func TestFacesReadsEveryOutputLayout(t *testing.T) {
	const w, h = 384, 256
	for name, head := range heads {
		t.Run(name, func(t *testing.T) {
			coarse := len(head.strides) - 1
			plants := []planted{
				{0, 5, 7, head.anchors - 1, faceAt(45, 60, 30, 0.9)},
				{1, 17, 10, 0, faceAt(270, 165, 70, 0.8)},
				{coarse, 1, 1, 0, faceAt(130, 140, 110, 0.7)},
			}
			outputs := head.outputs(w, h, plants)
			for seed := range uint64(5) {
				found := mustFaces(t, head.family, outputs, w, h)
				if len(found) != len(plants) {
					t.Fatalf("found %d faces, want %d: %+v", len(found), len(plants), found)
				}
				for i, p := range plants {
					if !near(found[i], p.face, 0.01) {
						t.Errorf("face %d = %+v, want %+v", i, found[i], p.face)
					}
				}
				outputs = shuffled(outputs, seed)
			}
		})
	}
}

func TestFacesSuppressesOverlaps(t *testing.T) {
	const w, h = 256, 256
	for name, head := range heads {
		weak, strong := faceAt(100, 100, 60, 0.7), faceAt(102, 101, 62, 0.9)
		apart := faceAt(200, 200, 40, 0.8)
		found := mustFaces(t, head.family, head.outputs(w, h, []planted{
			{0, 12, 12, 0, weak}, {1, 6, 6, 0, strong}, {0, 24, 24, 0, apart},
		}), w, h)
		if len(found) != 2 || !near(found[0], strong, 0.01) || !near(found[1], apart, 0.01) {
			t.Errorf("%s: found %+v", name, found)
		}
	}
}

func TestFacesKeepsToTheThreshold(t *testing.T) {
	const w, h = 128, 128
	head := heads["scrfd, 3 levels"]
	outputs := head.outputs(w, h, []planted{{0, 4, 4, 0, faceAt(40, 40, 30, 0.45)}})
	for _, tt := range []struct {
		minScore float64
		want     int
	}{{0.5, 0}, {0.4, 1}} {
		found, err := head.family.faces(outputs, w, h, tt.minScore)
		if err != nil || len(found) != tt.want {
			t.Errorf("at %v: %d faces, %v; want %d", tt.minScore, len(found), err, tt.want)
		}
	}
}

// Numbers that are none must neither be found nor disturb what is.
func TestFacesIgnoresNonFiniteValues(t *testing.T) {
	const w, h = 128, 128
	good := faceAt(80, 80, 40, 0.8)
	for name, head := range heads {
		for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
			outputs := head.outputs(w, h, []planted{
				{0, 1, 1, 0, faceAt(10, 10, 20, 0.9)}, {1, 5, 5, 0, good},
			})
			row := (1*(w/8) + 1) * head.anchors
			for _, o := range outputs {
				if o.name == "bbox_8" {
					o.data[row*boxWidth] = bad
				}
				if o.name == "score_8" {
					o.data[0] = float32(math.NaN())
				}
			}
			found := mustFaces(t, head.family, outputs, w, h)
			if len(found) != 1 || !near(found[0], good, 0.01) {
				t.Errorf("%s with %v: found %+v", name, bad, found)
			}
		}
	}
}

func TestFacesRefusesOtherModels(t *testing.T) {
	const w, h = 128, 128
	scrfd := heads["scrfd, 3 levels"].outputs(w, h, nil)
	yunet := heads["yunet"].outputs(w, h, nil)
	classifier := []tensor{{name: "prob", dims: []int64{1, 1000}, data: make([]float32, 1000)}}
	short := shuffled(scrfd, 0)
	short[0].data = short[0].data[:1]
	tests := []struct {
		name    string
		family  family
		outputs []tensor
		w       int
	}{
		{"nothing", scrfdFamily, nil, w},
		{"a classifier", scrfdFamily, classifier, w},
		{"no landmarks", scrfdFamily, scrfd[:6], w},
		{"no boxes", scrfdFamily, append(append([]tensor{}, scrfd[:3]...), scrfd[6:]...), w},
		{"yunet taken for scrfd", scrfdFamily, yunet, w},
		{"scrfd taken for yunet", yunetFamily, scrfd, w},
		{"another canvas", scrfdFamily, scrfd, w + 64},
		{"values missing", scrfdFamily, short, w},
		{"everything twice", scrfdFamily, append(append([]tensor{}, scrfd...), scrfd...), w},
	}
	for _, tt := range tests {
		if found, err := tt.family.faces(tt.outputs, tt.w, h, 0.5); !errors.Is(err, errLayout) {
			t.Errorf("%s: found %v, error %v; want errLayout", tt.name, found, err)
		}
	}
}

func FuzzFaces(f *testing.F) {
	f.Add(uint8(1), uint8(0), float32(0.9), float32(2), uint8(3))
	f.Add(uint8(0), uint8(1), float32(math.NaN()), float32(math.Inf(1)), uint8(200))
	f.Fuzz(func(t *testing.T, drop, grow uint8, score, value float32, at uint8) {
		const w, h = 64, 64
		for _, head := range heads {
			outputs := head.outputs(w, h, nil)
			for i := range outputs {
				o := &outputs[i]
				if len(o.data) == 0 {
					continue
				}
				fill := value
				if o.dims[len(o.dims)-1] == 1 {
					fill = score
				}
				o.data[int(at)%len(o.data)] = fill
			}
			outputs[int(drop)%len(outputs)].dims[0] += int64(grow) % 3
			found, err := head.family.faces(outputs, w, h, 0.5)
			if err != nil && !errors.Is(err, errLayout) {
				t.Fatal(err)
			}
			for _, face := range found {
				if !face.finite() || !(face.Score >= 0.5) {
					t.Fatalf("face %+v", face)
				}
			}
		}
	})
}
