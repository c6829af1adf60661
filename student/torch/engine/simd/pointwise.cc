// The loops of 1×1 convolutions; see PointwiseKernels in kernels.h.
//
// They are products of matrices with few columns and very many rows. A tile of the
// result stays in registers while the sum runs: kRows rows by two vectors of
// columns. Elements are widened once, into a strip that stays in the second cache.
#include "tile.h"

namespace engine {
namespace PIPE_ISA {
namespace {

// As many accumulators as leave registers for the operands. Where a factor cannot come
// from memory, as on arm64, several more are needed for it.
#if defined(__AVX512F__)
constexpr int kRows = 14;       // of y = x · wᵀ
constexpr int kOuterRows = 13;  // of dyᵀ · x, where 5 × 13 just covers 64
#elif defined(__aarch64__)
constexpr int kRows = 10, kOuterRows = 11;
#else
constexpr int kRows = 6, kOuterRows = 6;
#endif
constexpr int kStripTiles = 4;
// Rows of a power of two would all lie in the same few sets of the cache.
constexpr int64_t kPad = 16;

template <typename T>
constexpr int64_t kPanel = 2 * Traits<typename Computed<T>::V>::n;

template <typename T, typename S>
void pack(const S* w, int64_t out, int64_t in, int64_t out_stride, int64_t in_stride, S* packed) {
  for (int64_t o = 0; o < out; o += kPanel<T>)
    for (int64_t i = 0; i < in; ++i)
      for (int64_t k = 0; k < kPanel<T>; ++k) *packed++ = o + k < out ? w[(o + k) * out_stride + i * in_stride] : S(0);
}

template <typename V, int M>
struct Accumulators {
  V v[M][2];
};

// acc[m] = Σ_k a[m·stride + k] · b[k], b[k] being two vectors one after the other.
template <typename V, int M, typename S>
INLINE void product(const S* a, int64_t stride, const S* b, int64_t depth, Accumulators<V, M>& acc) {
  constexpr int n = Traits<V>::n, groups = (M + 2) / 3;
  for (int m = 0; m < M; ++m) acc.v[m][0] = acc.v[m][1] = V{};
  // Three rows share a pointer, which is what the processor's addresses can express.
  const S* rows[groups];
  for (int g = 0; g < groups; ++g) rows[g] = a + 3 * g * stride;
  for (int64_t k = 0; k < depth; ++k, b += 2 * n) {
    V b0 = read<V>(b), b1 = read<V>(b + n);
    for (int m = 0; m < M; ++m) {
      V s = splat<V>(rows[m / 3][m % 3 * stride + k]);
      acc.v[m][0] += s * b0;
      acc.v[m][1] += s * b1;
    }
  }
}

template <typename T, typename S>
void multiply(const T* x, int64_t rows, int64_t in, const S* packed, int64_t out, T* y, S* scratch) {
  using V = typename Computed<T>::V;
  constexpr int64_t n = Traits<V>::n, strip = kRows * kStripTiles;
  const int64_t stride = in + kPad;
  for (int64_t r = 0; r < rows; r += strip) {
    int64_t here = rows - r < strip ? rows - r : strip;
    for (int64_t k = 0; k < here; ++k) convert(x + (r + k) * in, in, scratch + k * stride);
    const S* panel = packed;
    for (int64_t o = 0; o < out; o += 2 * n, panel += 2 * n * in) {
      for (int64_t t = 0; t < here; t += kRows) {
        Accumulators<V, kRows> acc;
        product(scratch + t * stride, stride, panel, in, acc);
        int64_t valid = here - t < kRows ? here - t : kRows;
        T* to = y + (r + t) * out + o;
        if (valid == kRows && o + 2 * n <= out) {
          for (int m = 0; m < kRows; ++m) {
            write<V>(to + m * out, acc.v[m][0]);
            write<V>(to + m * out + n, acc.v[m][1]);
          }
          continue;
        }
        for (int64_t m = 0; m < valid; ++m) {
          S row[2 * n];
          memcpy(row, acc.v[m], sizeof row);
          convert(row, out - o < 2 * n ? out - o : 2 * n, to + m * out);
        }
      }
    }
  }
}

// dw[o][i] += Σ_r g[r][o] · x[r][i] for M values of o and two vectors of i.
template <typename V, int M, typename S>
INLINE void outer_tile(const S* g, int64_t g_stride, const S* x, int64_t x_stride, int64_t rows, S* dw,
                       int64_t dw_stride) {
  constexpr int n = Traits<V>::n;
  Accumulators<V, M> acc;
  for (int m = 0; m < M; ++m) acc.v[m][0] = acc.v[m][1] = V{};
  for (int64_t r = 0; r < rows; ++r, g += g_stride, x += x_stride) {
    V x0 = read<V>(x), x1 = read<V>(x + n);
    for (int m = 0; m < M; ++m) {
      V s = splat<V>(g[m]);
      acc.v[m][0] += s * x0;
      acc.v[m][1] += s * x1;
    }
  }
  for (int m = 0; m < M; ++m)
    for (int k = 0; k < 2; ++k) {
      S* to = dw + m * dw_stride + k * n;
      write<V>(to, read<V>(to) + acc.v[m][k]);
    }
}

template <typename T, typename S>
void outer(const T* x, const T* dy, int64_t rows, int64_t in, int64_t out, S* dw, int64_t dw_stride, S* scratch) {
  using V = typename Computed<T>::V;
  constexpr int64_t block = kPointwiseBlock, wide = kPanel<T>;
  const int64_t x_stride = in + kPad + wide, g_stride = out + kPad + kOuterRows;
  S *xs = scratch, *gs = scratch + block * x_stride;
  for (int64_t r = 0; r < rows; r += block) {
    int64_t n = rows - r < block ? rows - r : block;
    for (int64_t k = 0; k < n; ++k) {
      convert(x + (r + k) * in, in, xs + k * x_stride);
      convert(dy + (r + k) * out, out, gs + k * g_stride);
    }
    for (int64_t i = 0; i < in; i += wide) {
      for (int64_t o = 0; o < out; o += kOuterRows) {
        S* to = dw + o * dw_stride + i;
        if (o + kOuterRows <= out && i + wide <= in) {
          outer_tile<V, kOuterRows>(gs + o, g_stride, xs + i, x_stride, n, to, dw_stride);
          continue;
        }
        // The last ones, of fewer rows or columns: by way of a tile beside. What the
        // padding of a row holds goes into places of it that are not copied back.
        S edge[kOuterRows * wide] = {};
        outer_tile<V, kOuterRows>(gs + o, g_stride, xs + i, x_stride, n, edge, wide);
        for (int64_t m = 0; m < kOuterRows && o + m < out; ++m)
          for (int64_t k = 0; k < wide && i + k < in; ++k) to[m * dw_stride + k] += edge[m * wide + k];
      }
    }
  }
}

template <typename T, typename S>
constexpr PointwiseKernels<T, S> table() {
  return {kPanel<T>, kRows * kStripTiles, kPad + kPanel<T> + kOuterRows, pack<T, S>, multiply<T, S>, outer<T, S>};
}

}  // namespace

extern const PointwiseKernels<Bfloat16, float> pointwise_bfloat16;
extern const PointwiseKernels<float, float> pointwise_float;
extern const PointwiseKernels<double, double> pointwise_double;
const PointwiseKernels<Bfloat16, float> pointwise_bfloat16 = table<Bfloat16, float>();
const PointwiseKernels<float, float> pointwise_float = table<float, float>();
const PointwiseKernels<double, double> pointwise_double = table<double, double>();

}  // namespace PIPE_ISA
}  // namespace engine
