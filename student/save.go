package student

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"facepipe/internal/safetensors"
	"facepipe/student/checkpoint"
	"facepipe/student/loss"
	"facepipe/student/net/layer"
	"facepipe/student/optim"
	"facepipe/student/torch"
)

// save writes a checkpoint. Of several ranks the first does so for all.
func (r *run) save() error {
	if err := r.settle(); err != nil {
		return err
	}
	if !r.world.leads() {
		return nil
	}
	s := r.model.engine.NewScope()
	defer s.Close()
	tensors := append(r.model.sources(s), safetensors.Of(checkpoint.GuardName, safetensors.Tensor{
		Shape: []int{len(r.guard.recent)}, Float64: r.guard.state()}))
	if err := s.Err(); err != nil {
		return fmt.Errorf("read the model for a checkpoint: %w", err)
	}
	if err := r.metrics.sync(); err != nil {
		return err
	}
	return checkpoint.Save(r.o.Out, tensors, r.position(), r.o.KeepCheckpoints)
}

// position is where the run is.
func (r *run) position() checkpoint.Position {
	at := r.last
	at.Network, at.Size, at.Objective = r.o.Network, r.model.network.Config, r.o.Loss.Canonical()
	at.Dataset, at.CropsDigest, at.Crops = r.manifest.Dataset, r.manifest.CropsDigest, r.manifest.Crops
	at.Ranks, at.Scaler = r.world.ranks(), (*checkpoint.Scaler)(r.model.scaler)
	at.Teacher, at.Fingerprint, at.Epochs = string(r.o.Teacher), r.manifest.TeacherFingerprint, r.epochs()
	at.Precision, at.InputNorm, at.Total = r.o.Precision, r.o.InputNorm, r.schedule.Total
	at.Init, at.Run, at.Lines = cmp.Or(at.Init, r.origin), r.id, r.metrics.count()
	return at
}

// kept is a tensor of the model that checkpoints have.
type kept struct {
	name   string
	shape  []int
	tensor torch.Tensor
}

// kept lists what a checkpoint has of the model, but for the loss's state.
func (m *model) kept() []kept {
	var list []kept
	for _, p := range m.params() {
		list = append(list, kept{checkpoint.ParamPrefix + p.Name, p.Shape, p.Tensor()})
		list = append(list, ofOptimizer(m.optimizer.State(p))...)
	}
	list = append(list, ofOptimizer(m.optimizer.State(nil))...)
	if m.average != nil {
		for i, p := range m.average.params {
			list = append(list, kept{checkpoint.AveragePrefix + p.Name, p.Shape, m.average.values[i]})
		}
	}
	return list
}

func ofOptimizer(state []optim.Kept) (list []kept) {
	for _, k := range state {
		list = append(list, kept{k.Name, k.Shape, k.Tensor})
	}
	return list
}

// sources are the model's tensors. Those in the engine are copied one at a time.
func (m *model) sources(s *torch.Scope) []safetensors.Source {
	var list []safetensors.Source
	for _, k := range m.kept() {
		list = append(list, safetensors.Source{Name: k.name, DType: "F32", Shape: k.shape, Fetch: func() (safetensors.Tensor, error) {
			s := m.engine.NewScope()
			defer s.Close()
			return safetensors.Tensor{Shape: k.shape, Float32: s.Floats(k.tensor)}, s.Err()
		}})
	}
	for name, a := range m.loss.State(s) {
		list = append(list, safetensors.Of(checkpoint.LossPrefix+name, safetensors.Tensor(a)))
	}
	return list
}

// restore takes a run back to a checkpoint.
func (r *run) restore(path string) error {
	tensors, at, err := checkpoint.Read(path)
	if err != nil {
		return checkpoint.WithRemedy(err, path)
	}
	if err := r.belongs(at); err != nil {
		return fmt.Errorf("%w: %s: %w", checkpoint.ErrUnusable, path, err)
	}
	if err := r.model.restore(tensors); err != nil {
		return fmt.Errorf("%w: %s: %w", checkpoint.ErrUnusable, path, err)
	}
	if at.Scaler != nil && r.model.scaler != nil {
		*r.model.scaler = scaler(*at.Scaler)
	}
	r.guard.restore(tensors[checkpoint.GuardName].Float64)
	r.last = at
	return nil
}

// belongs reports what a checkpoint was taken of, if that is not this run. One of
// version 1 does not say.
func (r *run) belongs(at checkpoint.Position) error {
	if at.Version < 2 {
		return nil
	}
	if err := r.lostRunFile(at); err != nil {
		return err
	}
	if n := r.model.network; at.Network != n.Name || at.Size != n.Config {
		return fmt.Errorf("it is of another network, %s with %+v; this run trains %s with %+v", at.Network, at.Size, n.Name, n.Config)
	}
	if own := r.o.Loss.Canonical(); at.Objective != own {
		return fmt.Errorf("it was trained with loss %s, this run has %s", at.Objective, own)
	}
	if !sameCrops(at.Dataset, at.CropsDigest, &r.manifest) {
		return grown(at.Dataset, at.CropsDigest, at.Crops, &r.manifest)
	}
	return nil
}

// lostRunFile tells of a run that lost its run.json, and reports if it is not the one that these
// settings make.
func (r *run) lostRunFile(at checkpoint.Position) error {
	if r.found != nil {
		return nil
	}
	if _, err := r.runFile(); err != nil {
		return err
	}
	path := checkpoint.RunFile(r.o.Out)
	if at.Run != "" && at.Run != r.id {
		return fmt.Errorf("%s is missing, and the run was begun with other settings or data than these: give those of its distill.yaml (--config), or put run.json back", path)
	}
	fmt.Fprintf(r.progress, "warning: %s was missing: it is made anew\n", path)
	return nil
}

// restore takes a model back to a checkpoint's tensors.
func (m *model) restore(tensors map[string]safetensors.Tensor) error {
	s := m.engine.NewScope()
	defer s.Close()
	for _, k := range m.kept() {
		t, ok := tensors[k.name]
		if !ok {
			return fmt.Errorf("it has no %s: it is of another network, optimizer or loss", k.name)
		}
		if !slices.Equal(t.Shape, k.shape) {
			return fmt.Errorf("%s has shape %v, the model's has %v", k.name, t.Shape, k.shape)
		}
		m.engine.NoGrad(func() { s.Copy(k.tensor, torch.FromData(s, m.device, t.Float32, t.Shape...)) })
		if err := s.Err(); err != nil {
			return err
		}
	}
	state := loss.State{}
	for name, t := range tensors {
		if inner, ok := strings.CutPrefix(name, checkpoint.LossPrefix); ok {
			state[inner] = loss.Array(t)
		}
	}
	if err := m.loss.Restore(s, state); err != nil {
		return err
	}
	return s.Err()
}

// trained are the parameters that gradients move.
func trained(params []*layer.Param) []*layer.Param {
	return slices.DeleteFunc(slices.Clone(params), func(p *layer.Param) bool { return !p.Trained })
}
