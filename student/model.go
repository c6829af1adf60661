package student

import (
	"fmt"

	"facepipe/student/data"
	"facepipe/student/loss"
	"facepipe/student/net"
	"facepipe/student/net/layer"
	"facepipe/student/optim"
	"facepipe/student/torch"
)

// model is everything that training moves: the network, the bridge to the
// teacher's size, the loss and the optimizer.
type model struct {
	engine  *torch.Engine
	device  string
	dtype   torch.DType
	network *net.Network
	// bridge maps the student's embedding to the teacher's size where they differ;
	// it is trained and then left out of the export. Nil where they agree.
	bridge  *layer.Param
	targets *targets
	loss    *loss.Objective
	// optimizer moves all that is trained.
	optimizer optim.Optimizer
	// seed of what is drawn at random in a step.
	seed  uint64
	scope *torch.Scope // of the bridge's and the loss's parameters
	// figures of the step in flight, or of the last one, that nobody has read so far.
	figures *torch.Scope
	world   *world
	// average of the network's weights, nil without.
	average *average
	// scaler of the loss in half precision, nil in others; statistics go with it.
	scaler     *scaler
	statistics *statistics
}

// newModel lays out and initialises a model.
func newModel(e *torch.Engine, o Options, t *teachers, classes, steps int) (*model, error) {
	m := &model{seed: o.Seed, engine: e, device: o.Device, dtype: o.dtype(), scope: e.NewScope(), figures: e.NewScope()}
	if m.dtype == torch.Float16 || o.scaleLoss {
		m.scaler = &scaler{Scale: firstScale}
	}
	if m.dtype == torch.Float16 {
		if err := probe(e, o); err != nil {
			return nil, err
		}
	}
	var err error
	if m.network, err = net.New(o.Network, o.Size); err != nil {
		return nil, err
	}
	dim := m.network.Dim
	if own := t.dim(); own != 0 && own != dim {
		m.bridge = layer.NewParam("bridge.weight", []int{own, dim}, layer.Spread(dim))
		dim = own
	}
	m.targets = newTargets(t, m.network.Dim)
	m.targets.rotate(m.scope, o.Device, t)
	env := loss.Env{Device: o.Device, Dim: dim, OwnDim: m.network.Dim, Classes: classes, Split: o.Split, Steps: steps, Seed: o.Seed, Teachers: t.env()}
	if len(t.names) == 1 {
		env.Proxies, env.Neighbours = t.of(0).Proxies, t.of(0).Neighbours
	}
	if m.loss, err = loss.New(o.Loss, env); err != nil {
		return nil, usage(err)
	}
	if err := m.network.Materialise(e, o.Device, o.Seed); err != nil {
		return nil, err
	}
	if m.scaler != nil {
		if m.statistics, err = newStatistics(e, m.network.Params()); err != nil {
			return nil, err
		}
	}
	// A seed of their own keeps the network's weights the same under every loss.
	if err := layer.Materialise(m.scope, o.Device, o.Seed+1, m.extras()); err != nil {
		return nil, err
	}
	m.optimizer, err = optim.New(e, o.optimizer(), m.params())
	return m, err
}

// dtype is the element type of activations and convolutions.
func (o *Options) dtype() torch.DType {
	switch o.Precision {
	case "bf16":
		return torch.BFloat16
	case "fp16":
		return torch.Float16
	}
	return torch.Float32
}

// probe finds out whether a device computes the network in the precision asked for:
// some libraries have no norms in half precision for CPUs.
func probe(e *torch.Engine, o Options) error {
	n, err := net.New(o.Network, o.Size)
	if err != nil {
		return err
	}
	defer n.Close()
	if err := n.Materialise(e, o.Device, o.Seed); err != nil {
		return err
	}
	s := e.NewScope()
	defer s.Close()
	x := torch.FromData(s, o.Device, make([]float32, 2*3*net.InputSide*net.InputSide), 2, 3, net.InputSide, net.InputSide)
	s.Backward(s.Sum(n.Forward(s, x, o.dtype(), true)))
	if err := s.Err(); err != nil {
		return fmt.Errorf("%w: precision %s: device %s cannot train %s in it (libtorch %s): take --precision bf16: %w",
			ErrUsage, o.Precision, o.Device, o.Network, e.TorchVersion(), err)
	}
	return nil
}

// beginAverage starts the weights' average, if there is to be one, at the weights of
// this moment.
func (m *model) beginAverage(decay float64) (err error) {
	if decay > 0 {
		m.average, err = newAverage(m.engine, decay, m.network.Params())
	}
	return err
}

// withResult runs f while the network has the weights that a run is for: the averaged
// ones, where there are such.
func (m *model) withResult(f func() error) error {
	if m.average == nil {
		return f()
	}
	return m.average.lend(f)
}

// extras are the parameters outside the network.
func (m *model) extras() []*layer.Param {
	extras := append(m.targets.params(), m.loss.Params()...)
	if m.bridge != nil {
		extras = append([]*layer.Param{m.bridge}, extras...)
	}
	return extras
}

// params are all parameters, in the order of checkpoints.
func (m *model) params() []*layer.Param {
	return append(append([]*layer.Param{}, m.network.Params()...), m.extras()...)
}

func (m *model) close() {
	if m.optimizer != nil {
		m.optimizer.Close()
	}
	if m.average != nil {
		m.average.close()
	}
	if m.statistics != nil {
		m.statistics.close()
	}
	m.scope.Close()
	m.figures.Close()
	m.network.Close()
}

// embed runs the network, in training, on a batch of crops of a size.
func (m *model) embed(s *torch.Scope, b *data.Batch, size int) torch.Tensor {
	return m.network.Train(s, m.crops(s, b, size), m.dtype, layer.Chance{Seed: m.seed, Step: b.Step, Crops: b.Rows})
}

// crops are a batch's as the network's input.
func (m *model) crops(s *torch.Scope, b *data.Batch, size int) torch.Tensor {
	slot, ok := b.Slot.(*torch.Slot)
	if !ok {
		return m.pixels(s, b.Pixels, b.Mirrored, size, m.dtype)
	}
	n, at := b.Layout.N, b.Layout
	return s.Pixels(s.View(slot, torch.Uint8, at.Pixels, n, size, size, 3), s.View(slot, torch.Uint8, at.Mirrored, n), net.InputMean, net.InputStd, m.dtype)
}

// pixels are N×size×size×3 RGB ones as the network's input, mirrored where mirrored, a byte for
// each image or nil, is not zero.
func (m *model) pixels(s *torch.Scope, pixels, mirrored []uint8, size int, dtype torch.DType) torch.Tensor {
	n := len(pixels) / (size * size * 3)
	arrays := []torch.Array{torch.ArrayOf(pixels, n, size, size, 3)}
	if mirrored != nil {
		arrays = append(arrays, torch.ArrayOf(mirrored, n))
	}
	up := append(s.UploadTo(m.device, arrays...), torch.Tensor{})
	return s.Pixels(up[0], up[1], net.InputMean, net.InputStd, dtype)
}
