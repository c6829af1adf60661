// The loops that libtorch's operators are too slow at, compiled for several
// instruction sets (simd/). They work on plain memory, channels innermost, and know
// nothing of threads: callers give them blocks.
#ifndef PIPE_KERNELS_H
#define PIPE_KERNELS_H

#include <stdint.h>

namespace engine {

// Bits of a bfloat16. A type of its own, since a compiler's may do arithmetic in
// another way on another processor.
struct Bfloat16 {
  uint16_t bits;
};

// What follows the normalisation.
enum class Activation { none, prelu, relu };

// Per-channel constants: z = (x - mean) · scale + bias, slope of a PReLU or null.
template <typename S>
struct NormChannels {
  const S *mean, *scale, *bias, *slope;
};

// Per-channel constants of dx = a · dz + b · (x - mean) + c.
template <typename S>
struct NormGradient {
  const S *a, *b, *c;
};

// Batch normalisation with what follows it. T is what is stored, S what sums and
// constants are kept in; a block is rows × channels, dense.
template <typename T, typename S>
struct NormKernels {
  // The sums over rows of x - o and of (x - o)², and o, which is x in the first row, one
  // after the other; sums begins as zeros.
  void (*moments)(const T* x, int64_t rows, int64_t channels, S* sums);
  // y = act(z) + residual, which may be null.
  void (*apply)(Activation act, const T* x, const T* residual, T* y, int64_t rows, int64_t channels,
                const NormChannels<S>& k);
  // The sums over rows of dz, of dz · (x - mean), and, of a PReLU, of the slope's
  // gradient dy · min(z, 0), one after the other; dz is dy · act'(z).
  void (*reduce)(Activation act, const T* x, const T* dy, int64_t rows, int64_t channels, const NormChannels<S>& k,
                 S* sums);
  void (*gradient)(Activation act, const T* x, const T* dy, T* dx, int64_t rows, int64_t channels,
                   const NormChannels<S>& k, const NormGradient<S>& g);
};

// Rows that PointwiseKernels::outer widens at a time.
constexpr int64_t kPointwiseBlock = 128;

// 1×1 convolutions, as products of matrices: x is rows × in, y rows × out, w out × in.
template <typename T, typename S>
struct PointwiseKernels {
  int64_t panel;    // values of out that packed weights are padded to a multiple of
  int64_t strip;    // rows that multiply widens at a time
  int64_t padding;  // values at the end of a widened row, at most
  // Weights in the order that multiply reads them: w(o, i) = w[o·out_stride + i·in_stride].
  void (*pack)(const S* w, int64_t out, int64_t in, int64_t out_stride, int64_t in_stride, S* packed);
  // y = x · wᵀ; scratch for strip × (in + padding) values.
  void (*multiply)(const T* x, int64_t rows, int64_t in, const S* packed, int64_t out, T* y, S* scratch);
  // dw(o, i) = dw[o·dw_stride + i] += dyᵀ · x; scratch for kPointwiseBlock × (in + out + 2·padding) values.
  void (*outer)(const T* x, const T* dy, int64_t rows, int64_t in, int64_t out, S* dw, int64_t dw_stride, S* scratch);
};

// One image of a depthwise convolution with a 3×3 kernel.
struct DepthwiseShape {
  int64_t height, width, channels, stride, padding, out_height, out_width;
};

// Depthwise convolutions of one image; weights are positions × channels. Scratch is
// for four rows of (width + 2·padding) × channels values.
template <typename T, typename S>
struct DepthwiseKernels {
  void (*forward)(const T* x, const S* w, const DepthwiseShape& d, T* y, S* scratch);
  void (*backward_data)(const T* dy, const S* w, const DepthwiseShape& d, T* dx, S* scratch);
  // dw += the gradient.
  void (*backward_weights)(const T* x, const T* dy, const DepthwiseShape& d, S* dw, S* scratch);
  // With a kernel of the image's size there is one output. sum[c] = Σ_r a[r][c] · w[r][c]:
  void (*weighted_sum)(const T* a, const S* w, int64_t rows, int64_t channels, T* sum);
  // y[r][c] = g[c] · w[r][c]
  void (*scaled_rows)(const T* g, const S* w, int64_t rows, int64_t channels, T* y);
  // sum[c] = Σ_n a[n·stride + c] · g[n·channels + c], over images
  void (*product_sum)(const T* a, int64_t stride, const T* g, int64_t images, int64_t channels, S* sum);
};

// Constants of a step: g ← scale · g + decay · p and what follows.
struct SGDConstants {
  float scale, decay, momentum, rate;
  bool nesterov;
};

// Constants of a step of AdamW: m ← beta1·m + (1 - beta1)·scale·g, v ← beta2·v + (1 -
// beta2)·(scale·g)², p ← keep·p - rate·m / (√v·root + eps).
struct AdamWConstants {
  float scale, keep, beta1, beta2, rate, root, eps;
};

struct OptimizerKernels {
  // The sum of squares.
  double (*squares)(const float* g, int64_t n);
  // Moves the parameters p and their velocities v.
  void (*sgd)(const SGDConstants& c, const float* g, float* p, float* v, int64_t n);
  // The same with both moments m and v.
  void (*adamw)(const AdamWConstants& c, const float* g, float* p, float* m, float* v, int64_t n);
};

// All loops for elements T.
template <typename T, typename S>
struct KernelsOf {
  NormKernels<T, S> norm;
  PointwiseKernels<T, S> pointwise;
  DepthwiseKernels<T, S> depthwise;
};

// All kernels of one instruction set.
struct Kernels {
  const char* isa;
  KernelsOf<Bfloat16, float> of_bfloat16;
  KernelsOf<float, float> of_float;
  KernelsOf<double, double> of_double;
  OptimizerKernels optimizer;
};

// Those of the best instruction set that the processor has.
const Kernels& kernels();

// Those for elements T.
inline const KernelsOf<Bfloat16, float>& kernels_of(const Bfloat16*) { return kernels().of_bfloat16; }
inline const KernelsOf<float, float>& kernels_of(const float*) { return kernels().of_float; }
inline const KernelsOf<double, double>& kernels_of(const double*) { return kernels().of_double; }

}  // namespace engine

#endif
