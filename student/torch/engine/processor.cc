#include "processor.h"

#include <ATen/ATen.h>
#include <torch/library.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace engine {

bool has_matrix_unit() {
#if defined(__x86_64__)
  static const bool has = [] {
    unsigned a, b, c, d;
    constexpr unsigned amx_bf16 = 1u << 22;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & amx_bf16);
  }();
  return has;
#else
  return false;
#endif
}

namespace {

// Whether matrices in bfloat16 are multiplied faster than in float32. Processors
// without instructions for it are many times slower; devices are taken for new enough.
bool fast_bfloat16(const at::Tensor& t) {
  if (!t.is_cpu()) return true;
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
  return __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

}  // namespace
}  // namespace engine

TORCH_LIBRARY_FRAGMENT(pipe, m) {
  m.def("fast_bfloat16(Tensor t) -> Tensor", [](const at::Tensor& t) {
    return at::full({}, engine::fast_bfloat16(t) ? 1 : 0, at::kLong);
  });
}
