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
	"facepipe/student/torch"
)

// ErrCheckpoint marks a checkpoint that cannot be used: damaged, or of another run.
var ErrCheckpoint = errors.New("unusable checkpoint")

// checkpointVersion is raised when the content of a checkpoint changes meaning.
const checkpointVersion = 1

// position is where in the run a checkpoint was taken.
type position struct {
	Version int     `json:"version"`
	Step    int     `json:"step"` // steps done
	Loss    float64 `json:"loss"` // of the last step
	// Digest is the SHA-256 of the tensors, so that damage is found.
	Digest string `json:"digest"`
}

// Prefixes of the tensors' names in a checkpoint.
const (
	paramPrefix    = "model."
	velocityPrefix = "momentum."
	lossPrefix     = "loss."
)

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

// save writes a checkpoint and drops all but the newest keep.
func (m *model) save(run string, at position, keep int) error {
	s := m.engine.NewScope()
	defer s.Close()
	tensors := map[string]safetensors.Tensor{}
	for _, p := range m.params() {
		tensors[paramPrefix+p.Name] = safetensors.Tensor{Shape: p.Shape, Float32: s.Floats(p.Tensor())}
	}
	for name, v := range m.sgd.Velocities() {
		tensors[velocityPrefix+name] = safetensors.Tensor{Shape: s.Shape(v), Float32: s.Floats(v)}
	}
	for name, a := range m.loss.State(s) {
		tensors[lossPrefix+name] = safetensors.Tensor(a)
	}
	if err := s.Err(); err != nil {
		return fmt.Errorf("read the model for a checkpoint: %w", err)
	}
	at.Version = checkpointVersion
	data, err := seal(tensors, at)
	if err != nil {
		return fmt.Errorf("encode a checkpoint: %w", err)
	}
	if err := os.MkdirAll(checkpointFolder(run), 0o755); err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(checkpointFolder(run), checkpointName(at.Step)), data, 0o444); err != nil {
		return fmt.Errorf("write a checkpoint: %w", err)
	}
	return prune(run, keep)
}

func prune(run string, keep int) error {
	files, err := checkpoints(run)
	if err != nil {
		return err
	}
	for _, old := range files[min(keep, len(files)):] {
		if err := os.Remove(old); err != nil {
			return err
		}
	}
	return nil
}

// seal encodes tensors with their position and digest.
func seal(tensors map[string]safetensors.Tensor, at position) ([]byte, error) {
	var err error
	if at.Digest, err = digest(tensors); err != nil {
		return nil, err
	}
	text, err := json.Marshal(at)
	if err != nil {
		return nil, err
	}
	return safetensors.Marshal(safetensors.File{Tensors: tensors, Metadata: map[string]string{"pipe.position": string(text)}})
}

func digest(tensors map[string]safetensors.Tensor) (string, error) {
	data, err := safetensors.Marshal(safetensors.File{Tensors: tensors})
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), err
}

// readCheckpoint reads and verifies a file.
func readCheckpoint(path string) (map[string]safetensors.Tensor, position, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, position{}, err
	}
	f, err := safetensors.Unmarshal(data)
	if err != nil {
		return nil, position{}, fmt.Errorf("%w: %s: %w", ErrCheckpoint, path, err)
	}
	var at position
	if err := json.Unmarshal([]byte(f.Metadata["pipe.position"]), &at); err != nil {
		return nil, at, fmt.Errorf("%w: %s: no position in it", ErrCheckpoint, path)
	}
	if at.Version != checkpointVersion {
		return nil, at, fmt.Errorf("%w: %s: version %d, this program reads %d", ErrCheckpoint, path, at.Version, checkpointVersion)
	}
	if sum, err := digest(f.Tensors); err != nil || sum != at.Digest {
		return nil, at, fmt.Errorf("%w: %s: damaged (its digest does not fit); delete it to go on from the one before", ErrCheckpoint, path)
	}
	return f.Tensors, at, nil
}

// restore takes a model back to a checkpoint.
func (m *model) restore(path string) (position, error) {
	tensors, at, err := readCheckpoint(path)
	if err != nil {
		return at, err
	}
	s := m.engine.NewScope()
	defer s.Close()
	for _, p := range m.params() {
		if err := m.load(s, p.Tensor(), tensors, paramPrefix+p.Name, p.Shape); err != nil {
			return at, fmt.Errorf("%w: %s: %w", ErrCheckpoint, path, err)
		}
	}
	velocities := m.sgd.Velocities()
	for _, p := range trained(m.params()) {
		if err := m.load(s, velocities[p.Name], tensors, velocityPrefix+p.Name, p.Shape); err != nil {
			return at, fmt.Errorf("%w: %s: %w", ErrCheckpoint, path, err)
		}
	}
	state := loss.State{}
	for name, t := range tensors {
		if inner, ok := strings.CutPrefix(name, lossPrefix); ok {
			state[inner] = loss.Array(t)
		}
	}
	if err := m.loss.Restore(s, state); err != nil {
		return at, fmt.Errorf("%w: %s: %w", ErrCheckpoint, path, err)
	}
	return at, s.Err()
}

func trained(params []*net.Param) []*net.Param {
	return slices.DeleteFunc(slices.Clone(params), func(p *net.Param) bool { return !p.Trained })
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
