package student

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"facepipe/internal/durable"
	"facepipe/internal/seal"
	"facepipe/store"
	"facepipe/student/checkpoint"
	"facepipe/student/data"
	"facepipe/student/optim"
)

// manifestVersion is raised when the content of run.json changes meaning. Before version 2,
// which had no number, a setting of a loss that is 0 stands for its default. Before version 3
// no setting depended on the run.
const manifestVersion = 3

// manifest is run.json: what a run is. A resumed run must be the same.
type manifest struct {
	Version int `json:"version,omitempty"`
	// Options are settled, except in runs of older versions.
	Options Options `json:"options"`
	// Dataset and TeacherFingerprint identify the data. CropsDigest is what of the
	// dataset training depends on; runs of older versions do not have it.
	Dataset            string `json:"dataset_digest"`
	CropsDigest        string `json:"crops_digest,omitempty"`
	TeacherFingerprint string `json:"teacher_fingerprint,omitempty"`
	// Init is the digest of the file whose weights the run began with.
	Init string `json:"init,omitempty"`
	// IdentityVectors are the sources of the vectors that losses compare with, and what
	// identifies each.
	IdentityVectors map[string]string `json:"identity_vectors,omitempty"`
	// Neighbours identify, by the teachers' names, the neighbours that losses compare with.
	Neighbours map[string]string `json:"neighbours,omitempty"`

	// Exclude is what of the dataset was not trained on; nil without lists.
	Exclude *excludedRows `json:"exclude,omitempty"`

	Flip  bool `json:"flip"`
	Crops int  `json:"crops"`

	// text is that of the file it was read from, and sealed whether that carries its digest, as
	// those of older versions do not.
	text   []byte
	sealed bool
}

// readManifest is the run.json of a run's folder, nil if there is none.
//
// Errors: [store.ErrDamaged].
func readManifest(run string) (*manifest, error) {
	path := checkpoint.RunFile(run)
	text, sealed, err := checkpoint.ReadRunFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var m struct {
		manifest
		Seal string `json:"seal"`
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields() // a setting that is not known cannot be compared
	err = d.Decode(&m)
	switch {
	case m.Version > manifestVersion:
		return nil, fmt.Errorf("%s is of a newer pipe (version %d, this one reads up to %d)", path, m.Version, manifestVersion)
	case err != nil && sealed:
		return nil, fmt.Errorf("%s is of a newer pipe: %w", path, err)
	case err != nil:
		return nil, checkpoint.DamagedRunFile(path, err)
	case m.Version < 2:
		m.Options.Loss.ForgetZeros()
	}
	if m.Version < 3 {
		m.Options.Loss = m.Options.Loss.Earlier()
	}
	m.text, m.sealed = text, sealed
	return &m.manifest, nil
}

// lockFolder makes and locks the run's folder. Unlocking it removes a folder that was made for
// a run that did not begin.
func (r *run) lockFolder(context.Context) error {
	if store.IsDataset(r.o.Out) {
		return fmt.Errorf("%w: out %s is a dataset: name a folder for the run", ErrUsage, r.o.Out)
	}
	if !r.world.leads() {
		return nil
	}
	_, err := os.Stat(r.o.Out)
	made := errors.Is(err, os.ErrNotExist)
	if err := os.MkdirAll(r.o.Out, 0o755); err != nil {
		return err
	}
	path := filepath.Join(r.o.Out, ".lock")
	lock, err := durable.TryLock(path)
	if err != nil {
		return fmt.Errorf("train into %s: %w", r.o.Out, err)
	}
	r.unlock = func() {
		if made && !r.taken {
			_ = os.Remove(path)    // it is in nobody's way
			_ = os.Remove(r.o.Out) // not if something is in it
		}
		_ = lock.Unlock()
	}
	return nil
}

// readExisting looks at the run that the folder holds, before anything else is asked of the
// dataset: one that has grown since lacks much, but that is not what is wrong.
func (r *run) readExisting(context.Context) (err error) {
	r.manifest.Version = manifestVersion
	r.manifest.Dataset, r.manifest.CropsDigest = r.ds.Digest(), r.ds.CropsDigest()
	if r.found, err = readManifest(r.o.Out); err != nil || !r.world.leads() {
		return err
	}
	files, err := checkpoint.List(r.o.Out)
	if err != nil {
		return err
	}
	if (r.found != nil || len(files) > 0) && !r.o.Resume {
		return fmt.Errorf("%w: %s holds a run already: add --resume to go on with it, or choose another --out", ErrUsage, r.o.Out)
	}
	if r.found == nil || sameCrops(r.found.Dataset, r.found.CropsDigest, &r.manifest) {
		return nil
	}
	if r.manifest.Crops = r.ds.Rows(); r.o.Split != "" {
		rows, err := r.ds.SplitRows(r.o.Split)
		if err != nil {
			return err
		}
		r.manifest.Crops = len(rows)
	}
	if was := r.found.Exclude; was != nil {
		r.manifest.Crops -= was.Crops
	}
	r.manifest.Crops = data.Share(r.manifest.Crops, r.o.Fraction)
	return fmt.Errorf("%w: the run in %s: %w", ErrUsage, r.o.Out, grown(r.found.Dataset, r.found.CropsDigest, r.found.Crops, &r.manifest))
}

// sameCrops is whether a run that noted these digests was trained on the crops of now.
// Older versions noted no digest of the crops.
func sameCrops(dataset, crops string, now *manifest) bool {
	if crops == "" {
		return dataset == now.Dataset
	}
	return crops == now.CropsDigest
}

// grown says that a dataset is not the one that a run began with.
func grown(dataset, digest string, crops int, now *manifest) error {
	what := "the dataset is another"
	switch {
	case now.Crops > crops:
		what = "the dataset grew since"
	case now.Crops == crops && digest == "":
		what += ", or only what it rejected is (a run of this older pipe does not tell)"
	}
	return fmt.Errorf("%s: it was %s with %d crops to train on, now it is %s with %d; go on with the old one, or begin a run in another --out",
		what, dataset, crops, now.Dataset, now.Crops)
}

// refuseOtherSettings does not go on with the run that the folder holds as another.
func (r *run) refuseOtherSettings(context.Context) error {
	if r.found == nil || !r.world.leads() {
		return nil
	}
	was := *r.found
	var err error
	if was.Options, err = was.Options.settled(was.Flip); err != nil {
		return fmt.Errorf("%s: %w", checkpoint.RunFile(r.o.Out), err)
	}
	was.Options = was.Options.recorded()
	// What was rejected may differ, and the others follow from what is compared.
	was.Version, was.Dataset, was.CropsDigest = r.manifest.Version, r.manifest.Dataset, r.manifest.CropsDigest
	was.Flip, was.Crops = r.manifest.Flip, r.manifest.Crops
	was.IdentityVectors, was.Neighbours = r.manifest.IdentityVectors, r.manifest.Neighbours // compared when they are read
	// A run may go on on another device, and older versions noted nothing of it.
	if none := (CUDAOptions{}); was.Options.CUDA == none || r.manifest.Options.CUDA == none {
		was.Options.CUDA = r.manifest.Options.CUDA
	}
	before, err := json.Marshal(was)
	if err != nil {
		return err
	}
	now, err := json.Marshal(r.manifest)
	if err != nil {
		return err
	}
	if key := firstDifference(before, now); key != "" {
		return fmt.Errorf("%w: the run in %s was started with another %s; resume with the same settings and data, or choose another --out", ErrUsage, r.o.Out, key)
	}
	return nil
}

// takeFolder makes the folder this run's: from here on it is to be resumed. That is not before
// all that can refuse the settings has let them pass, and before the first step. run.json
// comes last: a folder without it holds no run. What a killed process left is removed.
func (r *run) takeFolder(context.Context) error {
	if !r.world.leads() {
		return nil
	}
	r.taken = true
	if err := r.writeConfig(); err != nil {
		return err
	}
	if err := r.settleRunFile(); err != nil {
		return err
	}
	if err := durable.NoLinks(r.o.Out, filepath.Base(checkpoint.Folder(r.o.Out))); err != nil {
		return err
	}
	for _, folder := range []string{r.o.Out, checkpoint.Folder(r.o.Out)} {
		if err := durable.RemoveTemps(folder); err != nil {
			return err
		}
	}
	if err := checkpoint.NoteBest(r.o.Out, r.last.Best); err != nil {
		return err
	}
	return errors.Join(forgetDiagnosis(r.o.Out), r.forgetSummary())
}

// forgetSummary removes the summary of a finished run that is to go on, since a checkpoint was lost.
func (r *run) forgetSummary() error {
	if r.last.Step == r.schedule.Total {
		return nil
	}
	if err := os.Remove(summaryPath(r.o.Out)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// settleRunFile leaves a sealed run.json in the folder. One that is there stays as it is: those of
// older versions get a seal.
func (r *run) settleRunFile() error {
	text, err := r.runFile()
	if err != nil || r.found != nil && r.found.sealed {
		return err
	}
	path := checkpoint.RunFile(r.o.Out)
	if r.found != nil {
		fmt.Fprintf(r.progress, "%s is of an older pipe and carries no digest: whether it is what was written cannot be told; from now on it does\n", path)
	}
	return durable.WriteFile(path, text, 0o644)
}

// runFile is the text of the run.json that the folder has, or is to have; of it the run has its id.
func (r *run) runFile() (text []byte, err error) {
	if r.found != nil {
		text = r.found.sealedText()
	} else {
		text, err = seal.Encode(r.manifest)
	}
	r.id = checkpoint.RunID(text)
	return text, err
}

// sealedText is the text that was read, with a seal.
func (m *manifest) sealedText() []byte {
	if m.sealed {
		return m.text
	}
	return seal.Close(m.text)
}

// writeJSON writes a file that says something in short, with a seal.
func writeJSON(path string, v any) error {
	text, err := seal.Encode(v)
	if err != nil {
		return err
	}
	return durable.WriteFile(path, text, 0o644)
}

// firstDifference names a key, such as options.lr, whose values differ in two JSON
// objects; "" if they agree.
func firstDifference(a, b []byte) string {
	x, err := digits(a)
	y, err2 := digits(b)
	if err != nil || err2 != nil {
		return "run.json"
	}
	return differentKey("", x, y)
}

// digits decodes JSON with the numbers as they are written: a float64 does not tell all
// seeds apart.
func digits(text []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	err = d.Decode(&v)
	return v, err
}

func differentKey(path string, x, y any) string {
	m, ok := x.(map[string]any)
	n, also := y.(map[string]any)
	if !ok || !also {
		if fmt.Sprint(x) == fmt.Sprint(y) {
			return ""
		}
		return path[min(1, len(path)):] + values(x, y)
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

// values are those of a key before and now, in brackets, if both are short.
func values(before, now any) string {
	text := fmt.Sprintf(" (%v, now %v)", before, now)
	if before == nil || now == nil || len(text) > 160 {
		return ""
	}
	return text
}

// recorded is what run.json has of the options: one that asks for what a run does
// anyway has no key, as in runs of before there was a choice.
func (o Options) recorded() Options {
	if o.Accumulate == 1 {
		o.Accumulate = 0
	}
	if o.Fraction == 1 {
		o.Fraction = 0
	}
	if o.Sampler == data.Uniform {
		o.Sampler, o.PerIdentity = "", 0
	}
	if o.Optimizer.Name == optim.SGDName {
		o.Optimizer.Name, o.Optimizer.AdamWConfig = "", optim.AdamWConfig{}
	}
	return o
}
