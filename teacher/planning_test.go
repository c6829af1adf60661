package teacher_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"image"
	"image/jpeg"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"facepipe/internal/embed"
	"facepipe/internal/imgcodec"
	"facepipe/internal/ort"
	"facepipe/internal/worker"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/plan"
	"facepipe/teacher"
	"facepipe/teacher/teachertest"
)

// plannedCacheOf makes a plan, which must succeed, and returns what it says of the cache.
func plannedCacheOf(t *testing.T, o teacher.Options) (dir string, info cache.Info) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "job")
	if _, err := teacher.MakePlan(t.Context(), o, dir); err != nil {
		t.Fatal(err)
	}
	p, _, err := plan.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	return dir, *p.Teacher
}

// What is to run on a GPU, with its half precision and its batches, is planned without
// one: the plan is the same as far as the result is.
func TestPlanWithoutTheProvider(t *testing.T) {
	o := teacher.Options{Dataset: dataset(t, upTo(8)...), Model: tiny(t, nil), Flip: true}
	_, want := plannedCacheOf(t, o)
	o.Batch, o.Devices = 4096, []int{0, 3}
	o.Runtime = ort.Options{Provider: "cuda"}
	if _, got := plannedCacheOf(t, o); got.Fingerprint != want.Fingerprint {
		t.Errorf("planned for CUDA the fingerprint is %s, for the processor %s", got.Fingerprint, want.Fingerprint)
	}
	model, err := embed.Open(t.Context(), o.Model, embed.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer model.Close()
	o.Runtime = ort.Options{Provider: "tensorrt", Half: true}
	dir, half := plannedCacheOf(t, o)
	if half.Fingerprint != model.Fingerprint(true, cache.FP16, embed.Rounding{Half: true}) || half.Fingerprint == want.Fingerprint {
		t.Errorf("planned in half precision the fingerprint is %s", half.Fingerprint)
	}
	// The plan is what tells a worker to compute in half precision, which this one cannot.
	_, err = teacher.Work(t.Context(), dir, worker.Worker{Count: 1}, teacher.Options{})
	if err == nil || !strings.Contains(err.Error(), "half precision") {
		t.Errorf("a worker on the processor: %v", err)
	}
}

func TestPlanOfWhatNoMachineRuns(t *testing.T) {
	data, model := dataset(t, upTo(8)...), tiny(t, nil)
	for say, c := range map[string]struct {
		runtime ort.Options
		devices []int
	}{
		"does not run in half precision": {ort.Options{Provider: "cuda", Half: true}, nil},
		"provider cpu has no device 1":   {ort.Options{}, []int{0, 1}},
		"provider cuda has no device -1": {ort.Options{Provider: "cuda"}, []int{-1}},
		`provider "abacus" is none of`:   {ort.Options{Provider: "abacus"}, nil},
	} {
		dir := filepath.Join(t.TempDir(), "job")
		_, err := teacher.MakePlan(t.Context(), teacher.Options{Dataset: data, Model: model, Runtime: c.runtime, Devices: c.devices}, dir)
		if err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("%s: %v", say, err)
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: there is a plan: %v", say, err)
		}
	}
}

// Workers copy what other datasets have; one that cannot be is found out by the plan.
func TestPlanWithReuse(t *testing.T) {
	o := teacher.Options{Dataset: dataset(t, upTo(8)...), Model: tiny(t, nil)}
	precompute(t, o)
	donor := o.Dataset
	o.Dataset, o.Reuse = dataset(t, 2, 3, 90), []string{donor}
	dir, _ := plannedCacheOf(t, o)
	s, err := teacher.Work(t.Context(), dir, worker.Worker{Count: 1}, teacher.Options{Reuse: o.Reuse})
	if err != nil || s.Copied != 2 || s.Computed != 1 {
		t.Errorf("the worker did %+v, %v", s, err)
	}
	o.Reuse = []string{filepath.Join(t.TempDir(), "none.ds")}
	if _, err := teacher.MakePlan(t.Context(), o, dir); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a dataset to reuse that is not there: %v", err)
	}
}

// Who decodes JPEG crops in another way than the planner would fill a cache with other pixels:
// refused where there are such crops.
func TestPlanOfAnotherDecoder(t *testing.T) {
	keys, encoded := rawCrops(upTo(8))
	raw := filepath.Join(t.TempDir(), "raw.ds")
	write(t, raw, keys, encoded, imgcodec.Raw)
	var photos [][]byte
	for _, number := range upTo(8) {
		var b bytes.Buffer
		img, pixels := image.NewRGBA(image.Rect(0, 0, teachertest.Side, teachertest.Side)), teachertest.Crop(number)
		for i := range teachertest.Side * teachertest.Side {
			copy(img.Pix[4*i:], pixels[3*i:3*i+3])
			img.Pix[4*i+3] = 255
		}
		if err := jpeg.Encode(&b, img, nil); err != nil {
			t.Fatal(err)
		}
		photos = append(photos, b.Bytes())
	}
	compressed := filepath.Join(t.TempDir(), "jpeg.ds")
	write(t, compressed, keys, photos, imgcodec.JPEG)
	for dir, refused := range map[string]bool{raw: false, compressed: true} {
		plan, _ := plannedCacheOf(t, teacher.Options{Dataset: dir, Model: tiny(t, nil)})
		work := func() error {
			_, err := teacher.Work(t.Context(), plan, worker.Worker{Count: 1}, teacher.Options{})
			return err
		}
		replan(t, plan, "another 1.0")
		err := work()
		if errors.Is(err, store.ErrPlan) != refused || refused && !strings.Contains(err.Error(), "another 1.0") {
			t.Errorf("%s: %v", dir, err)
		}
		for _, same := range []string{"", regexp.MustCompile("[0-9]").ReplaceAllString(imgcodec.DecoderName(), "7")} { // of a plan of before; another version
			replan(t, plan, same)
			if err := work(); err != nil {
				t.Errorf("%s, planned with %q: %v", dir, same, err)
			}
		}
	}
}

// replan writes the plan in a folder again, as if another decoder had been there.
func replan(t *testing.T, dir, decoder string) {
	t.Helper()
	p, _, err := plan.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if p.Options, err = json.Marshal(map[string]string{"decoder": decoder}); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "plan.json")); err != nil {
		t.Fatal(err)
	}
	if _, err := plan.Write(dir, p); err != nil {
		t.Fatal(err)
	}
}
