#include "kernels.h"

#include <cstdlib>
#include <string>

namespace engine {

// What one compilation of simd/ defines.
#define PIPE_TABLES_OF(NAME, T, S)                  \
  extern const NormKernels<T, S> norm_##NAME;       \
  extern const PointwiseKernels<T, S> pointwise_##NAME; \
  extern const DepthwiseKernels<T, S> depthwise_##NAME;
#define PIPE_TABLES(ISA)                     \
  namespace ISA {                            \
  PIPE_TABLES_OF(bfloat16, Bfloat16, float)  \
  PIPE_TABLES_OF(float, float, float)        \
  PIPE_TABLES_OF(double, double, double)     \
  extern const OptimizerKernels optimizer;   \
  }                                          \
  static Kernels ISA##_kernels() {           \
    using namespace ISA;                     \
    return {#ISA,                            \
            {norm_bfloat16, pointwise_bfloat16, depthwise_bfloat16}, \
            {norm_float, pointwise_float, depthwise_float},          \
            {norm_double, pointwise_double, depthwise_double},       \
            optimizer};                                              \
  }

// The Makefile says which there are.
PIPE_TABLES(baseline)
#if defined(PIPE_HAS_avx512)
PIPE_TABLES(avx2)
PIPE_TABLES(avx512)
#endif

// $PIPE_SIMD (baseline, avx2, avx512) is the most that is taken, for tests.
static Kernels choose() {
#if defined(PIPE_HAS_avx512)
  const char* set = std::getenv("PIPE_SIMD");
  const std::string most = set ? set : "avx512";
  bool avx2 = most != "baseline" && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
              __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
  bool avx512 = most == "avx512" && avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                __builtin_cpu_supports("avx512vl");
  if (avx512) return avx512_kernels();
  if (avx2) return avx2_kernels();
#endif
  return baseline_kernels();
}

const Kernels& kernels() {
  static const Kernels best = choose();
  return best;
}

}  // namespace engine
