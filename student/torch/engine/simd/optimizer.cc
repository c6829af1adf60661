// The loops of an optimizer's step; see OptimizerKernels in kernels.h.
#include "tile.h"

namespace engine {
namespace PIPE_ISA {
namespace {

// Squares are added up in double precision, in as many sums as a vector has elements
// times two, which are then added in order.
double squares(const float* g, int64_t n) {
  Doubles sum = {}, other = {};
  constexpr int64_t wide = Traits<Doubles>::n;
  int64_t i = 0;
  double rest = 0;
  for (; i + 2 * wide <= n; i += 2 * wide) {
    Doubles a, b;
    for (int64_t k = 0; k < wide; ++k) {
      a[k] = g[i + k];
      b[k] = g[i + wide + k];
    }
    sum += a * a;
    other += b * b;
  }
  for (; i < n; ++i) rest += double(g[i]) * g[i];
  sum += other;
  for (int64_t k = 0; k < wide; ++k) rest += sum[k];
  return rest;
}

void sgd(const SGDConstants& c, const float* g, float* p, float* v, int64_t n) {
  over_channels<Floats, 4>(0, n, [&](auto type, auto count, int64_t at) INLINE_LAMBDA {
    using V = typename decltype(type)::type;
    for (int k = 0; k < decltype(count)::n; ++k, at += Traits<V>::n) {
      V value = read<V>(p + at), gradient = c.scale * read<V>(g + at) + c.decay * value;
      V velocity = c.momentum * read<V>(v + at) + gradient;
      write<V>(v + at, velocity);
      write<V>(p + at, value - c.rate * (c.nesterov ? gradient + c.momentum * velocity : velocity));
    }
  });
}

// The compiler has a square root for vectors only in loops that it turns into such itself.
void adamw(const AdamWConstants& constants, const float* __restrict g, float* __restrict p, float* __restrict m,
           float* __restrict v, int64_t n) {
  const AdamWConstants c = constants;
  for (int64_t i = 0; i < n; ++i) {
    float gradient = c.scale * g[i];
    float first = c.beta1 * m[i] + (1 - c.beta1) * gradient;
    float second = c.beta2 * v[i] + (1 - c.beta2) * (gradient * gradient);
    m[i] = first;
    v[i] = second;
    p[i] = c.keep * p[i] - c.rate * first / (__builtin_sqrtf(second) * c.root + c.eps);
  }
}

}  // namespace

extern const OptimizerKernels optimizer;
const OptimizerKernels optimizer = {squares, sgd, adamw};

}  // namespace PIPE_ISA
}  // namespace engine
