// Filters that see each channel alone; see DepthwiseKernels in kernels.h.
#include "vectors.h"

namespace engine {
namespace PIPE_ISA {
namespace {

// Filters of so many taps have weights or sums in registers for a run of pixels.
constexpr int kTaps = 9, kVectors = kRegisters == 32 ? 2 : 1;

// n is kTaps, or 0 for any number.
template <int n>
void weigh_run(const float* const* x, int64_t x_step, const float* const* w, int64_t taps, int64_t channels,
               int64_t pixels, Bfloat16* y, int64_t y_step) {
  over_channels<Floats, n ? kVectors : 4>(0, channels, [&](auto type, auto count, int64_t c) INLINE_LAMBDA {
    using V = typename decltype(type)::type;
    constexpr int K = decltype(count)::n, N = Traits<V>::n;
    if constexpr (n > 0) {
      V weights[n][K];
#pragma GCC unroll 16
      for (int t = 0; t < n; ++t)
        for (int k = 0; k < K; ++k) weights[t][k] = read<V>(w[t] + c + k * N);
      for (int64_t p = 0; p < pixels; ++p) {
        V sum[K] = {};
#pragma GCC unroll 16
        for (int t = 0; t < n; ++t)
          for (int k = 0; k < K; ++k) sum[k] += read<V>(x[t] + p * x_step + c + k * N) * weights[t][k];
        for (int k = 0; k < K; ++k) write<V>(y + p * y_step + c + k * N, sum[k]);
      }
    } else {
      for (int64_t p = 0; p < pixels; ++p) {
        V sum[K] = {};
        for (int64_t t = 0; t < taps; ++t)
          for (int k = 0; k < K; ++k) sum[k] += read<V>(x[t] + p * x_step + c + k * N) * read<V>(w[t] + c + k * N);
        for (int k = 0; k < K; ++k) write<V>(y + p * y_step + c + k * N, sum[k]);
      }
    }
  });
}

void weigh(const float* const* x, int64_t x_step, const float* const* w, int64_t taps, int64_t channels, int64_t pixels,
           Bfloat16* y, int64_t y_step) {
  (taps == kTaps ? weigh_run<kTaps> : weigh_run<0>)(x, x_step, w, taps, channels, pixels, y, y_step);
}

template <int n>
void add_run(const float* const* x, int64_t x_step, const float* dy, int64_t dy_step, int64_t taps, int64_t channels,
             int64_t pixels, float* const* dw) {
  over_channels<Floats, n ? kVectors : 4>(0, channels, [&](auto type, auto count, int64_t c) INLINE_LAMBDA {
    using V = typename decltype(type)::type;
    constexpr int K = decltype(count)::n, N = Traits<V>::n;
    if constexpr (n > 0) {
      V sums[n][K];
#pragma GCC unroll 16
      for (int t = 0; t < n; ++t)
        for (int k = 0; k < K; ++k) sums[t][k] = read<V>(dw[t] + c + k * N);
      for (int64_t p = 0; p < pixels; ++p) {
        V g[K];
        for (int k = 0; k < K; ++k) g[k] = read<V>(dy + p * dy_step + c + k * N);
#pragma GCC unroll 16
        for (int t = 0; t < n; ++t)
          for (int k = 0; k < K; ++k) sums[t][k] += read<V>(x[t] + p * x_step + c + k * N) * g[k];
      }
#pragma GCC unroll 16
      for (int t = 0; t < n; ++t)
        for (int k = 0; k < K; ++k) write<V>(dw[t] + c + k * N, sums[t][k]);
    } else {
      for (int64_t p = 0; p < pixels; ++p) {
        V g[K];
        for (int k = 0; k < K; ++k) g[k] = read<V>(dy + p * dy_step + c + k * N);
        for (int64_t t = 0; t < taps; ++t)
          for (int k = 0; k < K; ++k) {
            float* sum = dw[t] + c + k * N;
            write<V>(sum, read<V>(sum) + read<V>(x[t] + p * x_step + c + k * N) * g[k]);
          }
      }
    }
  });
}

void add_products(const float* const* x, int64_t x_step, const float* dy, int64_t dy_step, int64_t taps,
                  int64_t channels, int64_t pixels, float* const* dw) {
  (taps == kTaps ? add_run<kTaps> : add_run<0>)(x, x_step, dy, dy_step, taps, channels, pixels, dw);
}

}  // namespace

extern const DepthwiseKernels depthwise;
const DepthwiseKernels depthwise = {weigh, add_products};

}  // namespace PIPE_ISA
}  // namespace engine
