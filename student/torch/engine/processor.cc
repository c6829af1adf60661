// What the processor can do.
#include <ATen/ATen.h>
#include <torch/library.h>

namespace engine {
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
