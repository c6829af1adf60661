#include "processor.h"

#include <ATen/ATen.h>
#include <torch/library.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <cstdlib>
#include <initializer_list>
#include <string>

namespace engine {
namespace {

#if defined(__x86_64__)

bool is_amd() {
  unsigned a, b, c, d;
  return __get_cpuid(0, &a, &b, &c, &d) && b == signature_AMD_ebx;
}

bool has_dot_product() {
  unsigned a, b, c, d;
  return __builtin_cpu_supports("avx512f") && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 5 & 1);  // AVX512-BF16
}

// Linux gives a process the unit's registers, which are large, only when it asks. oneDNN
// does, and goes without them where it is refused.
bool has_matrix_unit() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  unsigned a, b, c, d;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 22 & 1) &&  // AMX-BF16
         syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

// Users can limit oneDNN to an instruction set, such as AVX512_CORE_BF16, by the first of
// these variables. Whether it may still use those whose names have one of the parts.
bool onednn_may_use(std::initializer_list<const char*> parts) {
  std::string limit;
  for (const char* name : {"ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"})
    if (const char* set = std::getenv(name); set && limit.empty()) limit = set;
  for (char& c : limit) c = 'a' <= c && c <= 'z' ? c - 'a' + 'A' : c;
  if (limit.empty() || limit == "ALL" || limit == "DEFAULT") return true;
  for (const char* part : parts)
    if (limit.find(part) != std::string::npos) return true;
  return false;
}

// What libtorch asks of a processor before it hands bfloat16 to oneDNN.
bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         onednn_may_use({"AVX512", "AVX10"});
}

Bfloat16Unit look() {
  if (has_matrix_unit() && onednn_may_use({"AMX"})) return Bfloat16Unit::matrix;
  if (has_dot_product() && onednn_may_use({"BF16", "FP16", "AVX10", "AMX"})) return Bfloat16Unit::dot_product;
  return Bfloat16Unit::none;
}

#else

bool is_amd() { return false; }
bool has_avx512() { return false; }
Bfloat16Unit look() { return Bfloat16Unit::none; }

#endif

}  // namespace

Bfloat16Unit bfloat16_unit() {
  static const Bfloat16Unit unit = look();
  return unit;
}

bool bfloat16_is_onednns() {
  static const bool is = std::getenv("PIPE_SIMD") == nullptr &&
                         (bfloat16_unit() == Bfloat16Unit::matrix ||
                          (bfloat16_unit() == Bfloat16Unit::dot_product && is_amd()));
  return is;
}

bool onednn_takes_bfloat16() {
  static const bool takes = std::getenv("PIPE_SIMD") == nullptr && has_avx512();
  return takes;
}

}  // namespace engine

TORCH_LIBRARY_FRAGMENT(pipe, m) {
  // Devices are taken for new enough.
  m.def("has_bfloat16_unit(Tensor t) -> Tensor", [](const at::Tensor& t) {
    bool has = !t.is_cpu() || engine::bfloat16_unit() != engine::Bfloat16Unit::none;
    return at::full({}, has ? 1 : 0, at::kLong);
  });
}
