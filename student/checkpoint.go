package student

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"facepipe/internal/durable"
	"facepipe/internal/safetensors"
	"facepipe/student/loss"
	"facepipe/student/net"
	"facepipe/student/net/layer"
	"facepipe/student/torch"
)

// ErrCheckpoint marks a checkpoint that cannot be used: damaged, or of another run.
var ErrCheckpoint = errors.New("unusable checkpoint")

// checkpointVersion is raised when the content of a checkpoint changes meaning. Version
// 1 had no averages, loss scale or guard; it is read as one of a run without them.
const checkpointVersion = 2

// position is where in the run a checkpoint was taken, and what is not a tensor.
type position struct {
	Version int     `json:"version"`
	Step    int     `json:"step"` // steps done
	Loss    float64 `json:"loss"` // of the last step
	// Digest is the SHA-256 of the tensors, so that damage is found.
	Digest string `json:"digest"`

	// Network, Size and Objective (the loss) say what the tensors belong to; Dataset is
	// the digest of what they were trained on, CropsDigest that of what of it matters,
	// Crops its number of rows.
	Network     string     `json:"network,omitempty"`
	Size        net.Config `json:"size,omitzero"`
	Objective   string     `json:"objective,omitempty"`
	Dataset     string     `json:"dataset,omitempty"`
	CropsDigest string     `json:"crops_digest,omitempty"`
	Crops       int        `json:"crops,omitempty"`
	// Ranks took the steps since the checkpoint before.
	Ranks int `json:"ranks,omitempty"`
	// Teacher (with its fingerprint), Epochs, Precision and InputNorm are the run's, for
	// what is exported of the checkpoint.
	Teacher     string `json:"teacher,omitempty"`
	Fingerprint string `json:"teacher_fingerprint,omitempty"`
	Epochs      int    `json:"epochs,omitempty"`
	Precision   string `json:"precision,omitempty"`
	InputNorm   string `json:"input_norm,omitempty"`

	Scaler *scaler `json:"scaler,omitempty"` // of the loss, in half precision
	// Validated is the step after which the run was scored last, Figures the scores.
	Validated int                `json:"validated,omitempty"`
	Figures   map[string]float64 `json:"figures,omitempty"`
	// Best is the best scored step so far, if the run keeps it.
	Best *best `json:"best,omitempty"`
}

// best is the step of a run with the best value of a figure; of two that are equal, the
// earlier one.
type best struct {
	Step   int     `json:"step"`
	Figure string  `json:"figure"`
	Value  float64 `json:"value"`
}

// Prefixes of the tensors' names in a checkpoint.
const (
	paramPrefix    = "model."
	velocityPrefix = "momentum."
	averagePrefix  = "ema."
	lossPrefix     = "loss."
	guardName      = "guard.losses"
)

// positionKey is that of the position in a checkpoint's metadata.
const positionKey = "pipe.position"

func checkpointFolder(run string) string { return filepath.Join(run, "checkpoints") }

func checkpointName(step int) string { return fmt.Sprintf("step-%09d.safetensors", step) }

// checkpoints lists the files in a run's folder, newest first.
func checkpoints(run string) ([]string, error) {
	entries, err := os.ReadDir(checkpointFolder(run))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "step-") && strings.HasSuffix(e.Name(), ".safetensors") {
			names = append(names, filepath.Join(checkpointFolder(run), e.Name()))
		}
	}
	slices.Sort(names)
	slices.Reverse(names)
	return names, nil
}

// newestCheckpoint is the newest one of the run whose folder path is; a path of anything
// else is returned.
func newestCheckpoint(path string) (string, error) {
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return path, nil // who reads it says what it is
	}
	files, err := checkpoints(path)
	if err != nil {
		return "", err
	}
	if len(files) == 0 {
		return "", fmt.Errorf("%w: %s has no checkpoints", ErrCheckpoint, path)
	}
	return files[0], nil
}

// save writes a checkpoint, says which one is the best, and drops those that are
// neither that nor among the newest. Of several ranks the first does so for all.
func (r *run) save() error {
	if !r.world.leads() {
		return nil
	}
	s := r.model.engine.NewScope()
	defer s.Close()
	tensors := append(r.model.sources(s), safetensors.Of(guardName, safetensors.Tensor{
		Shape: []int{len(r.guard.recent)}, Float64: r.guard.state()}))
	if err := s.Err(); err != nil {
		return fmt.Errorf("read the model for a checkpoint: %w", err)
	}
	if err := r.metrics.sync(); err != nil {
		return err
	}
	at := r.position()
	folder := checkpointFolder(r.o.Out)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	if err := writeCheckpoint(filepath.Join(folder, checkpointName(at.Step)), tensors, at); err != nil {
		return fmt.Errorf("write a checkpoint: %w", err)
	}
	if err := noteBest(r.o.Out, at.Best); err != nil {
		return err
	}
	return prune(r.o.Out, r.o.KeepCheckpoints, at.Best)
}

// position is where the run is.
func (r *run) position() position {
	at := r.last
	at.Network, at.Size, at.Objective = r.o.Network, r.model.network.Config, r.o.Loss.Name
	at.Dataset, at.CropsDigest, at.Crops = r.manifest.Dataset, r.manifest.CropsDigest, r.manifest.Crops
	at.Ranks, at.Scaler = r.world.ranks(), r.model.scaler
	at.Teacher, at.Fingerprint, at.Epochs = r.o.Teacher, r.manifest.TeacherFingerprint, r.o.Epochs
	at.Precision, at.InputNorm = r.o.Precision, r.o.InputNorm
	return at
}

// sources are the model's tensors. Those in the engine are copied one at a time.
func (m *model) sources(s *torch.Scope) []safetensors.Source {
	var list []safetensors.Source
	add := func(name string, shape []int, t torch.Tensor) {
		list = append(list, safetensors.Source{Name: name, DType: "F32", Shape: shape, Fetch: func() (safetensors.Tensor, error) {
			s := m.engine.NewScope()
			defer s.Close()
			return safetensors.Tensor{Shape: shape, Float32: s.Floats(t)}, s.Err()
		}})
	}
	for _, p := range m.params() {
		add(paramPrefix+p.Name, p.Shape, p.Tensor())
	}
	for name, v := range m.sgd.Velocities() {
		add(velocityPrefix+name, s.Shape(v), v)
	}
	if m.average != nil {
		for i, p := range m.average.params {
			add(averagePrefix+p.Name, p.Shape, m.average.values[i])
		}
	}
	for name, a := range m.loss.State(s) {
		list = append(list, safetensors.Of(lossPrefix+name, safetensors.Tensor(a)))
	}
	return list
}

// bestPath is the file that names the best checkpoint, for people and programs that
// look for it. It is derived: the newest checkpoint knows better.
func bestPath(run string) string { return filepath.Join(checkpointFolder(run), "best.json") }

// bestFile is the content of best.json.
type bestFile struct {
	File string `json:"file"`
	best
}

// noteBest writes best.json, or removes it where no checkpoint is the best.
func noteBest(run string, b *best) error {
	path := bestPath(run)
	if b != nil {
		if _, err := os.Stat(filepath.Join(checkpointFolder(run), checkpointName(b.Step))); err == nil {
			text, err := json.Marshal(bestFile{checkpointName(b.Step), *b})
			if err != nil {
				return err
			}
			return durable.WriteFile(path, append(text, '\n'), 0o644)
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func prune(run string, keep int, b *best) error {
	files, err := checkpoints(run)
	if err != nil {
		return err
	}
	for _, old := range files[min(keep, len(files)):] {
		if b != nil && filepath.Base(old) == checkpointName(b.Step) {
			continue
		}
		if err := os.Remove(old); err != nil {
			return err
		}
	}
	return nil
}

// writeCheckpoint puts tensors with their position and digest into a file. The tensors
// are fetched twice, for the digest and for the file, and never all at once.
func writeCheckpoint(path string, tensors []safetensors.Source, at position) error {
	var err error
	if at.Digest, err = digest(tensors); err != nil {
		return err
	}
	at.Version = max(at.Version, checkpointVersion)
	text, err := json.Marshal(at)
	if err != nil {
		return err
	}
	w, err := durable.Create(path)
	if err != nil {
		return err
	}
	if err := safetensors.Write(w, tensors, map[string]string{positionKey: string(text)}); err != nil {
		return errors.Join(err, w.Abort())
	}
	return w.Commit()
}

// digest is the SHA-256 of a file of the tensors without metadata.
func digest(tensors []safetensors.Source) (string, error) {
	h := sha256.New()
	err := safetensors.Write(h, tensors, nil)
	return hex.EncodeToString(h.Sum(nil)), err
}

// readCheckpoint reads and verifies a file.
func readCheckpoint(path string) (map[string]safetensors.Tensor, position, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, position{}, err
	}
	return parseCheckpoint(path, data)
}

// parseCheckpoint verifies the content of the file at path.
func parseCheckpoint(path string, data []byte) (map[string]safetensors.Tensor, position, error) {
	f, err := safetensors.Unmarshal(data)
	switch {
	case errors.Is(err, safetensors.ErrTruncated):
		return nil, position{}, damage{fmt.Errorf("%w: %s: %w", ErrCheckpoint, path, err)}
	case err != nil:
		return nil, position{}, damage{fmt.Errorf("%w: %s is no checkpoint: %w", ErrCheckpoint, path, err)}
	}
	var at position
	if err := json.Unmarshal([]byte(f.Metadata[positionKey]), &at); err != nil {
		return nil, at, fmt.Errorf("%w: %s is no checkpoint: it does not say of which step of a run it is", ErrCheckpoint, path)
	}
	if at.Version > checkpointVersion {
		return nil, at, fmt.Errorf("%w: %s: written by a newer pipe (version %d, this one reads up to %d)", ErrCheckpoint, path, at.Version, checkpointVersion)
	}
	if sum, err := digest(safetensors.Sources(f.Tensors)); err != nil || sum != at.Digest {
		return nil, at, damage{fmt.Errorf("%w: %s: damaged (its digest does not fit)", ErrCheckpoint, path)}
	}
	return f.Tensors, at, nil
}

// damage is what is wrong with a checkpoint that was another when it was written.
type damage struct{ error }

func (d damage) Unwrap() error { return d.error }

// remedy says how a run can go on without a damaged checkpoint. Nothing does it by itself: an
// older one that is taken in silence would hide the loss.
func remedy(path string) string {
	files, err := checkpoints(filepath.Dir(filepath.Dir(path)))
	if err != nil {
		return "delete it"
	}
	for _, f := range files {
		if f < path {
			return "delete it to go on from the one before, " + filepath.Base(f)
		}
	}
	return "there is none before it: delete it to begin anew"
}

// restore takes a run back to a checkpoint.
func (r *run) restore(path string) error {
	tensors, at, err := readCheckpoint(path)
	if errors.As(err, new(damage)) {
		return fmt.Errorf("%w; %s", err, remedy(path))
	}
	if err != nil {
		return err
	}
	if err := r.belongs(at); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrCheckpoint, path, err)
	}
	if err := r.model.restore(tensors); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrCheckpoint, path, err)
	}
	if at.Scaler != nil && r.model.scaler != nil {
		*r.model.scaler = *at.Scaler
	}
	r.guard.restore(tensors[guardName].Float64)
	r.last = at
	return nil
}

// belongs reports what a checkpoint was taken of, if that is not this run. One of
// version 1 does not say.
func (r *run) belongs(at position) error {
	if at.Version < 2 {
		return nil
	}
	if n := r.model.network; at.Network != n.Name || at.Size != n.Config {
		return fmt.Errorf("it is of another network, %s with %+v; this run trains %s with %+v", at.Network, at.Size, n.Name, n.Config)
	}
	if at.Objective != r.o.Loss.Name {
		return fmt.Errorf("it was trained with loss %s, this run has %s", at.Objective, r.o.Loss.Name)
	}
	if !sameCrops(at.Dataset, at.CropsDigest, &r.manifest) {
		return grown(at.Dataset, at.CropsDigest, at.Crops, &r.manifest)
	}
	return nil
}

// restore takes a model back to a checkpoint's tensors.
func (m *model) restore(tensors map[string]safetensors.Tensor) error {
	s := m.engine.NewScope()
	defer s.Close()
	for _, p := range m.params() {
		if err := m.load(s, p.Tensor(), tensors, paramPrefix+p.Name, p.Shape); err != nil {
			return err
		}
	}
	velocities := m.sgd.Velocities()
	for _, p := range trained(m.params()) {
		if err := m.load(s, velocities[p.Name], tensors, velocityPrefix+p.Name, p.Shape); err != nil {
			return err
		}
	}
	if m.average != nil {
		for i, p := range m.average.params {
			if err := m.load(s, m.average.values[i], tensors, averagePrefix+p.Name, p.Shape); err != nil {
				return err
			}
		}
	}
	state := loss.State{}
	for name, t := range tensors {
		if inner, ok := strings.CutPrefix(name, lossPrefix); ok {
			state[inner] = loss.Array(t)
		}
	}
	if err := m.loss.Restore(s, state); err != nil {
		return err
	}
	return s.Err()
}

func trained(params []*layer.Param) []*layer.Param {
	return slices.DeleteFunc(slices.Clone(params), func(p *layer.Param) bool { return !p.Trained })
}

// load overwrites a tensor of the model with one of a checkpoint.
func (m *model) load(s *torch.Scope, into torch.Tensor, from map[string]safetensors.Tensor, name string, shape []int) error {
	t, ok := from[name]
	if !ok {
		return fmt.Errorf("it has no %s: it is of another network or loss", name)
	}
	if !slices.Equal(t.Shape, shape) {
		return fmt.Errorf("%s has shape %v, the model's has %v", name, t.Shape, shape)
	}
	m.engine.NoGrad(func() { s.Copy(into, torch.FromData(s, m.device, t.Float32, t.Shape...)) })
	return s.Err()
}
