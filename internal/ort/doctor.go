package ort

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"facepipe/internal/onnx"
	"facepipe/internal/regular"
)

// ProviderState says whether a provider runs models here.
type ProviderState struct {
	Provider string `json:"provider"`
	Usable   bool   `json:"usable"`
	// Reason says why it is not usable. Remedy says what to do about it, if anything can be
	// done.
	Reason string `json:"reason,omitempty"`
	Remedy string `json:"remedy,omitempty"`
}

// State describes the runtime that is here.
type State struct {
	// Library is the path of the opened runtime, Version its version; "" if there is
	// none, and Reason says why.
	Library   string          `json:"library"`
	Version   string          `json:"version"`
	Reason    string          `json:"reason,omitempty"`
	Providers []ProviderState `json:"providers"`
}

// Probe opens the runtime and runs a model of one addition on every provider. Nothing less
// shows whether a provider's own libraries and its device are there.
func Probe(library string) (State, error) {
	if err := Init(library); err != nil {
		return State{Reason: strings.TrimPrefix(err.Error(), ErrRuntime.Error()+": "), Providers: []ProviderState{}}, nil
	}
	s := State{Library: opened, Version: Version()}
	dir, err := os.MkdirTemp("", "pipe-doctor-")
	if err != nil {
		return s, err
	}
	defer os.RemoveAll(dir)
	model := filepath.Join(dir, "add.onnx")
	if err := regular.WriteNew(model, addition(), 0o600); err != nil {
		return s, err
	}
	for _, p := range providers {
		state := ProviderState{Provider: p.name, Usable: true}
		if err := tryProvider(model, p.name); err != nil {
			state.Usable, state.Reason = false, err.Error()
			var refused *providerError
			if errors.As(err, &refused) {
				state.Reason, state.Remedy = refused.reason, refused.remedy
			}
		}
		s.Providers = append(s.Providers, state)
	}
	return s, nil
}

// addition is a model that adds its input to itself.
func addition() []byte {
	value := func(name string) onnx.ValueInfo {
		return onnx.ValueInfo{Name: name, Type: onnx.Float32, Dims: onnx.Fixed(1, 2)}
	}
	m := onnx.Model{IRVersion: 7, OpsetVersion: 13, Graph: onnx.Graph{Name: "add",
		Nodes:  []onnx.Node{{Name: "add", OpType: "Add", Inputs: []string{"x", "x"}, Outputs: []string{"y"}}},
		Inputs: []onnx.ValueInfo{value("x")}, Outputs: []onnx.ValueInfo{value("y")}}}
	return m.Marshal()
}

// tryProvider runs the addition.
func tryProvider(model, provider string) error {
	session, err := Open(context.Background(), model, Options{Provider: provider, Threads: 1})
	if err != nil {
		return err
	}
	defer session.Close()
	x, err := NewTensor(1, 2)
	if err != nil {
		return err
	}
	defer x.Close()
	copy(x.Data(), []float32{1, -3})
	out := []*Tensor{nil}
	if err := session.Run([]*Tensor{x}, out); err != nil {
		return err
	}
	defer out[0].Close()
	if y := out[0].Data(); y[0] != 2 || y[1] != -6 {
		return fmt.Errorf("it computes 1+1 = %v", y[0])
	}
	return nil
}
