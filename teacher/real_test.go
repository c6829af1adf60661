package teacher_test

import (
	"os"
	"path/filepath"
	"testing"

	"facepipe/internal/embed"
	"facepipe/internal/imgcodec"
	"facepipe/teacher"
)

// Real teachers on real faces: what auto chooses, what is cached, and that the cache
// is the model's.
func TestRealTeachers(t *testing.T) {
	data := os.Getenv("PIPE_REAL_DATA")
	if data == "" {
		t.Skip("PIPE_REAL_DATA is not set")
	}
	files, err := filepath.Glob(filepath.Join(data, "glint24", "*", "*.png"))
	if err != nil || len(files) < 400 {
		t.Fatalf("%d crops, %v", len(files), err)
	}
	var keys []string
	var encoded [][]byte
	for i := 0; i < 400; i += 25 {
		image, err := os.ReadFile(files[i])
		if err != nil {
			t.Fatal(err)
		}
		keys, encoded = append(keys, filepath.Base(files[i])), append(encoded, image)
	}
	dir := filepath.Join(t.TempDir(), "faces.ds")
	write(t, dir, keys, encoded, imgcodec.PNG)
	for name, c := range map[string]struct {
		dim  int
		want embed.Preprocess
	}{"w600k_mbf": {512, embed.ArcFace()}, "mbf_y1": {128, embed.Raw()}} {
		model := filepath.Join(data, "models", name+".onnx")
		s := precompute(t, teacher.Options{Dataset: dir, Model: model, Flip: true})
		if s.Teacher != name || s.Computed != len(keys) || s.Dim != c.dim || s.Preprocess != c.want || s.Invalid != 0 {
			t.Errorf("%s: %+v", name, s)
		}
		ds, kept := openCache(t, dir, name)
		norms := 0.0
		for row := range keys {
			_, norm := rowOf(t, ds, kept, row, false)
			norms += float64(norm) / float64(len(keys))
		}
		if name == "w600k_mbf" && (norms < 20 || norms > 28) {
			t.Errorf("%s: mean norm %.1f", name, norms)
		}
		r, err := teacher.Replay(t.Context(), teacher.ReplayOptions{Dataset: dir, Teacher: name, Model: model, N: 6, Seed: 1})
		if err != nil || !r.OK || r.Rows != 6 || r.Compared != 12 {
			t.Errorf("%s: replay %+v, %v", name, r, err)
		}
		t.Logf("%s: mean norm %.1f, lowest cosine of the cache %.7f", name, norms, r.MinCosine)
	}
}
