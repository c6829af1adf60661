// The loops of batch normalisation; see NormKernels in kernels.h.
//
// Sums and constants of some channels stay in registers for a strip of rows, and
// the strip is short enough to stay in the first cache while the channels are gone
// through, so that memory is read in order. But for the processor it is a line here and
// a line there, which it does not foresee: without fetching the strip after the next
// beforehand, loops spent more than half of their time waiting.
#include "tile.h"

namespace engine {
namespace PIPE_ISA {
namespace {

constexpr int64_t kStripRows = 8, kRowsAhead = 2 * kStripRows;

// Calls f(Type<V>, Count<K>, first row, rows, first channel) over strips and channels.
template <typename T, int K, typename F>
INLINE void over_tiles(int64_t rows, int64_t channels, const F& f) {
  for (int64_t r = 0; r < rows; r += kStripRows) {
    int64_t n = rows - r < kStripRows ? rows - r : kStripRows;
    over_channels<typename Computed<T>::V, K>(
        0, channels, [&](auto v, auto k, int64_t c) INLINE_LAMBDA { f(v, k, r, n, c); });
  }
}

template <typename T, typename S>
void moments(const T* x, int64_t rows, int64_t channels, S* sums) {
  over_tiles<T, 4>(rows, channels, [&](auto type, auto count, int64_t r, int64_t n, int64_t c) INLINE_LAMBDA {
    using V = typename decltype(type)::type;
    constexpr int K = decltype(count)::n;
    auto origin = tile<V, K>(x + c), sum = tile<V, K>(sums + c), square = tile<V, K>(sums + channels + c);
    for (const T* p = x + r * channels + c; n > 0; --n, p += channels) {
      fetch(p, kRowsAhead * channels);
      for (int k = 0; k < K; ++k) {
        V v = read<V>(p + k * Traits<V>::n) - origin.v[k];
        sum.v[k] += v;
        square.v[k] += v * v;
      }
    }
    put(sums + c, sum);
    put(sums + channels + c, square);
    if (r == 0) put(sums + 2 * channels + c, origin);
  });
}

// act(z), and dz of dy.
template <Activation A, typename V>
INLINE V activated(V z, V slope) {
  if constexpr (A == Activation::none) return z;
  if constexpr (A == Activation::prelu) return z > 0 ? z : z * slope;
  if constexpr (A == Activation::relu) return z < 0 ? V{} : z;  // NaN stays NaN
}
template <Activation A, typename V>
INLINE V before(V z, V dy, V slope) {
  if constexpr (A == Activation::none) return dy;
  if constexpr (A == Activation::prelu) return z > 0 ? dy : dy * slope;
  if constexpr (A == Activation::relu) return z > 0 ? dy : V{};
}

template <Activation A, bool residual, typename T, typename S>
void apply(const T* x, const T* add, T* y, int64_t rows, int64_t channels, const NormChannels<S>& k) {
  over_tiles<T, 2>(rows, channels, [&](auto type, auto count, int64_t r, int64_t n, int64_t c) INLINE_LAMBDA {
    using V = typename decltype(type)::type;
    constexpr int K = decltype(count)::n;
    auto mean = tile<V, K>(k.mean + c), scale = tile<V, K>(k.scale + c), bias = tile<V, K>(k.bias + c), slope = bias;
    if constexpr (A == Activation::prelu) slope = tile<V, K>(k.slope + c);
    for (int64_t at = r * channels + c; n > 0; --n, at += channels) {
      fetch(x + at, kRowsAhead * channels);
      if constexpr (residual) fetch(add + at, kRowsAhead * channels);
      for (int i = 0; i < K; ++i) {
        int64_t p = at + i * Traits<V>::n;
        V v = activated<A>((read<V>(x + p) - mean.v[i]) * scale.v[i] + bias.v[i], slope.v[i]);
        if constexpr (residual) v += read<V>(add + p);
        write<V>(y + p, v);
      }
    }
  });
}

template <Activation A, typename T, typename S>
void reduce(const T* x, const T* dy, int64_t rows, int64_t channels, const NormChannels<S>& k, S* sums) {
  over_tiles<T, 2>(rows, channels, [&](auto type, auto count, int64_t r, int64_t n, int64_t c) INLINE_LAMBDA {
    using V = typename decltype(type)::type;
    constexpr int K = decltype(count)::n;
    auto mean = tile<V, K>(k.mean + c), scale = mean, bias = mean, slope = mean;
    if constexpr (A != Activation::none) scale = tile<V, K>(k.scale + c), bias = tile<V, K>(k.bias + c);
    auto sum = tile<V, K>(sums + c), product = tile<V, K>(sums + channels + c), by_slope = sum;
    if constexpr (A == Activation::prelu)
      slope = tile<V, K>(k.slope + c), by_slope = tile<V, K>(sums + 2 * channels + c);
    for (int64_t at = r * channels + c; n > 0; --n, at += channels) {
      fetch(x + at, kRowsAhead * channels);
      fetch(dy + at, kRowsAhead * channels);
      for (int i = 0; i < K; ++i) {
        int64_t p = at + i * Traits<V>::n;
        V centred = read<V>(x + p) - mean.v[i], g = read<V>(dy + p), z = centred;
        if constexpr (A != Activation::none) z = centred * scale.v[i] + bias.v[i];
        V dz = before<A>(z, g, slope.v[i]);
        sum.v[i] += dz;
        product.v[i] += dz * centred;
        if constexpr (A == Activation::prelu) by_slope.v[i] += z > 0 ? V{} : g * z;
      }
    }
    put(sums + c, sum);
    put(sums + channels + c, product);
    if constexpr (A == Activation::prelu) put(sums + 2 * channels + c, by_slope);
  });
}

template <Activation A, typename T, typename S>
void gradient(const T* x, const T* dy, T* dx, int64_t rows, int64_t channels, const NormChannels<S>& k,
              const NormGradient<S>& g) {
  over_tiles<T, 2>(rows, channels, [&](auto type, auto count, int64_t r, int64_t n, int64_t c) INLINE_LAMBDA {
    using V = typename decltype(type)::type;
    constexpr int K = decltype(count)::n;
    auto mean = tile<V, K>(k.mean + c), scale = mean, bias = mean, slope = mean;
    if constexpr (A != Activation::none) scale = tile<V, K>(k.scale + c), bias = tile<V, K>(k.bias + c);
    if constexpr (A == Activation::prelu) slope = tile<V, K>(k.slope + c);
    auto by_dz = tile<V, K>(g.a + c), by_x = tile<V, K>(g.b + c), constant = tile<V, K>(g.c + c);
    for (int64_t at = r * channels + c; n > 0; --n, at += channels) {
      fetch(x + at, kRowsAhead * channels);
      fetch(dy + at, kRowsAhead * channels);
      for (int i = 0; i < K; ++i) {
        int64_t p = at + i * Traits<V>::n;
        V centred = read<V>(x + p) - mean.v[i], z = centred;
        if constexpr (A != Activation::none) z = centred * scale.v[i] + bias.v[i];
        V dz = before<A>(z, read<V>(dy + p), slope.v[i]);
        write<V>(dx + p, by_dz.v[i] * dz + (by_x.v[i] * centred + constant.v[i]));
      }
    }
  });
}

// The activation and whether there is a residual are known to the loops' compiler.
template <typename T, typename S>
void any_apply(Activation act, const T* x, const T* residual, T* y, int64_t rows, int64_t channels,
               const NormChannels<S>& k) {
  using A = Activation;
  auto f = act == A::none    ? (residual ? apply<A::none, true, T, S> : apply<A::none, false, T, S>)
           : act == A::prelu ? (residual ? apply<A::prelu, true, T, S> : apply<A::prelu, false, T, S>)
                             : (residual ? apply<A::relu, true, T, S> : apply<A::relu, false, T, S>);
  f(x, residual, y, rows, channels, k);
}

template <typename T, typename S>
void any_reduce(Activation act, const T* x, const T* dy, int64_t rows, int64_t channels, const NormChannels<S>& k,
                S* sums) {
  using A = Activation;
  auto f = act == A::none ? reduce<A::none, T, S> : act == A::prelu ? reduce<A::prelu, T, S> : reduce<A::relu, T, S>;
  f(x, dy, rows, channels, k, sums);
}

template <typename T, typename S>
void any_gradient(Activation act, const T* x, const T* dy, T* dx, int64_t rows, int64_t channels,
                  const NormChannels<S>& k, const NormGradient<S>& g) {
  using A = Activation;
  auto f = act == A::none    ? gradient<A::none, T, S>
           : act == A::prelu ? gradient<A::prelu, T, S>
                             : gradient<A::relu, T, S>;
  f(x, dy, dx, rows, channels, k, g);
}

template <typename T, typename S>
constexpr NormKernels<T, S> table() {
  return {moments<T, S>, any_apply<T, S>, any_reduce<T, S>, any_gradient<T, S>};
}

}  // namespace

extern const NormKernels<Bfloat16, float> norm_bfloat16;
extern const NormKernels<float, float> norm_float;
extern const NormKernels<double, double> norm_double;
const NormKernels<Bfloat16, float> norm_bfloat16 = table<Bfloat16, float>();
const NormKernels<float, float> norm_float = table<float, float>();
const NormKernels<double, double> norm_double = table<double, double>();

}  // namespace PIPE_ISA
}  // namespace engine
