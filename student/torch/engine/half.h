// Bfloat16 as bits, with conversions that compilers turn into vector code.
#ifndef PIPE_HALF_H
#define PIPE_HALF_H

#include <cstdint>
#include <cstring>

#define PIPE_INLINE inline __attribute__((always_inline))

namespace engine {

struct Half {
  uint16_t bits;
};

PIPE_INLINE float load(const Half& h) {
  uint32_t u = static_cast<uint32_t>(h.bits) << 16;
  float f;
  std::memcpy(&f, &u, 4);
  return f;
}
PIPE_INLINE float load(const float& f) { return f; }
PIPE_INLINE double load(const double& f) { return f; }

PIPE_INLINE void store(Half& h, float f) {
  uint32_t u;
  std::memcpy(&u, &f, 4);
  // Round to nearest even; NaN stays NaN because its payload is not all zero.
  uint32_t rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
  h.bits = static_cast<uint16_t>((u & 0x7fffffff) > 0x7f800000 ? (u >> 16) | 0x40 : rounded);
}
PIPE_INLINE void store(float& t, float f) { t = f; }
PIPE_INLINE void store(double& t, double f) { t = f; }

}  // namespace engine

#endif
