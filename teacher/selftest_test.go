package teacher

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/internal/embed"
	"facepipe/internal/imgcodec"
	"facepipe/internal/synthface"
	"facepipe/store"
	"facepipe/store/storetest"
	"facepipe/testdata"
)

// Two normal distributions whose means are two deviations apart have d′ = 2, and
// contracts that differ by less than chance explains are equal.
func TestSeparation(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	draw := func(mean float64) []float64 {
		x := make([]float64, 20000)
		for i := range x {
			x[i] = mean + rng.NormFloat64()
		}
		return x
	}
	same, different := draw(2), draw(0)
	if d := separation(same, different); math.Abs(d-2) > 0.05 {
		t.Errorf("separation is %g", d)
	}
	if d := separation([]float64{1, 1}, []float64{1, 1}); d != 0 {
		t.Errorf("separation without spread is %g", d)
	}
	base := ContractScore{scores: same[:40]}
	shifted := func(by, noise float64) ContractScore {
		c := ContractScore{}
		for _, s := range base.scores {
			c.scores = append(c.scores, s+by+noise*rng.NormFloat64())
		}
		return c
	}
	for name, c := range map[string]struct {
		other ContractScore
		want  bool
	}{
		"itself":         {base, false},
		"rounding":       {shifted(0.001, 0), false},
		"noise":          {shifted(0, 1), false},
		"better":         {shifted(0.5, 0.3), true},
		"worse":          {shifted(-0.5, 0.3), false},
		"without scores": {ContractScore{}, false},
	} {
		if got := c.other.better(base); got != c.want {
			t.Errorf("%s is better: %v", name, got)
		}
	}
	if !base.better(ContractScore{}) {
		t.Error("a contract with scores is no better than one without")
	}
}

// The published models are named their own preprocessing, and a wrong one is caught.
func TestRealSelfTest(t *testing.T) {
	root := os.Getenv("PIPE_REAL_DATA")
	if root == "" {
		t.Skip("PIPE_REAL_DATA names no folder")
	}
	ds := realFaces(t, root)
	for _, c := range []struct {
		model, preprocess, best string
	}{
		{"w600k_mbf", "auto", "RGB /127.5"},
		{"w600k_mbf", "raw", "RGB /127.5"},
		{"w600k_mbf", bgr(t, 127.5, 127.5), "RGB /127.5"},
		{"mbf_y1", "auto", "RGB raw"},
		{"mbf_y1", "arcface", "RGB raw"},
		{"mbf_y1", bgr(t, 0, 1), "RGB raw"},
	} {
		model, err := embed.Open(filepath.Join(root, "models", c.model+".onnx"), embed.Options{Preprocess: c.preprocess})
		if err != nil {
			t.Fatal(err)
		}
		s, err := selfTest(t.Context(), ds, model, nil)
		model.Close()
		if err != nil {
			t.Fatal(err)
		}
		best := s.Contracts[s.Best].Name
		if best != c.best || (s.Best == 0) != (s.warning() == "") || s.Mirrored {
			t.Errorf("%s under %s: best is %s (chosen %+v)", c.model, c.preprocess, best, s.Contracts[0])
		}
		if s.Best > 0 && !strings.Contains(s.warning(), best) {
			t.Errorf("warning %q does not name %s", s.warning(), best)
		}
	}
}

// bgr is a preprocessing file with the channels the other way round.
func bgr(t *testing.T, mean, std float32) string {
	t.Helper()
	p := embed.ArcFace()
	p.ChannelOrder = "BGR"
	for c := range 3 {
		p.Mean[c], p.Std[c] = mean, std
	}
	data, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "bgr.json")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// realFaces are four aligned crops each of the people in glint24.
func realFaces(t *testing.T, root string) *store.Dataset {
	t.Helper()
	people, err := filepath.Glob(filepath.Join(root, "glint24", "*"))
	if err != nil || len(people) < 20 {
		t.Fatalf("%d people, %v", len(people), err)
	}
	var faces []labelled
	for _, person := range people {
		files, err := filepath.Glob(filepath.Join(person, "*.png"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files[:min(4, len(files))] {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			faces = append(faces, labelled{filepath.Base(person), data})
		}
	}
	return labelledDataset(t, faces)
}

// labelled is an encoded crop with the person that it shows.
type labelled struct {
	person string
	png    []byte
}

func labelledDataset(t *testing.T, faces []labelled) *store.Dataset {
	return shardedDataset(t, 0, faces)
}

// shardedDataset has so many crops a shard, the default if 0.
func shardedDataset(t *testing.T, rows int, faces []labelled) *store.Dataset {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "faces.ds")
	contract := store.Contract{CropSize: 112, Template: "arcface-112", Warp: "none", Decoder: "std"}
	var crops []store.Crop
	for i, f := range faces {
		img, format, err := imgcodec.Decode(f.png, imgcodec.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		crops = append(crops, store.Crop{
			ID: store.CropID(contract, img.Pix), Key: fmt.Sprintf("%04d", i), Identity: f.person, Encoding: format, Image: f.png,
		})
	}
	storetest.Write(t, dir, contract, rows, store.SourceInfo{Kind: "folder", Path: "faces", Detector: "none"}, crops)
	ds, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ds.Close() })
	return ds
}

// generatedFaces are a number of pictures each of people, nameless if they are not to be
// told apart.
func generatedFaces(t *testing.T, people, pictures int, nameless bool) *store.Dataset {
	t.Helper()
	return labelledDataset(t, drawnFaces(people, pictures, nameless))
}

func drawnFaces(people, pictures int, nameless bool) []labelled {
	g := synthface.New(5)
	var faces []labelled
	for person := range people {
		for picture := range pictures {
			img, _ := g.Aligned(person, picture, synthface.DefaultHard)
			f := labelled{png: imgcodec.EncodePNG(img)}
			if !nameless {
				f.person = fmt.Sprint(person)
			}
			faces = append(faces, f)
		}
	}
	return faces
}

// Nobody is two people, in however many shards they are: pairs that are called different
// would show one.
func TestTestFacesOfSeveralShards(t *testing.T) {
	faces := drawnFaces(16, 8, false)
	rand.New(rand.NewPCG(3, 3)).Shuffle(len(faces), func(i, j int) { faces[i], faces[j] = faces[j], faces[i] })
	drawn, err := testFaces(shardedDataset(t, 32, faces))
	if err != nil || len(drawn) != 32 {
		t.Fatalf("%d faces of 16 people, %v", len(drawn), err)
	}
	pairs := map[int32]int{}
	for i := 0; i < len(drawn); i += 2 {
		pairs[drawn[i].person]++
		if drawn[i].person != drawn[i+1].person || drawn[i].at == drawn[i+1].at {
			t.Errorf("faces %d and %d are no pair", i, i+1)
		}
	}
	if len(pairs) != 16 {
		t.Errorf("pairs of %d people: %v", len(pairs), pairs)
	}
}

// Where there are too few people with two crops, mirror images are the other picture.
func TestTestFaces(t *testing.T) {
	for name, c := range map[string]struct {
		ds       *store.Dataset
		faces    int
		mirrored bool
	}{
		"people":          {generatedFaces(t, 14, 3, false), 28, false},
		"one picture":     {generatedFaces(t, 14, 1, false), 14, true},
		"few people":      {generatedFaces(t, 5, 4, false), 5, true},
		"nameless":        {generatedFaces(t, 8, 2, true), 16, true},
		"many":            {generatedFaces(t, 60, 2, false), 96, false},
		"nobody":          {generatedFaces(t, 0, 0, false), 0, false},
		"one face":        {generatedFaces(t, 1, 1, false), 1, true},
		"two of a person": {generatedFaces(t, 1, 2, false), 1, true},
	} {
		faces, err := testFaces(c.ds)
		if err != nil || len(faces) != c.faces || len(faces) > 0 && (faces[0].person < 0) != c.mirrored {
			t.Errorf("%s: %d faces, %v", name, len(faces), err)
		}
		for i := 0; !c.mirrored && i < len(faces); i += 2 {
			if faces[i].person != faces[i+1].person || faces[i].at == faces[i+1].at {
				t.Errorf("%s: faces %d and %d are no pair", name, i, i+1)
			}
		}
	}
}

// The teacher of the repository was trained on RGB of generated faces.
func TestSelfTestOnGeneratedFaces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "teacher.onnx")
	if err := os.WriteFile(path, testdata.Teacher, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		preprocess string
		nameless   bool
		warns      bool
		says       string
	}{
		{"auto", false, false, "self-test: comparing 6 preprocessings on 20 pairs of faces"},
		{"raw", false, true, "self-test: comparing 6 preprocessings on 20 pairs of faces"},
		{"auto", true, false, "self-test: comparing 6 preprocessings on 40 faces and their mirror images"},
	} {
		model, err := embed.Open(path, embed.Options{Preprocess: c.preprocess})
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		s, err := selfTest(t.Context(), generatedFaces(t, 20, 2, c.nameless), model, &out)
		model.Close()
		if err != nil {
			t.Fatal(err)
		}
		if (s.warning() != "") != c.warns || s.Mirrored != c.nameless || s.Same == 0 || s.Different == 0 {
			t.Errorf("%s: %+v", c.preprocess, s)
		}
		if said := out.String(); !strings.HasPrefix(said, c.says+"\n") || !strings.Contains(said, "\nself-test: 240/240 (100%), ") || !strings.HasSuffix(said, " crops/s\n") {
			t.Errorf("%s: it says %q", c.preprocess, said)
		}
	}
}
