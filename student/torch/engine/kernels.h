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
  // sums[0..channels) += x - shift, sums[channels..) += (x - shift)².
  void (*moments)(const T* x, int64_t rows, int64_t channels, const S* shift, S* sums);
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

// Products of matrices, a tile at a time: c (rows × columns, row stride ldc) is, or is
// increased by, Σ_k a[k] ⊗ b[k]. Element r of a[k] is at a[r·row_step + k·step], b[k]
// begins at b[k·ldb].
struct ProductKernels {
  int rows, columns;
  void (*tile)(const float* a, int64_t row_step, int64_t step, const float* b, int64_t ldb, int64_t depth, float* c,
               int64_t ldc);
  void (*add_tile)(const float* a, int64_t row_step, int64_t step, const float* b, int64_t ldb, int64_t depth, float* c,
                   int64_t ldc);
};

// Filters that see each channel alone, for a run of pixels: taps are the places under
// the filter that lie in the image, which are the same for all of the run. From one
// pixel to the next x[t] moves by x_step elements, and what is made by its own step.
struct DepthwiseKernels {
  // y[c] = Σ_t x[t][c] · w[t][c]
  void (*weigh)(const float* const* x, int64_t x_step, const float* const* w, int64_t taps, int64_t channels,
                int64_t pixels, Bfloat16* y, int64_t y_step);
  // dw[t][c] += Σ_pixels x[t][c] · dy[c]
  void (*add_products)(const float* const* x, int64_t x_step, const float* dy, int64_t dy_step, int64_t taps,
                       int64_t channels, int64_t pixels, float* const* dw);
};

// Conversion of n elements.
struct ConversionKernels {
  void (*widen)(const Bfloat16* from, float* to, int64_t n);
  void (*narrow)(const float* from, Bfloat16* to, int64_t n);
};

// All kernels of one instruction set.
struct Kernels {
  const char* isa;
  ProductKernels product;
  DepthwiseKernels depthwise;
  ConversionKernels conversion;
  NormKernels<Bfloat16, float> norm_bfloat16;
  NormKernels<float, float> norm_float;
  NormKernels<double, double> norm_double;
};

// Those of the best instruction set that the processor has.
const Kernels& kernels();

inline const NormKernels<Bfloat16, float>& norm_kernels(const Bfloat16*) { return kernels().norm_bfloat16; }
inline const NormKernels<float, float>& norm_kernels(const float*) { return kernels().norm_float; }
inline const NormKernels<double, double>& norm_kernels(const double*) { return kernels().norm_double; }

}  // namespace engine

#endif
