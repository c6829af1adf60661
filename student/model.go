package student

import (
	"math"
	"math/rand/v2"

	"facepipe/student/data"
	"facepipe/student/loss"
	"facepipe/student/net"
	"facepipe/student/optim"
	"facepipe/student/torch"
)

// Pixels are normalised as (x - inputMean) / inputStd to [-1, 1], the convention
// of insightface's networks.
const (
	inputMean = 127.5
	inputStd  = 127.5
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
	bridge *net.Param
	loss   loss.Loss
	sgd    *optim.SGD
	scope  *torch.Scope // of the bridge's and the loss's parameters
}

// newModel lays out and initialises a model. teacherDim is 0 without a teacher.
func newModel(e *torch.Engine, o Options, teacherDim, classes int) (*model, error) {
	m := &model{engine: e, device: o.Device, dtype: torch.Float32, scope: e.NewScope()}
	if o.Precision == "bf16" {
		m.dtype = torch.BFloat16
	}
	var err error
	if m.network, err = net.New(o.Network, o.Size); err != nil {
		return nil, err
	}
	dim := m.network.Dim
	if teacherDim != 0 && teacherDim != dim {
		m.bridge = net.NewParam("bridge.weight", []int{teacherDim, dim}, bridgeInit(dim))
		dim = teacherDim
	}
	if m.loss, err = loss.New(o.Loss, loss.Env{Device: o.Device, Dim: dim, Classes: classes}); err != nil {
		return nil, err
	}
	if err := m.network.Materialise(e, o.Device, o.Seed); err != nil {
		return nil, err
	}
	// A seed of their own keeps the network's weights the same under every loss.
	if err := net.Materialise(m.scope, o.Device, o.Seed+1, m.extras()); err != nil {
		return nil, err
	}
	m.sgd, err = optim.NewSGD(e, o.Optimizer, m.params())
	return m, err
}

// bridgeInit keeps the length of a vector on average.
func bridgeInit(in int) func(*rand.Rand, []float32) {
	return func(rng *rand.Rand, data []float32) {
		for i := range data {
			data[i] = float32(rng.NormFloat64() / math.Sqrt(float64(in)))
		}
	}
}

// extras are the parameters outside the network.
func (m *model) extras() []*net.Param {
	extras := m.loss.Params()
	if m.bridge != nil {
		extras = append([]*net.Param{m.bridge}, extras...)
	}
	return extras
}

// params are all parameters, in the order of checkpoints.
func (m *model) params() []*net.Param {
	return append(append([]*net.Param{}, m.network.Params()...), m.extras()...)
}

func (m *model) close() {
	if m.sgd != nil {
		m.sgd.Close()
	}
	m.scope.Close()
	m.network.Close()
}

// embed runs the network on N×size×size×3 RGB pixels, mirrored where mirrored, a byte
// for each image or nil, is not zero.
func (m *model) embed(s *torch.Scope, pixels, mirrored []uint8, size int, training bool) torch.Tensor {
	n := len(pixels) / (size * size * 3)
	var flags torch.Tensor
	if mirrored != nil {
		flags = torch.FromData(s, m.device, mirrored, n)
	}
	x := s.Pixels(torch.FromData(s, m.device, pixels, n, size, size, 3), flags, inputMean, inputStd, m.dtype)
	return m.network.Forward(s, x, m.dtype, training)
}

// stepResult is what one optimizer step has to report.
type stepResult struct {
	loss, gradient float64
	parts          loss.Parts
}

// step trains on one batch.
func (m *model) step(b *data.Batch, size int, rate float64) (stepResult, error) {
	s := m.engine.NewScope()
	defer s.Close()
	y := m.embed(s, b.Pixels, b.Mirrored, size, true)
	in := loss.Batch{Student: y, Samples: b.Rows, Labels: b.Labels, Step: b.Step}
	if m.bridge != nil {
		in.Student = s.Linear(y, m.bridge.Tensor())
	}
	if len(b.Teacher) > 0 {
		in.Teacher = torch.FromData(s, m.device, b.Teacher, len(b.Rows), len(b.Teacher)/len(b.Rows))
	}
	value, parts := m.loss.Step(s, in)
	r := stepResult{loss: s.Scalar(value), parts: parts}
	if err := s.Err(); err != nil {
		return r, err
	}
	if math.IsNaN(r.loss) || math.IsInf(r.loss, 0) {
		return r, errDiverged
	}
	s.Backward(value)
	var err error
	r.gradient, err = m.sgd.Step(s, rate)
	return r, err
}
