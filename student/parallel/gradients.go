package parallel

import (
	"facepipe/student/torch"
)

const (
	// largestBucket is what PyTorch's DistributedDataParallel takes by default: large
	// enough that a collective's overhead does not count.
	largestBucket = 25 << 20
	// smallestBucket is the least that a small network is cut into, so that it has
	// something to send early, too.
	smallestBucket = 1 << 20
	// fewestBuckets a network is cut into, if they do not get smaller than that.
	fewestBuckets = 4
)

// bucketBytes is the size of buckets for so many bytes of gradients.
func bucketBytes(total int) int {
	return min(max(total/fewestBuckets, smallestBucket), largestBucket)
}

// Plan gives every parameter, of so many bytes, its bucket. Backward reaches the last
// parameter first, so bucket 0 holds the last ones. A bucket is closed once it has
// limit bytes or more.
func Plan(bytes []int, limit int) []int {
	plan := make([]int, len(bytes))
	bucket, filled := 0, 0
	for i := len(bytes) - 1; i >= 0; i-- {
		if filled >= limit {
			bucket, filled = bucket+1, 0
		}
		plan[i] = bucket
		filled += bytes[i]
	}
	return plan
}

// Gradients are those of a model on this rank and, after a step's backward, of the
// global batch, the same bits on all ranks.
type Gradients struct {
	buckets *torch.Buckets
	scale   []float64
}

// NewGradients watches the parameters of the layers, of whose gradients every rank has a
// share, and those of the loss, whose gradients every rank has in full, as it sees the
// whole batch: of these the mean is taken.
func NewGradients(s *torch.Scope, g *torch.Group, layers, loss []torch.Tensor) (*Gradients, error) {
	var all []torch.Tensor
	var scale []float64
	add := func(params []torch.Tensor, factor float64) {
		for _, p := range params {
			all, scale = append(all, p), append(scale, factor)
		}
	}
	add(layers, 1)
	add(loss, 1/float64(g.Size()))
	bytes, total := make([]int, len(all)), 0
	for i, p := range all {
		dtype, shape := s.Info(p)
		bytes[i] = dtype.Size()
		for _, d := range shape {
			bytes[i] *= d
		}
		total += bytes[i]
	}
	if err := s.Err(); err != nil {
		return nil, err
	}
	buckets, err := g.NewBuckets(all, Plan(bytes, bucketBytes(total)))
	if err != nil {
		return nil, err
	}
	return &Gradients{buckets, scale}, nil
}

// Expect says that the next backward is the last one of a step.
func (g *Gradients) Expect(s *torch.Scope) { g.buckets.Arm(s) }

// Collect waits until the gradients are those of the global batch.
func (g *Gradients) Collect(s *torch.Scope) { g.buckets.Finish(s, g.scale) }

// Close stops watching.
func (g *Gradients) Close() { g.buckets.Close() }
