package student

import (
	"math"
	"path/filepath"
	"time"

	"facepipe/student/export"
)

// Summary is a run in numbers.
type Summary struct {
	// Steps and Epochs of the whole run, also of what earlier processes did.
	Steps  int `json:"steps"`
	Epochs int `json:"epochs"`
	// Seconds and ImagesPerSecond are of this process; WaitSeconds of them steps waited
	// for their crops.
	Seconds         float64 `json:"seconds"`
	WaitSeconds     float64 `json:"wait_seconds"`
	ImagesPerSecond float64 `json:"images_per_second"`
	// BlockingCallsPerStep counts the calls in a step that return only when the device has come to
	// them; see torch.Engine.BlockingCalls. The processor is counted as if it were a device.
	BlockingCallsPerStep float64 `json:"blocking_calls_per_step"`
	// FinalLoss is the last step's.
	FinalLoss float64 `json:"final_loss"`
	// Parameters is the number of trained values in the student.
	Parameters int    `json:"parameters"`
	ONNX       string `json:"onnx"`
	// ResumedAt is the step that this process went on from, 0 for a fresh run.
	ResumedAt int `json:"resumed_at"`
	// SkippedSteps are those whose gradient or embeddings overflowed, in fp16.
	SkippedSteps int `json:"skipped_steps,omitempty"`
	// BestStep is the step of the best checkpoint, if the run keeps it.
	BestStep   int                `json:"best_step,omitempty"`
	Flip       bool               `json:"flip"`
	Precision  string             `json:"precision"`
	Device     string             `json:"device"`
	Torch      string             `json:"torch"`
	Validation map[string]float64 `json:"validation,omitempty"`
}

func (r *run) modelPath() string { return filepath.Join(r.o.Out, "student.onnx") }

// exportStudent writes the student with what a user must know to run it.
func (r *run) exportStudent() error {
	r.engine.Trim() // a graph is made beside the model
	if !r.world.leads() {
		return nil
	}
	s := r.engine.NewScope()
	defer s.Close()
	m := export.Model{Network: r.model.network, At: r.position(), Averaged: r.model.average != nil}
	err := r.model.withResult(func() (err error) {
		m.Values, err = m.Network.Values(s)
		return err
	})
	if err != nil {
		return err
	}
	form := export.DefaultForm()
	form.InputNorm = r.o.InputNorm
	return m.Write(r.modelPath(), form)
}

// writeSummary sums the run up.
func (r *run) writeSummary() (Summary, error) {
	seconds := time.Since(r.begun).Seconds()
	s := Summary{
		Steps: r.last.Step, Epochs: int(math.Ceil(r.epochs())), Seconds: seconds, WaitSeconds: r.loader.Waited().Seconds(),
		ImagesPerSecond:      float64((r.last.Step-r.resumed)*r.o.Batch*r.o.Accumulate) / seconds,
		BlockingCallsPerStep: float64(r.blocked) / float64(max(r.last.Step-r.resumed, 1)),
		FinalLoss:            r.last.Loss, Parameters: r.model.network.Parameters(), ONNX: r.modelPath(),
		ResumedAt: r.resumed, Flip: r.flip, Precision: r.o.Precision, Device: r.o.Device,
		Torch: r.engine.TorchVersion(), Validation: r.last.Figures,
	}
	if c := r.model.scaler; c != nil {
		s.SkippedSteps = c.Skipped
	}
	if b := r.last.Best; b != nil {
		s.BestStep = b.Step
	}
	if !r.world.leads() {
		return s, nil
	}
	return s, writeJSON(filepath.Join(r.o.Out, "summary.json"), s)
}
