#include "kernels.h"

#include <cstdlib>
#include <string>

namespace engine {

// One namespace for each compilation of simd/.
#define PIPE_TABLES(ISA)                                   \
  namespace ISA {                                          \
  extern const ProductKernels product;                     \
  extern const DepthwiseKernels depthwise;                 \
  extern const ConversionKernels conversion;               \
  extern const NormKernels<Bfloat16, float> norm_bfloat16; \
  extern const NormKernels<float, float> norm_float;       \
  extern const NormKernels<double, double> norm_double;    \
  }                                                        \
  static const Kernels ISA##_kernels = {#ISA,               ISA::product,    ISA::depthwise,  ISA::conversion, \
                                        ISA::norm_bfloat16, ISA::norm_float, ISA::norm_double};

PIPE_TABLES(baseline)
#if defined(__x86_64__)
PIPE_TABLES(avx2)
PIPE_TABLES(avx512)
#endif

// $PIPE_SIMD (baseline, avx2) asks for less than the processor has, for tests.
static const Kernels& choose() {
#if defined(__x86_64__)
  const char* set = std::getenv("PIPE_SIMD");
  const std::string most = set ? set : "avx512";
  bool avx2 = most != "baseline" && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
              __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
  bool avx512 = most == "avx512" && avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                __builtin_cpu_supports("avx512vl");
  if (avx512) return avx512_kernels;
  if (avx2) return avx2_kernels;
#endif
  return baseline_kernels;
}

const Kernels& kernels() {
  static const Kernels& best = choose();
  return best;
}

}  // namespace engine
