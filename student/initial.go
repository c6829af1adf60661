package student

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"facepipe/internal/onnx"
	"facepipe/internal/regular"
	"facepipe/internal/safetensors"
	"facepipe/student/checkpoint"
	"facepipe/student/data"
	"facepipe/student/net"
	"facepipe/student/net/layer"
	"facepipe/student/torch"
)

// ErrWeights marks a file whose weights a network cannot begin with.
var ErrWeights = errors.New("unusable starting weights")

// unfoldCrops is how many crops, at least, tell a network whose norms an exported graph
// has folded away what they would see.
const unfoldCrops = 1024

// weightsFile is a file of weights: a graph, or tensors by name.
type weightsFile struct {
	path    string
	digest  string // SHA-256 of the file
	graph   *onnx.Model
	tensors map[string]net.Tensor
	strange []string // tensors that hold no weights, with their type

	metadata []onnx.Property
	at       *checkpoint.Position // of a checkpoint of pipe
	averaged bool
}

// readWeights reads an ONNX or a safetensors file, whatever its name, or the newest
// checkpoint of a run's folder. Of a checkpoint of pipe it takes the network's weights:
// their average, if it has one.
func readWeights(path string) (*weightsFile, error) {
	path, err := checkpoint.Newest(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrWeights, err)
	}
	data, err := regular.Read(path, checkpoint.MaxBytes)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrWeights, err)
	}
	sum := sha256.Sum256(data)
	f := &weightsFile{path: path, digest: hex.EncodeToString(sum[:])}
	if safetensors.IsFile(data) {
		err = f.readTensors(data)
	} else {
		f.graph, err = onnx.Unmarshal(data)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrWeights, path, err)
	}
	if f.graph != nil {
		f.metadata = f.graph.Metadata
	}
	return f, nil
}

// readTensors takes the weights of a safetensors file.
func (f *weightsFile) readTensors(data []byte) error {
	file, err := safetensors.Unmarshal(data)
	if err != nil {
		return err
	}
	if checkpoint.Is(file) {
		tensors, at, err := checkpoint.Parse(f.path, data)
		f.tensors, f.averaged = checkpoint.Weights(tensors, false)
		f.at = &at
		return err
	}
	f.metadata = properties(file.Metadata)
	f.tensors = map[string]net.Tensor{}
	for name, t := range file.Tensors {
		values := t.Float32
		if t.Float64 != nil {
			values = make([]float32, len(t.Float64))
			for i, v := range t.Float64 {
				values[i] = float32(v)
			}
		}
		if t.Int64 != nil {
			f.strange = append(f.strange, name+" (integers)")
			continue
		}
		f.tensors[ownName(name)] = net.Tensor{Shape: t.Shape, Data: values}
	}
	slices.Sort(f.strange)
	return nil
}

// ownName is a tensor's name without what PyTorch puts before the names of a model that is
// trained on several devices, or compiled.
func ownName(name string) string {
	for {
		inner, parallel := strings.CutPrefix(name, "module.")
		inner, compiled := strings.CutPrefix(inner, "_orig_mod.")
		if !parallel && !compiled {
			return name
		}
		name = inner
	}
}

// adopt replaces the values for which the file has weights.
func (f *weightsFile) adopt(n *net.Network, v layer.Values) (a net.Adoption, err error) {
	if f.graph != nil {
		a, err = n.AdoptGraph(v, f.graph)
	} else {
		a = n.Adopt(v, f.tensors)
	}
	a.Unused = append(a.Unused, f.strange...)
	if err == nil && a.Taken == 0 {
		err = nothingTaken(n, a)
	}
	if err == nil {
		err = allFinite(n, v)
	}
	if err != nil {
		err = fmt.Errorf("%w: %s: %w", ErrWeights, f.path, err)
	}
	return a, err
}

// nothingTaken says why a network found none of its tensors: they have other shapes, or
// are not there.
func nothingTaken(n *net.Network, a net.Adoption) error {
	for _, l := range a.Left {
		if l.FileShape != nil {
			return fmt.Errorf("none of its tensors has the shape that it has in %s (width %g, dim %d): its %s is %v, the network's %v: give its own --student, --width and --dim",
				n.Name, n.Config.Width, n.Dim, l.Name, l.FileShape, l.Shape)
		}
	}
	text := fmt.Sprintf("none of its tensors has the name of one of %s's, such as %s", n.Name, n.Params()[0].Name)
	if len(a.Unused) > 0 {
		text += "; its first is " + a.Unused[0]
	}
	return errors.New(text)
}

func allFinite(n *net.Network, v layer.Values) error {
	for _, p := range n.Params() {
		for i, x := range v[p] {
			if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
				return fmt.Errorf("element %d of %s is %g", i, p.Name, x)
			}
		}
	}
	return nil
}

// initialise gives a fresh run the weights that it is to begin with.
func (r *run) initialise(ctx context.Context) error {
	f := r.weights
	if f == nil {
		return nil
	}
	r.weights = nil
	s := r.model.engine.NewScope()
	defer s.Close()
	n := r.model.network
	v, err := n.Values(s)
	if err != nil {
		return err
	}
	a, err := f.adopt(n, v)
	if err != nil {
		return err
	}
	if err := n.SetValues(s, v); err != nil {
		return err
	}
	io.WriteString(r.progress, describeAdoption(f.path, a))
	if !a.Folded() {
		return nil
	}
	return r.unfold(ctx, s, a, v)
}

// unfold shows the network the first crops that it will be trained on. Of several ranks each
// looks at the whole batches, so that what it begins with does not depend on their number,
// and in pieces of the size of its slice, for which it has the memory.
func (r *run) unfold(ctx context.Context, s *torch.Scope, a net.Adoption, v layer.Values) error {
	loader := r.loader
	if r.world.ranks() > 1 {
		var err error
		if loader, err = r.newLoader(data.Slice{}); err != nil {
			return err
		}
		defer loader.Close()
	}
	u := r.model.network.NewUnfold(a)
	step := r.o.Batch * r.o.Accumulate
	steps := min((unfoldCrops+step-1)/step, r.schedule.Total)
	slice, size := r.o.Batch/r.world.ranks(), loader.CropSize()
	err := loader.Run(r.world.context(ctx), 0, steps, func(b *data.Batch) error {
		s := r.model.engine.NewScope()
		defer s.Close()
		for from := 0; from < r.o.Batch; from += slice {
			to := from + slice
			x := r.model.pixels(s, b.Pixels[from*size*size*3:to*size*size*3], b.Mirrored[from:to], size, torch.Float32)
			if err := u.Observe(s, x); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("give the norms that %s has folded away their statistics: %w", r.o.Init, err)
	}
	u.Apply(v)
	return r.model.network.SetValues(s, v)
}

// describeAdoption says for people what a network took from a file.
func describeAdoption(path string, a net.Adoption) string {
	var text bytes.Buffer
	how := "by name"
	if a.ByOrder {
		how = "by the order of its layers"
	}
	fmt.Fprintf(&text, "start from %s: %d of %d tensors, %.1f%% of the weights, %s\n", path, a.Taken, a.Tensors, 100*float64(a.Values)/float64(a.AllValues), how)
	const most = 8
	for i, l := range a.Left {
		if i == most {
			fmt.Fprintf(&text, "  at random  %d more\n", len(a.Left)-most)
			break
		}
		there := "not in the file"
		if l.FileShape != nil {
			there = fmt.Sprintf("%v in the file", l.FileShape)
		}
		fmt.Fprintf(&text, "  at random  %s %v: %s\n", l.Name, l.Shape, there)
	}
	if n := len(a.Unused); n > 0 {
		fmt.Fprintf(&text, "  unused     %d tensors of the file: %s", n, strings.Join(a.Unused[:min(n, most)], ", "))
		if n > most {
			text.WriteString(", ...")
		}
		text.WriteByte('\n')
	}
	return text.String()
}
