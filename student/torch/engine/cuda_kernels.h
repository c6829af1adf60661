// What the kernels for CUDA devices share: element types, wide loads and stores, sums over a
// warp, and how a kernel is started. They are compiled by nvcc and, for tests, by the emulation
// of emulation/.
#ifndef PIPE_CUDA_KERNELS_H
#define PIPE_CUDA_KERNELS_H

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <stdint.h>

namespace engine {
namespace cuda {

constexpr int kWarp = 32, kThreads = 256;  // of a block

// The most blocks that something is spread over. Tests take fewer, for each to have more to do.
#ifndef PIPE_MOST_BLOCKS
#define PIPE_MOST_BLOCKS(n) n
#endif

__device__ inline float widen(float v) { return v; }
__device__ inline double widen(double v) { return v; }
__device__ inline float widen(__half v) { return __half2float(v); }
__device__ inline float widen(__nv_bfloat16 v) { return __bfloat162float(v); }
__device__ inline void narrow(float v, float* to) { *to = v; }
__device__ inline void narrow(double v, double* to) { *to = v; }
__device__ inline void narrow(float v, __half* to) { *to = __float2half_rn(v); }
__device__ inline void narrow(float v, __nv_bfloat16* to) { *to = __float2bfloat16_rn(v); }

// V neighbouring values, which one instruction reads or writes.
template <typename T, int V>
struct alignas(V * sizeof(T)) Pack {
  T v[V];
};
template <typename T, int V>
__device__ Pack<T, V> load(const T* from) {
  return *reinterpret_cast<const Pack<T, V>*>(from);
}
template <typename T, int V>
__device__ void store(const Pack<T, V>& p, T* to) {
  *reinterpret_cast<Pack<T, V>*>(to) = p;
}

// The values of one load of 16 bytes.
template <typename T>
constexpr int kWide = 16 / sizeof(T);

inline bool aligned(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }  // also null

// The sum over a warp, in its lane 0, always in one order.
__device__ inline double warp_sum(double v) {
  for (int d = kWarp / 2; d > 0; d /= 2) v += __shfl_down_sync(~0u, v, d);
  return v;
}

template <typename... P, typename... A>
void launch(void (*kernel)(P...), dim3 grid, dim3 threads, cudaStream_t stream, A... arguments) {
  (void)stream;
#ifdef __CUDACC__
  kernel<<<grid, threads, 0, stream>>>(static_cast<P>(arguments)...);
#else
  emulation::run(grid, threads, [&] { kernel(static_cast<P>(arguments)...); });
#endif
}

inline const char* message(cudaError_t e) { return e == cudaSuccess ? nullptr : cudaGetErrorString(e); }

}  // namespace cuda
}  // namespace engine

#endif
