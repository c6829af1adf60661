// Package checkpoint keeps the states of a training run: files of named tensors, each with the
// [Position] in the run that it was taken at. A file is in the safetensors format and lies in
// the folder checkpoints of the run's; best.json beside them names the best one. A checkpoint knows
// its step and its run, so that one that was copied over another passes for neither.
package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"facepipe/internal/safetensors"
	"facepipe/student/net"
)

// ErrUnusable marks a checkpoint that cannot be used: damaged, or of another run.
var ErrUnusable = errors.New("unusable checkpoint")

// Version is raised when the content of a checkpoint changes meaning. Version 1 had no
// averages, loss scale or guard; it is read as one of a run without them.
const Version = 2

// Position is where in the run a checkpoint was taken, and what is not a tensor.
type Position struct {
	Version int     `json:"version"`
	Step    int     `json:"step"` // steps done
	Loss    float64 `json:"loss"` // of the last step
	// Digest is the SHA-256 of the tensors, so that damage is found.
	Digest string `json:"digest"`
	// Run is the SHA-256 of the run's run.json, see [RunID]; "" in checkpoints of older versions.
	Run string `json:"run,omitempty"`
	// Lines is how many lines the run's metrics.jsonl had; 0 in checkpoints of older versions.
	Lines int `json:"metrics_lines,omitempty"`

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
	Teacher     string  `json:"teacher,omitempty"`
	Fingerprint string  `json:"teacher_fingerprint,omitempty"`
	Epochs      float64 `json:"epochs,omitempty"`
	// Total is the number of steps of all epochs.
	Total     int    `json:"total_steps,omitempty"`
	Precision string `json:"precision,omitempty"`
	InputNorm string `json:"input_norm,omitempty"`

	// Init is where the weights that the run began with came from, nil if it began at random.
	Init *Origin `json:"init,omitempty"`

	Scaler *Scaler `json:"scaler,omitempty"` // of the loss, in half precision
	// Validated is the step after which the run was scored last, Figures the scores.
	Validated int                `json:"validated,omitempty"`
	Figures   map[string]float64 `json:"figures,omitempty"`
	// Best is the best scored step so far, if the run keeps it.
	Best *Best `json:"best,omitempty"`
}

// Best is the step of a run with the best value of a figure; of two that are equal, the
// earlier one.
type Best struct {
	Step   int     `json:"step"`
	Figure string  `json:"figure"`
	Value  float64 `json:"value"`
}

// Origin is a file whose weights a run began with.
type Origin struct {
	// File is its name without the folder, Digest its SHA-256.
	File   string `json:"file"`
	Digest string `json:"sha256"`
	// Says has what its metadata say of licences and teachers, Training what they say of its
	// training, if pipe wrote it.
	Says     map[string]string `json:"says,omitempty"`
	Training json.RawMessage   `json:"training,omitempty"`
}

// Scaler is the state of the loss scale.
type Scaler struct {
	// Scale is what the loss is multiplied by now.
	Scale float64 `json:"scale"`
	// Good counts the steps since the scale moved, Skipped all that were left out.
	Good    int `json:"good"`
	Skipped int `json:"skipped"`
}

// Prefixes of the tensors' names in a checkpoint, but for the optimizer's, which knows its own
// (package optim), and the name of the only other one.
const (
	ParamPrefix   = "model."
	AveragePrefix = "ema."
	LossPrefix    = "loss."
	GuardName     = "guard.losses"
)

// Weights are the weights in a checkpoint that its run is for, by the names of the network's
// parameters: the averaged ones, where there are such and last does not ask for the last
// step's.
func Weights(tensors map[string]safetensors.Tensor, last bool) (weights map[string]net.Tensor, averaged bool) {
	if weights = withPrefix(tensors, AveragePrefix); len(weights) > 0 && !last {
		return weights, true
	}
	return withPrefix(tensors, ParamPrefix), false
}

func withPrefix(tensors map[string]safetensors.Tensor, prefix string) map[string]net.Tensor {
	weights := map[string]net.Tensor{}
	for name, t := range tensors {
		if inner, ok := strings.CutPrefix(name, prefix); ok {
			weights[inner] = net.Tensor{Shape: t.Shape, Data: t.Float32}
		}
	}
	return weights
}

// checkpointsFolder is the one in a run's.
const checkpointsFolder = "checkpoints"

// Folder is where a run's checkpoints are.
func Folder(run string) string { return filepath.Join(run, checkpointsFolder) }

// Name is what the file of a step is called.
func Name(step int) string { return fmt.Sprintf("step-%09d.safetensors", step) }

// stepOf is the step that a file's name tells; ok is false of a name that is not a checkpoint's.
func stepOf(path string) (step int, ok bool) {
	name := filepath.Base(path)
	_, err := fmt.Sscanf(name, "step-%d.safetensors", &step)
	return step, err == nil && name == Name(step)
}

// List lists the files in a run's folder, newest first.
func List(run string) ([]string, error) {
	entries, err := os.ReadDir(Folder(run))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if _, ok := stepOf(e.Name()); ok {
			names = append(names, filepath.Join(Folder(run), e.Name()))
		}
	}
	slices.Sort(names)
	slices.Reverse(names)
	return names, nil
}

// Newest is the newest checkpoint of the run whose folder path is. A path of anything else is
// returned.
//
// Errors: [ErrUnusable] of a run without checkpoints.
func Newest(path string) (string, error) {
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return path, nil // who reads it says what it is
	}
	files, err := List(path)
	if err != nil {
		return "", err
	}
	if len(files) == 0 {
		return "", fmt.Errorf("%w: %s has no checkpoints", ErrUnusable, path)
	}
	return files[0], nil
}
