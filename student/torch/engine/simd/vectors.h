// Short vectors of the instruction set that a file is compiled for.
//
// The files of this folder are compiled once for each instruction set, each time
// into a namespace of its own (PIPE_ISA); simd/kernels.cc picks one at run time.
// Nothing in them may come from a header with inline functions that other files
// use, too: the linker keeps one copy of such a function, and it could be the one
// that an older processor does not understand.
//
// Kernels are templates on V, the vector that they compute with, or a scalar: that
// is how channels that do not fill a vector are done.
#ifndef PIPE_SIMD_VECTORS_H
#define PIPE_SIMD_VECTORS_H

#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#include "kernels.h"

#define INLINE inline __attribute__((always_inline))
#define INLINE_LAMBDA __attribute__((always_inline))

namespace engine {
namespace PIPE_ISA {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64, kRegisters = 32;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32, kRegisters = 16;
#elif defined(__aarch64__)
constexpr int kVectorBytes = 16, kRegisters = 32;
#else
constexpr int kVectorBytes = 16, kRegisters = 16;
#endif

// Vectors<S, N>: N elements S, and the words of the same number.
template <typename S, int N>
struct Vectors {
  typedef S type __attribute__((vector_size(N * sizeof(S))));
  typedef uint32_t words __attribute__((vector_size(N * 4)));
  typedef uint16_t halves __attribute__((vector_size(N * 2)));
};
using Floats = Vectors<float, kVectorBytes / 4>::type;
using Doubles = Vectors<double, kVectorBytes / 8>::type;

// What is known of a vector or a scalar: the scalar S, the number n of elements, and
// the next narrower type.
template <typename V>
struct Traits;
template <>
struct Traits<float> {
  using S = float;
  static constexpr int n = 1;
};
template <>
struct Traits<double> {
  using S = double;
  static constexpr int n = 1;
};
#define PIPE_VECTOR(SCALAR, N, NARROWER)          \
  template <>                                     \
  struct Traits<Vectors<SCALAR, N>::type> {       \
    using S = SCALAR;                             \
    using Narrower = NARROWER;                    \
    using Words = Vectors<SCALAR, N>::words;      \
    using HalfWords = Vectors<SCALAR, N>::halves; \
    static constexpr int n = N;                   \
  };
PIPE_VECTOR(float, 4, float)
PIPE_VECTOR(double, 2, double)
#if defined(__AVX2__)
#define PIPE_COMMA ,
PIPE_VECTOR(float, 8, Vectors<float PIPE_COMMA 4>::type)
PIPE_VECTOR(double, 4, Vectors<double PIPE_COMMA 2>::type)
#endif
#if defined(__AVX512F__)
PIPE_VECTOR(float, 16, Vectors<float PIPE_COMMA 8>::type)
PIPE_VECTOR(double, 8, Vectors<double PIPE_COMMA 4>::type)
#endif

// The vector that elements of T are computed with.
template <typename T>
struct Computed {
  using V = Floats;
};
template <>
struct Computed<double> {
  using V = Doubles;
};

// Between 16 and 32 bits. GCC 12 splits conversions of 16 elements in two, and warns of
// the intrinsics that have no mask.
template <typename V>
INLINE typename Traits<V>::Words widened(typename Traits<V>::HalfWords h) {
#if defined(__AVX512F__)
  if constexpr (Traits<V>::n == 16) return (typename Traits<V>::Words)_mm512_maskz_cvtepu16_epi32(0xffff, (__m256i)h);
#endif
  return __builtin_convertvector(h, typename Traits<V>::Words);
}
template <typename V>
INLINE typename Traits<V>::HalfWords narrowed(typename Traits<V>::Words w) {
#if defined(__AVX512F__)
  if constexpr (Traits<V>::n == 16)
    return (typename Traits<V>::HalfWords)_mm512_maskz_cvtepi32_epi16(0xffff, (__m512i)w);
#endif
  return __builtin_convertvector(w, typename Traits<V>::HalfWords);
}

// Reads as many elements as V has.
template <typename V>
INLINE V read(const typename Traits<V>::S* p) {
  V v;
  memcpy(&v, p, sizeof v);
  return v;
}
template <typename V>
INLINE V read(const Bfloat16* p) {
  if constexpr (Traits<V>::n == 1) {
    uint32_t u = static_cast<uint32_t>(p->bits) << 16;
    V v;
    memcpy(&v, &u, sizeof v);
    return v;
  } else {
    typename Traits<V>::HalfWords h;
    memcpy(&h, p, sizeof h);
    return (V)(widened<V>(h) << 16);
  }
}

// Writes as many elements as V has; bfloat16 rounded to the nearest, ties to even.
template <typename V>
INLINE void write(typename Traits<V>::S* p, V v) {
  memcpy(p, &v, sizeof v);
}
template <typename V>
INLINE void write(Bfloat16* p, V v) {
  // A NaN's payload could be rounded away, or carried into the sign.
  if constexpr (Traits<V>::n == 1) {
    uint32_t u;
    memcpy(&u, &v, sizeof u);
    uint32_t rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
    p->bits = static_cast<uint16_t>(v != v ? (u >> 16) | 0x40 : rounded);
  } else {
    auto u = (typename Traits<V>::Words)v;
    auto rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
    rounded = v != v ? (u >> 16) | 0x40 : rounded;
    auto h = narrowed<V>(rounded);
    memcpy(p, &h, sizeof h);
  }
}

// Has the cache line of p[ahead] fetched, which may lie outside of what there is.
template <typename T>
INLINE void fetch(const T* p, int64_t ahead) {
  __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<uintptr_t>(p) + ahead * sizeof(T)));
}

// All elements the same.
template <typename V>
INLINE V splat(typename Traits<V>::S s) {
  return s - V{};
}

template <typename V>
struct Type {
  using type = V;
};
template <int N>
struct Count {
  static constexpr int n = N;
};

// Calls f(Type<V>, Count<K>, first channel) so that K vectors V at a time, then one
// at a time, then ever narrower ones cover the channels.
template <typename V, int K, typename F>
INLINE void over_channels(int64_t c, int64_t channels, const F& f) {
  constexpr int64_t n = Traits<V>::n;
  if constexpr (K > 1)
    for (; c + K * n <= channels; c += K * n) f(Type<V>{}, Count<K>{}, c);
  for (; c + n <= channels; c += n) f(Type<V>{}, Count<1>{}, c);
  if constexpr (n > 1) over_channels<typename Traits<V>::Narrower, 1>(c, channels, f);
}

}  // namespace PIPE_ISA
}  // namespace engine

#endif
