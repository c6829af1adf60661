// A few neighbouring vectors, as one value that stays in registers.
#ifndef PIPE_SIMD_TILE_H
#define PIPE_SIMD_TILE_H

#include "vectors.h"

namespace engine {
namespace PIPE_ISA {

// K vectors of neighbouring channels.
template <typename V, int K>
struct Tile {
  V v[K];
};
template <typename V, int K, typename T>
INLINE Tile<V, K> tile(const T* p) {
  Tile<V, K> t;
  for (int k = 0; k < K; ++k) t.v[k] = read<V>(p + k * Traits<V>::n);
  return t;
}
template <typename V, int K, typename T>
INLINE void put(T* p, const Tile<V, K>& t) {
  for (int k = 0; k < K; ++k) write<V>(p + k * Traits<V>::n, t.v[k]);
}

// Converts n elements.
template <typename From, typename To>
INLINE void convert(const From* from, int64_t n, To* to) {
  using V = typename Computed<From>::V;
  over_channels<V, 4>(0, n, [&](auto type, auto count, int64_t at) INLINE_LAMBDA {
    using U = typename decltype(type)::type;
    put(to + at, tile<U, decltype(count)::n>(from + at));
  });
}

}  // namespace PIPE_ISA
}  // namespace engine

#endif
