package student

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"facepipe/internal/durable"
	"facepipe/student/data"
)

// manifest is run.json: what a run is. A resumed run must be the same.
type manifest struct {
	Options Options `json:"options"`
	// Dataset and TeacherFingerprint identify the data.
	Dataset            string `json:"dataset_digest"`
	TeacherFingerprint string `json:"teacher_fingerprint,omitempty"`
	// Init is the digest of the file whose weights the run began with.
	Init  string `json:"init,omitempty"`
	Flip  bool   `json:"flip"`
	Crops int    `json:"crops"`
}

// claim writes run.json, or compares it with the one of the run to resume.
func (r *run) claim() error {
	path := filepath.Join(r.o.Out, "run.json")
	text, err := json.MarshalIndent(r.manifest, "", "  ")
	if err != nil {
		return err
	}
	text = append(text, '\n')
	before, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		if err := r.writeConfig(); err != nil {
			return err
		}
		return durable.WriteFile(path, text, 0o644)
	}
	if err != nil {
		return err
	}
	if !r.o.Resume {
		return fmt.Errorf("%w: %s holds a run already: add --resume to go on with it, or choose another --out", ErrUsage, r.o.Out)
	}
	var was manifest
	if err := json.Unmarshal(before, &was); err == nil && was.Dataset != r.manifest.Dataset {
		return fmt.Errorf("%w: the run in %s: %w", ErrUsage, r.o.Out, grown(was.Dataset, was.Crops, &r.manifest))
	}
	if key := firstDifference(before, text); key != "" {
		return fmt.Errorf("%w: the run in %s was started with another %s; resume with the same settings and data, or choose another --out", ErrUsage, r.o.Out, key)
	}
	return r.writeConfig()
}

// grown says that a dataset is not the one that a run began with.
func grown(digest string, crops int, now *manifest) error {
	what := "the dataset is another"
	if now.Crops > crops {
		what = "the dataset grew since"
	}
	return fmt.Errorf("%s: it was %s with %d crops to train on, now it is %s with %d; go on with the old one, or begin a run in another --out",
		what, digest, crops, now.Dataset, now.Crops)
}

// firstDifference names a key, such as options.lr, whose values differ in two JSON
// objects; "" if they agree.
func firstDifference(a, b []byte) string {
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return "run.json"
	}
	return differentKey("", x, y)
}

func differentKey(path string, x, y any) string {
	m, ok := x.(map[string]any)
	n, also := y.(map[string]any)
	if !ok || !also {
		if fmt.Sprint(x) == fmt.Sprint(y) {
			return ""
		}
		return path[min(1, len(path)):]
	}
	for key := range n {
		if _, ok := m[key]; !ok {
			m[key] = nil
		}
	}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if d := differentKey(path+"."+key, m[key], n[key]); d != "" {
			return d
		}
	}
	return ""
}

// recorded is what run.json has of the options: one that asks for what a run does
// anyway has no key, as in runs of before there was a choice.
func (o Options) recorded() Options {
	if o.Accumulate == 1 {
		o.Accumulate = 0
	}
	if o.Sampler == data.Uniform {
		o.Sampler, o.PerIdentity = "", 0
	}
	return o
}
