// Tiles of matrix products that stay in registers; see ProductKernels in kernels.h.
#include "vectors.h"

namespace engine {
namespace PIPE_ISA {
namespace {

// Sums take rows · vectors registers, beside those of a row of b and an element of a.
constexpr int kLanes = Traits<Floats>::n, kVectors = 2, kRows = kRegisters == 32 ? 12 : 6;

template <bool add>
void tile(const float* a, int64_t row_step, int64_t step, const float* b, int64_t ldb, int64_t depth, float* c,
          int64_t ldc) {
  Floats sum[kRows][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sum[r][v] = add ? read<Floats>(c + r * ldc + v * kLanes) : Floats{};
  for (int64_t k = 0; k < depth; ++k) {
    Floats column[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) column[v] = read<Floats>(b + k * ldb + v * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sum[r][v] += column[v] * a[r * row_step + k * step];
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) write<Floats>(c + r * ldc + v * kLanes, sum[r][v]);
}

void widen(const Bfloat16* from, float* to, int64_t n) {
  over_channels<Floats, 4>(0, n, [&](auto type, auto count, int64_t i) INLINE_LAMBDA {
    using V = typename decltype(type)::type;
    for (int k = 0; k < decltype(count)::n; ++k, i += Traits<V>::n) write<V>(to + i, read<V>(from + i));
  });
}

void narrow(const float* from, Bfloat16* to, int64_t n) {
  over_channels<Floats, 2>(0, n, [&](auto type, auto count, int64_t i) INLINE_LAMBDA {
    using V = typename decltype(type)::type;
    for (int k = 0; k < decltype(count)::n; ++k, i += Traits<V>::n) write<V>(to + i, read<V>(from + i));
  });
}

}  // namespace

extern const ProductKernels product;
extern const ConversionKernels conversion;
const ProductKernels product = {kRows, kVectors * kLanes, tile<false>, tile<true>};
const ConversionKernels conversion = {widen, narrow};

}  // namespace PIPE_ISA
}  // namespace engine
