// The kernels of norm_act.cc's operator for CUDA devices.
//
// A block of threads is 32 neighbouring channels by 8 rows: a warp reads a row's
// channels together. Sums of a block of rows go to memory and are added up in their
// order by the next kernel, so that a result does not depend on the order in which
// blocks run.
#include "norm_act_cuda.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

namespace engine {
namespace cuda {
namespace {

constexpr int kLanes = 32, kDepth = 8;
constexpr int64_t kMinRows = 256, kMaxBlocks = 256;  // of rows

int64_t block_rows(int64_t rows) {
  int64_t n = (rows + kMaxBlocks - 1) / kMaxBlocks;
  return n < kMinRows ? kMinRows : n;
}
int64_t row_blocks(int64_t rows) { return (rows + block_rows(rows) - 1) / block_rows(rows); }

__device__ float widen(float v) { return v; }
__device__ double widen(double v) { return v; }
__device__ float widen(__half v) { return __half2float(v); }
__device__ float widen(__nv_bfloat16 v) { return __bfloat162float(v); }
__device__ void narrow(float v, float* to) { *to = v; }
__device__ void narrow(double v, double* to) { *to = v; }
__device__ void narrow(float v, __half* to) { *to = __float2half_rn(v); }
__device__ void narrow(float v, __nv_bfloat16* to) { *to = __float2bfloat16_rn(v); }

// The constants of a channel.
template <typename S>
struct Channel {
  S mean, scale, bias, slope;
};
template <typename S>
__device__ Channel<S> channel(Activation act, const S* mean, const S* inv_std, const S* weight, const S* bias,
                              const S* slope, int64_t c) {
  return {mean[c], weight[c] * inv_std[c], bias[c], act == Activation::prelu ? slope[c] : S(0)};
}

// Adds up K values over the rows of a block of threads and writes them to
// partial[block][k][channel].
template <int K, typename S>
__device__ void write_partial(const S (&sums)[K], S* partial, int64_t channels, int64_t c) {
  __shared__ S shared[K][kDepth][kLanes];
  for (int k = 0; k < K; ++k) shared[k][threadIdx.y][threadIdx.x] = sums[k];
  __syncthreads();
  if (threadIdx.y != 0 || c >= channels) return;
  for (int k = 0; k < K; ++k) {
    S sum = 0;
    for (int d = 0; d < kDepth; ++d) sum += shared[k][d][threadIdx.x];
    partial[(blockIdx.y * K + k) * channels + c] = sum;
  }
}

// The sum k of a channel over all blocks of rows, in their order.
template <typename S>
__device__ double total(const S* partial, int k, int sums, int64_t blocks, int64_t channels, int64_t c) {
  double sum = 0;
  for (int64_t b = 0; b < blocks; ++b) sum += partial[(b * sums + k) * channels + c];
  return sum;
}

// Sums of x - o and its square over a block of rows, whose first value is o: see norm_act.cc.
template <typename T, typename S>
__global__ void moments(const T* x, int64_t rows, int64_t channels, int64_t each, S* partial) {
  int64_t c = blockIdx.x * int64_t(kLanes) + threadIdx.x, first = blockIdx.y * each;
  int64_t last = first + each < rows ? first + each : rows;
  S sums[2] = {};
  if (c < channels) {
    S origin = widen(x[first * channels + c]);
    for (int64_t r = first + threadIdx.y; r < last; r += kDepth) {
      S v = widen(x[r * channels + c]) - origin;
      sums[0] += v;
      sums[1] += v * v;
    }
  }
  write_partial(sums, partial, channels, c);
}

template <typename T, typename S>
__global__ void statistics(const T* x, const S* partial, int64_t rows, int64_t channels, int64_t each, int64_t blocks,
                           S* mean, S* inv_std, S* running_mean, S* running_var, double momentum, double eps) {
  int64_t c = blockIdx.x * int64_t(blockDim.x) + threadIdx.x;
  if (c >= channels) return;
  double m = 0, variance = 0;
  for (int64_t b = 0; b < blocks; ++b) {
    int64_t before = b * each, n = rows - before < each ? rows - before : each;
    double sum = partial[2 * b * channels + c], square = partial[(2 * b + 1) * channels + c], own = sum / n;
    double away = widen(x[before * channels + c]) + own - m, share = double(n) / (before + n), spread = square - own * sum;
    m += away * share;
    variance += (spread < 0 ? 0 : spread) + away * away * before * share;  // NaN stays NaN
  }
  variance /= rows;
  mean[c] = S(m);
  inv_std[c] = S(1 / sqrt(variance + eps));
  double unbias = rows > 1 ? double(rows) / (rows - 1) : 1;
  running_mean[c] = S((1 - momentum) * running_mean[c] + momentum * m);
  running_var[c] = S((1 - momentum) * running_var[c] + momentum * unbias * variance);
}

template <typename T, typename S>
__global__ void apply(Activation act, const T* x, const T* residual, T* y, int64_t rows, int64_t channels,
                      int64_t each, const S* mean, const S* inv_std, const S* weight, const S* bias, const S* slope) {
  int64_t c = blockIdx.x * int64_t(kLanes) + threadIdx.x, first = blockIdx.y * each;
  int64_t last = first + each < rows ? first + each : rows;
  if (c >= channels) return;
  auto k = channel(act, mean, inv_std, weight, bias, slope, c);
  for (int64_t r = first + threadIdx.y; r < last; r += kDepth) {
    int64_t at = r * channels + c;
    S z = (widen(x[at]) - k.mean) * k.scale + k.bias;
    S v = act == Activation::none || z > 0 ? z : z * k.slope;  // a ReLU's slope is zero
    if (act == Activation::relu && z < 0) v = 0;               // also of an infinite z
    if (residual != nullptr) v += widen(residual[at]);
    narrow(v, &y[at]);
  }
}

// Sums of dz, dz · (x - mean), and of the slope's gradient.
template <typename T, typename S>
__global__ void reduce(Activation act, const T* x, const T* dy, int64_t rows, int64_t channels, int64_t each,
                       const S* mean, const S* inv_std, const S* weight, const S* bias, const S* slope, S* partial) {
  int64_t c = blockIdx.x * int64_t(kLanes) + threadIdx.x, first = blockIdx.y * each;
  int64_t last = first + each < rows ? first + each : rows;
  S sums[3] = {};
  if (c < channels) {
    auto k = channel(act, mean, inv_std, weight, bias, slope, c);
    for (int64_t r = first + threadIdx.y; r < last; r += kDepth) {
      int64_t at = r * channels + c;
      S centred = widen(x[at]) - k.mean, g = widen(dy[at]);
      S z = centred * k.scale + k.bias;
      S dz = act == Activation::none || z > 0 ? g : g * k.slope;
      sums[0] += dz;
      sums[1] += dz * centred;
      if (!(z > 0)) sums[2] += g * z;
    }
  }
  write_partial(sums, partial, channels, c);
}

// The parameters' gradients, and dx = constants[0] · dz + constants[1] · (x - mean) + constants[2].
template <typename S>
__global__ void gradients(Activation act, const S* partial, int64_t rows, int64_t channels, int64_t blocks,
                          const S* inv_std, const S* weight, S* d_weight, S* d_bias, S* d_slope, S* constants) {
  int64_t c = blockIdx.x * int64_t(blockDim.x) + threadIdx.x;
  if (c >= channels) return;
  double sum = total(partial, 0, 3, blocks, channels, c);
  double product = total(partial, 1, 3, blocks, channels, c) * inv_std[c];
  d_bias[c] = S(sum);
  d_weight[c] = S(product);
  if (act == Activation::prelu) d_slope[c] = S(total(partial, 2, 3, blocks, channels, c));
  double scale = double(weight[c]) * inv_std[c];
  constants[c] = S(scale);
  constants[channels + c] = S(-scale * inv_std[c] * product / rows);
  constants[2 * channels + c] = S(-scale * sum / rows);
}

template <typename T, typename S>
__global__ void gradient(Activation act, const T* x, const T* dy, T* dx, int64_t rows, int64_t channels, int64_t each,
                         const S* mean, const S* inv_std, const S* weight, const S* bias, const S* slope,
                         const S* constants) {
  int64_t c = blockIdx.x * int64_t(kLanes) + threadIdx.x, first = blockIdx.y * each;
  int64_t last = first + each < rows ? first + each : rows;
  if (c >= channels) return;
  auto k = channel(act, mean, inv_std, weight, bias, slope, c);
  S by_dz = constants[c], by_x = constants[channels + c], constant = constants[2 * channels + c];
  for (int64_t r = first + threadIdx.y; r < last; r += kDepth) {
    int64_t at = r * channels + c;
    S centred = widen(x[at]) - k.mean, g = widen(dy[at]);
    S z = centred * k.scale + k.bias;
    S dz = act == Activation::none || z > 0 ? g : g * k.slope;
    narrow(by_dz * dz + (by_x * centred + constant), &dx[at]);
  }
}

const char* message(cudaError_t e) { return e == cudaSuccess ? nullptr : cudaGetErrorString(e); }

template <typename T, typename S>
struct Launch {
  const Batch& b;
  int64_t each = block_rows(b.rows), blocks = row_blocks(b.rows);
  dim3 grid{unsigned((b.channels + kLanes - 1) / kLanes), unsigned(blocks)}, threads{kLanes, kDepth};
  unsigned channel_blocks = unsigned((b.channels + kLanes - 1) / kLanes);
  cudaStream_t stream = static_cast<cudaStream_t>(b.stream);
  const T* x = static_cast<const T*>(b.x);
  const S *weight = static_cast<const S*>(b.weight), *bias = static_cast<const S*>(b.bias),
          *slope = static_cast<const S*>(b.slope);
  S *mean = static_cast<S*>(b.mean), *inv_std = static_cast<S*>(b.inv_std), *partial = static_cast<S*>(b.partial);

  const char* forward(const void* residual, void* y, void* running_mean, void* running_var, double momentum,
                      double eps) const {
    moments<T, S><<<grid, threads, 0, stream>>>(x, b.rows, b.channels, each, partial);
    statistics<T, S><<<channel_blocks, kLanes, 0, stream>>>(x, partial, b.rows, b.channels, each, blocks, mean,
                                                            inv_std, static_cast<S*>(running_mean),
                                                            static_cast<S*>(running_var), momentum, eps);
    apply<T, S><<<grid, threads, 0, stream>>>(b.act, x, static_cast<const T*>(residual), static_cast<T*>(y), b.rows,
                                              b.channels, each, mean, inv_std, weight, bias, slope);
    return message(cudaGetLastError());
  }

  const char* backward(const void* dy, void* dx, void* d_weight, void* d_bias, void* d_slope, void* constants) const {
    const T* g = static_cast<const T*>(dy);
    S* k = static_cast<S*>(constants);
    reduce<T, S><<<grid, threads, 0, stream>>>(b.act, x, g, b.rows, b.channels, each, mean, inv_std, weight, bias,
                                               slope, partial);
    gradients<S><<<channel_blocks, kLanes, 0, stream>>>(b.act, partial, b.rows, b.channels, blocks, inv_std, weight,
                                                        static_cast<S*>(d_weight), static_cast<S*>(d_bias),
                                                        static_cast<S*>(d_slope), k);
    gradient<T, S><<<grid, threads, 0, stream>>>(b.act, x, g, static_cast<T*>(dx), b.rows, b.channels, each, mean,
                                                 inv_std, weight, bias, slope, k);
    return message(cudaGetLastError());
  }
};

// Calls f with the launcher of the element type. The device is set here, although libtorch has
// set it already: where this file brings a CUDA runtime of its own, that has a current device
// of its own.
template <typename F>
const char* with_launch(const Batch& b, const F& f) {
  if (const char* problem = message(cudaSetDevice(b.device))) return problem;
  switch (b.element) {
    case Element::bfloat16:
      return f(Launch<__nv_bfloat16, float>{b});
    case Element::float16:
      return f(Launch<__half, float>{b});
    case Element::float32:
      return f(Launch<float, float>{b});
    case Element::float64:
      return f(Launch<double, double>{b});
  }
  return "unknown element type";
}

}  // namespace

int64_t partial_values(int64_t rows, int64_t channels) { return row_blocks(rows) * 3 * channels; }

const char* unusable(int device) {
  cudaFuncAttributes attributes;
  cudaError_t e = cudaSetDevice(device);
  if (e == cudaSuccess) e = cudaFuncGetAttributes(&attributes, moments<float, float>);
  cudaGetLastError();  // forgets a failure
  return message(e);
}

const char* forward(const Batch& b, const void* residual, void* y, void* running_mean, void* running_var,
                    double momentum, double eps) {
  return with_launch(b, [&](auto l) { return l.forward(residual, y, running_mean, running_var, momentum, eps); });
}

const char* backward(const Batch& b, const void* dy, void* dx, void* d_weight, void* d_bias, void* d_slope,
                     void* constants) {
  return with_launch(b, [&](auto l) { return l.backward(dy, dx, d_weight, d_bias, d_slope, constants); });
}

}  // namespace cuda
}  // namespace engine
