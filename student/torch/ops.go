package torch

// Elementwise arithmetic. Shapes broadcast as in NumPy.

// Add is a + b.
func (s *Scope) Add(a, b Tensor) Tensor { return s.one("add", "Tensor", a, b) }

// Sub is a - b.
func (s *Scope) Sub(a, b Tensor) Tensor { return s.one("sub", "Tensor", a, b) }

// Mul is a · b, element by element.
func (s *Scope) Mul(a, b Tensor) Tensor { return s.one("mul", "Tensor", a, b) }

// Div is a / b, element by element.
func (s *Scope) Div(a, b Tensor) Tensor { return s.one("div", "Tensor", a, b) }

// DivScalar is a / c.
func (s *Scope) DivScalar(a Tensor, c float64) Tensor { return s.one("div", "Scalar", a, c) }

// AddScalar is a + c.
func (s *Scope) AddScalar(a Tensor, c float64) Tensor { return s.one("add", "Scalar", a, c) }

// Scale is c · a.
func (s *Scope) Scale(a Tensor, c float64) Tensor { return s.one("mul", "Scalar", a, c) }

// Sqrt is the square root, element by element.
func (s *Scope) Sqrt(a Tensor) Tensor { return s.one("sqrt", "", a) }

// Exp is eˣ, element by element.
func (s *Scope) Exp(a Tensor) Tensor { return s.one("exp", "", a) }

// Reciprocal is 1/a, element by element.
func (s *Scope) Reciprocal(a Tensor) Tensor { return s.one("reciprocal", "", a) }

// Cos is the cosine, element by element.
func (s *Scope) Cos(a Tensor) Tensor { return s.one("cos", "", a) }

// Acos is the arc cosine, element by element.
func (s *Scope) Acos(a Tensor) Tensor { return s.one("acos", "", a) }

// Sigmoid is 1/(1 + e^-a), element by element.
func (s *Scope) Sigmoid(a Tensor) Tensor { return s.one("sigmoid", "", a) }

// Log is the natural logarithm, element by element.
func (s *Scope) Log(a Tensor) Tensor { return s.one("log", "", a) }

// Pow is a to the power of c, element by element.
func (s *Scope) Pow(a Tensor, c float64) Tensor { return s.one("pow", "Tensor_Scalar", a, c) }

// Clamp limits every element to [lo, hi]; its gradient is zero outside.
func (s *Scope) Clamp(a Tensor, lo, hi float64) Tensor { return s.one("clamp", "", a, lo, hi) }

// Where takes a where cond holds and b elsewhere.
func (s *Scope) Where(cond, a, b Tensor) Tensor { return s.one("where", "self", cond, a, b) }

// Greater is a > c, element by element.
func (s *Scope) Greater(a Tensor, c float64) Tensor { return s.one("gt", "Scalar", a, c) }

// AtLeast is a >= c, element by element.
func (s *Scope) AtLeast(a Tensor, c float64) Tensor { return s.one("ge", "Scalar", a, c) }

// AtMost is a <= b, element by element. Shapes broadcast.
func (s *Scope) AtMost(a, b Tensor) Tensor { return s.one("le", "Tensor", a, b) }

// Abs is the absolute value, element by element.
func (s *Scope) Abs(a Tensor) Tensor { return s.one("abs", "", a) }

// Equal is a == b, element by element, for integers. Shapes broadcast.
func (s *Scope) Equal(a, b Tensor) Tensor { return s.one("eq", "Tensor", a, b) }

// Less is a < c, element by element, for a constant that is an integer.
func (s *Scope) Less(a Tensor, c int) Tensor { return s.one("lt", "Scalar", a, c) }

// Or, And and Not are logical, of tensors that comparisons gave. Shapes broadcast.
func (s *Scope) Or(a, b Tensor) Tensor { return s.one("logical_or", "", a, b) }

// And is true where both are.
func (s *Scope) And(a, b Tensor) Tensor { return s.one("logical_and", "", a, b) }

// Not is true where a is not.
func (s *Scope) Not(a Tensor) Tensor { return s.one("logical_not", "", a) }

// Mask is a with the value v where mask is true.
func (s *Scope) Mask(a, mask Tensor, v float64) Tensor {
	return s.one("masked_fill", "Scalar", a, mask, v)
}

// Largest gives for each row of a matrix where its k largest elements are, in no
// particular order (int64, rows×k).
func (s *Scope) Largest(a Tensor, k int) Tensor { return s.topK(a, k, false) }

// Ranked is [Scope.Largest] from the largest down.
func (s *Scope) Ranked(a Tensor, k int) Tensor { return s.topK(a, k, true) }

func (s *Scope) topK(a Tensor, k int, sorted bool) Tensor {
	const dim, largest = 1, true
	r := s.call(2, "topk", "", a, k, dim, largest, sorted)
	if s.err != nil {
		return Tensor{}
	}
	return r[1]
}

// Top gives the k largest elements of a vector, the largest first, and where they are
// (int64).
func (s *Scope) Top(a Tensor, k int) (values, places Tensor) {
	const dim, largest, sorted = 0, true, true
	r := s.call(2, "topk", "", a, k, dim, largest, sorted)
	if s.err != nil {
		return Tensor{}, Tensor{}
	}
	return r[0], r[1]
}

// StableSort sorts each row of a matrix, or a vector, and gives where each element was (int64).
// Equal ones stay in their order.
func (s *Scope) StableSort(a Tensor, descending bool) (sorted, places Tensor) {
	const stable, dim = true, -1
	r := s.call(2, "sort", "stable", a, stable, dim, descending)
	if s.err != nil {
		return Tensor{}, Tensor{}
	}
	return r[0], r[1]
}

// Descending sorts a vector, the largest element first.
func (s *Scope) Descending(a Tensor) Tensor {
	r := s.call(2, "sort", "", a, 0, true)
	if s.err != nil {
		return Tensor{}
	}
	return r[0]
}

// Every takes each step-th element of a vector, from the first on.
func (s *Scope) Every(a Tensor, step int) Tensor {
	return s.one("slice", "Tensor", a, 0, nil, nil, step)
}

// Reductions.

// Max is the largest of all elements.
func (s *Scope) Max(a Tensor) Tensor { return s.one("max", "", a) }

// Sum adds all elements.
func (s *Scope) Sum(a Tensor) Tensor { return s.one("sum", "", a) }

// SumDim adds over one dimension.
func (s *Scope) SumDim(a Tensor, dim int, keep bool) Tensor {
	return s.one("sum", "dim_IntList", a, []int{dim}, keep)
}

// LogSumExp is the logarithm of the sum of eˣ over one dimension. It does not overflow.
func (s *Scope) LogSumExp(a Tensor, dim int, keep bool) Tensor {
	return s.one("logsumexp", "", a, []int{dim}, keep)
}

// Mean is the mean of all elements.
func (s *Scope) Mean(a Tensor) Tensor { return s.one("mean", "", a) }

// Softmax is exp(a) divided by its sum over one dimension.
func (s *Scope) Softmax(a Tensor, dim int) Tensor { return s.one("softmax", "int", a, dim, nil) }

// CumulativeSum adds up the elements of a vector, from the first to each.
func (s *Scope) CumulativeSum(a Tensor) Tensor { return s.one("cumsum", "", a, 0, nil) }

// PlaneMeans is the mean of every channel of N×C×H×W over its plane: N×C.
func (s *Scope) PlaneMeans(a Tensor) Tensor { return s.one("mean", "dim", a, []int{2, 3}) }

// ChannelMoments are the mean and the variance (of the batch itself) of each channel of
// N×C×H×W: C and C.
func (s *Scope) ChannelMoments(a Tensor) (mean, variance Tensor) {
	others := []int{0, 2, 3}
	mean = s.one("mean", "dim", a, others, true)
	away := s.Sub(a, mean)
	return s.Reshape(mean, -1), s.one("mean", "dim", s.Mul(away, away), others)
}

// Shapes and selection.

// Reshape gives a the shape dims; one of them may be -1.
func (s *Scope) Reshape(a Tensor, dims ...int) Tensor { return s.one("reshape", "", a, dims) }

// Transpose swaps the two dimensions of a matrix.
func (s *Scope) Transpose(a Tensor) Tensor { return s.one("t", "", a) }

// Permute reorders the dimensions of a.
func (s *Scope) Permute(a Tensor, dims ...int) Tensor { return s.one("permute", "", a, dims) }

// Expand repeats a along its dimensions of one, without copying it.
func (s *Scope) Expand(a Tensor, dims ...int) Tensor { return s.one("expand", "", a, dims) }

// Columns picks what index (int64) names of dimension dim.
func (s *Scope) Columns(a Tensor, dim int, index Tensor) Tensor {
	return s.one("index_select", "", a, dim, index)
}

// Slice takes the elements [from, to) of dimension dim.
func (s *Scope) Slice(a Tensor, dim, from, to int) Tensor {
	return s.one("slice", "Tensor", a, dim, from, to)
}

// Gather picks a[i][index[i][k]] along dim; index is int64 of the result's shape.
func (s *Scope) Gather(a Tensor, dim int, index Tensor) Tensor {
	return s.one("gather", "", a, dim, index)
}

// Scatter is a with the elements that index names along dim replaced by src's.
func (s *Scope) Scatter(a Tensor, dim int, index, src Tensor) Tensor {
	return s.one("scatter", "src", a, dim, index, src)
}

// Fill overwrites the elements that index names along dim with v, in place.
func (s *Scope) Fill(a Tensor, dim int, index Tensor, v float64) {
	s.one("scatter_", "value", a, dim, index, v)
}

// Rows picks the rows of a (elements of a vector) that index (int64) names.
func (s *Scope) Rows(a, index Tensor) Tensor { return s.one("index_select", "", a, 0, index) }

// Concat joins tensors along a dimension in which they may differ.
func (s *Scope) Concat(a []Tensor, dim int) Tensor { return s.one("cat", "", a, dim) }

// Stack joins tensors of one shape along a new first dimension.
func (s *Scope) Stack(a []Tensor) Tensor { return s.one("stack", "", a, 0) }

// CopyRows overwrites the rows [from, from+n) of a with the n rows of src, in place.
func (s *Scope) CopyRows(a Tensor, from int, src Tensor) {
	shape := s.Shape(src)
	if s.err == nil {
		s.Copy(s.Slice(a, 0, from, from+shape[0]), src)
	}
}

// SetRows overwrites the rows of a that index (int64, each row once) names with those of src,
// in place.
func (s *Scope) SetRows(a, index, src Tensor) { s.one("index_copy_", "", a, 0, index, src) }

// Copy overwrites dst with the elements of src, in place.
func (s *Scope) Copy(dst, src Tensor) { s.one("copy_", "", dst, src) }

// Clone copies a tensor.
func (s *Scope) Clone(a Tensor) Tensor { return s.one("clone", "", a) }

// Detach is a without its history: no gradient flows through it.
func (s *Scope) Detach(a Tensor) Tensor { return s.one("detach", "", a) }

// ToLike converts a to the element type and device of b.
func (s *Scope) ToLike(a, b Tensor) Tensor { return s.one("to", "other", a, b) }

// To converts the elements of a to another type.
func (s *Scope) To(a Tensor, dtype DType) Tensor { return s.one("to", "dtype", a, dtype) }

// channelsLast is c10::MemoryFormat::ChannelsLast.
const channelsLast = 2

// ChannelsLast stores a batch of images with the channels innermost, which the
// CPU's convolutions prefer. The shape stays N×C×H×W.
func (s *Scope) ChannelsLast(a Tensor) Tensor {
	return s.one("contiguous", "", a, channelsLast)
}

// ZerosLike is a tensor of zeros like a.
func (s *Scope) ZerosLike(a Tensor) Tensor { return s.one("zeros_like", "", a) }

// Linear algebra and networks.

// MatMul is the matrix product.
func (s *Scope) MatMul(a, b Tensor) Tensor { return s.one("matmul", "", a, b) }

// BatchMatMul multiplies matrices in pairs: b×n×k and b×k×m give b×n×m.
func (s *Scope) BatchMatMul(a, b Tensor) Tensor { return s.one("bmm", "", a, b) }

// Dot is the inner product of two vectors.
func (s *Scope) Dot(a, b Tensor) Tensor { return s.one("dot", "", a, b) }

// Distances are the Euclidean distances of the rows of a and those of b, in float32 or wider.
// They come of differences and not of inner products; two equal rows pass no gradient.
func (s *Scope) Distances(a, b Tensor) Tensor {
	const euclidean, withoutProducts = 2.0, 2
	return s.one("cdist", "", a, b, euclidean, withoutProducts)
}

// AddScaled is a ← a + c·b, in place.
func (s *Scope) AddScaled(a, b Tensor, c float64) { s.one("add_", "Tensor", a, b, c) }

// AddProduct is a + c·b·d, element by element.
func (s *Scope) AddProduct(a, b, d Tensor, c float64) Tensor {
	return s.one("addcmul", "", a, b, d, c)
}

// AddMatMul is a ← a + b·d for matrices, in place.
func (s *Scope) AddMatMul(a, b, d Tensor) { s.one("addmm_", "", a, b, d) }

// HasBFloat16Unit tells whether the processor or device that holds t has instructions
// that multiply matrices in bfloat16: that takes no longer there than in float32, and half
// of the memory. Elsewhere it takes several times as long.
func (s *Scope) HasBFloat16Unit(t Tensor) bool {
	has := ToData[int64](s, s.one("pipe::has_bfloat16_unit", "", t))
	return s.err == nil && has[0] != 0
}

// Linear is x·Wᵀ for x …×in and W out×in. As in [Scope.Conv2D], w may stay in float32.
func (s *Scope) Linear(x, w Tensor) Tensor { return s.LinearBias(x, w, Tensor{}) }

// LinearBias is x·Wᵀ + b, where b has one value for each of W's rows or is none.
func (s *Scope) LinearBias(x, w, b Tensor) Tensor { return s.one("pipe::linear", "", x, w, b) }

// Conv2D convolves x N×C×H×W with w out×(C/groups)×k×k, without bias; see
// engine/convolution.cc. w may stay in float32: it is rounded to x's element type, and
// its gradient comes in its own.
func (s *Scope) Conv2D(x, w Tensor, stride, padding, groups int) Tensor {
	return s.one("pipe::conv2d", "", x, w, stride, padding, groups)
}

// PadFar adds n rows of zeros below and n columns of zeros to the right of images N×C×H×W.
func (s *Scope) PadFar(x Tensor, n int) Tensor {
	return s.one("constant_pad_nd", "", x, []int{0, n, 0, n})
}

// BatchNorm normalises dimension 1 of x. weight and bias may be none (no affine
// part). In training it uses the batch's statistics and moves mean and variance,
// in place, by momentum towards them.
func (s *Scope) BatchNorm(x, weight, bias, mean, variance Tensor, training bool, momentum, eps float64) Tensor {
	return s.one("batch_norm", "", x, weight, bias, mean, variance, training, momentum, eps, false)
}

// Norm is the batch normalisation of a layer and what follows it: a PReLU if Slope
// is given, a ReLU, or nothing. All tensors have one value for each channel and stay
// in float32 whatever is normalised.
type Norm struct {
	Weight, Bias   Tensor
	Mean, Variance Tensor // running statistics, moved by Momentum towards each batch's
	Slope          Tensor // none without a PReLU
	ReLU           bool   // not together with Slope
	Momentum, Eps  float64
}

// NormAct is training-mode [Scope.BatchNorm] of x N×C×H×W, the activation, and the
// addition of residual, of x's shape and type or none: fused on the CPU but in float16, see
// engine/norm_act.cc.
func (s *Scope) NormAct(x Tensor, n Norm, residual Tensor) Tensor {
	return s.one("pipe::norm_act", "", x, n.Weight, n.Bias, n.Slope, residual, n.Mean, n.Variance, n.ReLU, n.Momentum, n.Eps)
}

// PReLU is max(0, x) + a·min(0, x) with one slope a for each channel (dimension 1).
func (s *Scope) PReLU(x, slope Tensor) Tensor { return s.one("prelu", "", x, slope) }

// SiLU is x·σ(x) (Elfwing et al. 2017, arXiv 1702.03118).
func (s *Scope) SiLU(x Tensor) Tensor { return s.one("pipe::silu", "", x) }

// GELU is x·Φ(x), with the normal distribution itself and no approximation of it
// (Hendrycks and Gimpel 2016, arXiv 1606.08415).
func (s *Scope) GELU(x Tensor) Tensor { return s.one("pipe::gelu", "", x) }

// LayerNorm normalises the last dimension of x, where weight and bias have a value for
// each element of it and stay in float32 whatever is normalised.
func (s *Scope) LayerNorm(x, weight, bias Tensor, eps float64) Tensor {
	return s.one("pipe::layer_norm", "", x, weight, bias, eps)
}

// Attention is softmax(q·kᵀ/√d + bias)·v for each image and head, with q, k and v of
// N×T×heads·d side by side in qkv, and a bias heads×T×T in float32; see engine/tokens.cc.
func (s *Scope) Attention(qkv, bias Tensor, heads int) Tensor {
	return s.one("pipe::attention", "", qkv, bias, heads)
}

// MaxPool is the largest value under a window of images N×C×H×W, at every stride.
func (s *Scope) MaxPool(x Tensor, kernel, stride, padding int) Tensor {
	return s.one("pipe::max_pool", "", x, kernel, stride, padding)
}

// ReLU is max(0, x).
func (s *Scope) ReLU(x Tensor) Tensor { return s.one("relu", "", x) }

// CrossEntropy is the mean over the batch of -log softmax(logits)[target], for
// logits N×C and target N (int64).
func (s *Scope) CrossEntropy(logits, target Tensor) Tensor {
	return s.one("cross_entropy_loss", "", logits, target)
}

// LogSoftmax is its logarithm.
func (s *Scope) LogSoftmax(a Tensor) Tensor { return s.one("log_softmax", "int", a, 1, nil) }

// Divergence is Σ exp(t)·(t - a) over all elements, of logarithms of probabilities: that of
// Kullback and Leibler of target from a.
func (s *Scope) Divergence(a, target Tensor) Tensor {
	const sum, logarithms = 2, true // at::Reduction::Sum
	return s.one("kl_div", "", a, target, sum, logarithms)
}

// Huber is the mean of ½e² where |e| ≤ beta and beta·(|e| - ½beta) elsewhere, for
// e = a - b.
func (s *Scope) Huber(a, b Tensor, beta float64) Tensor {
	const mean = 1 // at::Reduction::Mean
	return s.one("huber_loss", "", a, b, mean, beta)
}

// HuberEach has the terms of that mean.
func (s *Scope) HuberEach(a, b Tensor, beta float64) Tensor {
	const none = 0 // at::Reduction::None
	return s.one("huber_loss", "", a, b, none, beta)
}

// Upper is a matrix with zeros on the diagonal and below.
func (s *Scope) Upper(a Tensor) Tensor { return s.one("triu", "", a, 1) }

// Unit divides each row by its Euclidean length; a row shorter than 1e-12 becomes
// zero and passes no gradient.
func (s *Scope) Unit(x Tensor) Tensor {
	square := s.SumDim(s.Mul(x, x), 1, true)
	alive := s.Greater(square, 1e-24)
	// The inner Where keeps 1/√0 and its infinite derivative out of the graph.
	length := s.Sqrt(s.Where(alive, square, s.OnesLike(square)))
	return s.Where(alive, s.Div(x, length), s.ZerosLike(x))
}

// Lengths are the Euclidean lengths of the rows of a matrix, N×1. One shorter than 1e-12 is
// zero and passes no gradient.
func (s *Scope) Lengths(x Tensor) Tensor {
	length := s.one("linalg_vector_norm", "", x, 2.0, []int{1}, true)
	return s.Mask(length, s.Not(s.Greater(length, 1e-12)), 0)
}

// Cosines are those of unit vectors, the rows of x, to the rows of w, which need not be: N×K.
// A row of w shorter than 1e-12 has zeros and passes no gradient.
func (s *Scope) Cosines(x, w Tensor) Tensor {
	length := s.Transpose(s.Lengths(w))
	alive := s.Greater(length, 0)
	products := s.MatMul(x, s.Transpose(w))
	return s.Where(alive, s.Div(products, s.Where(alive, length, s.OnesLike(length))), s.ZerosLike(products))
}

// OnesLike is a tensor of ones like a.
func (s *Scope) OnesLike(a Tensor) Tensor { return s.one("ones_like", "", a) }

// Lists of tensors, one call for all. They work in place on their first argument.

// ForeachScale is a_k ← c·a_k.
func (s *Scope) ForeachScale(a []Tensor, c float64) { s.call(0, "_foreach_mul_", "Scalar", a, c) }

// ForeachAdd is a_k ← a_k + c·b_k.
func (s *Scope) ForeachAdd(a, b []Tensor, c float64) {
	s.call(0, "_foreach_add_", "List", a, b, c)
}

// SGD are the constants of a step of stochastic gradient descent; see [Scope.SGDStep].
type SGD struct {
	Rate, Momentum, Decay, Clip float64
	Nesterov                    bool
}

// Terms are those on which a step is taken: the loss, of one element of float64 on the device of the
// parameters, is finite and at most Limit, and the length of the gradient is finite. The device
// judges, and nobody waits for it.
type Terms struct {
	Loss  Tensor
	Limit float64
}

// SGDStep moves params, all float32, by their gradients, in one pass over each; see
// engine/optimizer.cc for the formula. velocities are the momentum, zero at first;
// decay tells which parameters c.Decay is for. It returns three numbers: the loss, the length of
// the whole gradient before clipping, and 1, or 0 where the terms were not met: then all is as it
// was.
func (s *Scope) SGDStep(c SGD, t Terms, params, gradients, velocities []Tensor, decay []bool) Tensor {
	return s.one("pipe::sgd_step", "", params, gradients, velocities, flags(decay), t.Loss, t.Limit,
		c.Rate, c.Momentum, c.Decay, c.Clip, c.Nesterov, s.engine.separate)
}

// AdamW are the constants of a step of AdamW; see [Scope.AdamWStep].
type AdamW struct{ Rate, Beta1, Beta2, Eps, Decay, Clip float64 }

// AdamWStep is as [Scope.SGDStep], with the first and second moments of the gradients, and taken,
// the number of steps that moved something (float32, one element): all zero at first.
func (s *Scope) AdamWStep(c AdamW, t Terms, params, gradients, firsts, seconds []Tensor, decay []bool, taken Tensor) Tensor {
	return s.one("pipe::adamw_step", "", params, gradients, firsts, seconds, flags(decay), taken, t.Loss, t.Limit,
		c.Rate, c.Beta1, c.Beta2, c.Eps, c.Decay, c.Clip, s.engine.separate)
}

// flags are 1 for true.
func flags(v []bool) []int {
	list := make([]int, len(v))
	for i, on := range v {
		if on {
			list[i] = 1
		}
	}
	return list
}

// Pixels makes images N×3×H×W of dtype, channels last, of bytes N×H×W×3: mirrored where
// the byte for an image in mirrored (none: nowhere) is not zero, and normalised to
// (x - mean) / std.
func (s *Scope) Pixels(bytes, mirrored Tensor, mean, std float64, dtype DType) Tensor {
	return s.one("pipe::pixels", "", bytes, mirrored, mean, std, dtype)
}

// Norm is the Euclidean length of all the tensors' elements taken together.
func (s *Scope) Norm(a []Tensor) float64 {
	norms := s.call(len(a), "_foreach_norm", "Scalar", a, 2.0)
	if s.err != nil || len(norms) == 0 {
		return 0
	}
	all := s.Stack(norms)
	return s.Scalar(s.Sqrt(s.Sum(s.Mul(all, all))))
}
