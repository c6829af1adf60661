package ort

import (
	"errors"
	"fmt"
	"runtime"

	yalue "github.com/yalue/onnxruntime_go"
)

// Binding is a session with the tensors that it runs on. They are bound once and run on again
// and again, without an allocation on the processor. One run at a time.
type Binding struct {
	session *Session
	binding *yalue.IoBinding
	// The runtime has only the elements' addresses, which the garbage collector does not see.
	inputs, outputs []*Tensor
}

// Bind binds the tensors of all inputs and outputs, in the model's order. A nil output is not
// computed. Close the binding first, then the tensors, then the session.
func (s *Session) Bind(inputs, outputs []*Tensor) (*Binding, error) {
	if len(inputs) != len(s.inputs) || len(outputs) != len(s.outputs) {
		return nil, fmt.Errorf("bind %s: %d inputs and %d outputs, want %d and %d", s.path, len(inputs), len(outputs), len(s.inputs), len(s.outputs))
	}
	b := &Binding{session: s, inputs: inputs, outputs: outputs}
	var err error
	if b.binding, err = s.session.CreateIoBinding(); err != nil {
		return nil, fmt.Errorf("bind %s: %s", s.path, firstLine(err))
	}
	if err := b.bind(); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

func (b *Binding) bind() error {
	for i, t := range b.outputs {
		if t == nil {
			continue
		}
		if err := b.binding.BindOutput(b.session.outputs[i].Name, t.value); err != nil {
			return fmt.Errorf("bind %s: %s", b.session.path, firstLine(err))
		}
	}
	if b.session.copiesInputs {
		return nil
	}
	return b.bindInputs()
}

func (b *Binding) bindInputs() error {
	for i, t := range b.inputs {
		if err := b.binding.BindInput(b.session.inputs[i].Name, t.value); err != nil {
			return fmt.Errorf("bind %s: %s", b.session.path, firstLine(err))
		}
	}
	return nil
}

// Run computes the outputs for the inputs' present values. A tensor whose shape the model does
// not take is an error.
func (b *Binding) Run() error {
	if b.session.copiesInputs {
		// A device copies an input when it is bound, not when it is run on. Bound only once,
		// it would embed the first batch for ever.
		if err := b.bindInputs(); err != nil {
			return err
		}
		defer b.binding.ClearBoundInputs() // or each binding would hold memory of the device
	}
	err := b.session.session.RunWithBinding(b.binding)
	runtime.KeepAlive(b)
	if err != nil {
		return fmt.Errorf("run %s: %s", b.session.path, firstLine(err))
	}
	return nil
}

// Close releases the binding, not its tensors.
func (b *Binding) Close() error { return b.binding.Destroy() }
