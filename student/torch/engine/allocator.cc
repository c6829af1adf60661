// Training asks for the same large buffers in every step. The C library gives
// such memory back to the kernel when it is freed, and the kernel clears each
// page again at the next step: measured on MobileFaceNet, a quarter of the whole
// step. So buffers of a megabyte and more are kept by size and used again, as
// libtorch itself does on GPUs.
#include "allocator.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <malloc.h>
#include <sys/mman.h>
#include <torch/version.h>

#include <cstdlib>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace engine {
namespace {

constexpr size_t kLarge = 1 << 20;      // smaller requests stay with the C library
constexpr size_t kHugePage = 2 << 20;   // of x86-64 and most arm64 kernels
constexpr size_t kSmallAlignment = 64;  // a cache line, and an AVX-512 register

size_t rounded(size_t n) {
  const size_t unit = n < kHugePage ? kLarge / 4 : kHugePage;
  return (n + unit - 1) / unit * unit;
}

// libtorch dropped the const in 2.3.
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 3)
#define ALLOCATE c10::DataPtr allocate(size_t n) override
#else
#define ALLOCATE c10::DataPtr allocate(size_t n) const override
#endif

class CachingAllocator final : public c10::Allocator {
 public:
  ALLOCATE { return make(n); }
  c10::DeleterFnPtr raw_deleter() const override { return &CachingAllocator::release; }
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 2)
  void copy_data(void* to, const void* from, size_t n) const override { default_copy_data(to, from, n); }
#endif

  void trim() const {
    std::lock_guard<std::mutex> lock(mutex_);
    for (auto& [size, buffers] : idle_) {
      for (void* p : buffers) {
        size_.erase(p);
        free(p);
      }
    }
    idle_.clear();
  }

  static CachingAllocator& instance() {
    static auto* a = new CachingAllocator();  // lives as long as any tensor may
    return *a;
  }

 private:
  c10::DataPtr make(size_t n) const {
    void* p = n == 0 ? nullptr : n < kLarge ? aligned(kSmallAlignment, n) : take(rounded(n));
    return {p, p, &CachingAllocator::release, c10::Device(c10::DeviceType::CPU)};
  }

  static void* aligned(size_t alignment, size_t n) {
    void* p = nullptr;
    TORCH_CHECK(posix_memalign(&p, alignment, n) == 0, "out of memory: no ", n, " bytes");
    return p;
  }

  void* take(size_t size) const {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      auto& idle = idle_[size];
      if (!idle.empty()) {
        void* p = idle.back();
        idle.pop_back();
        return p;
      }
    }
    void* p = aligned(size < kHugePage ? 4096 : kHugePage, size);
    madvise(p, size, MADV_HUGEPAGE);  // a hint; its failure costs speed only
    std::lock_guard<std::mutex> lock(mutex_);
    size_[p] = size;
    return p;
  }

  static void release(void* p) {
    if (p == nullptr) return;
    auto& self = instance();
    {
      std::lock_guard<std::mutex> lock(self.mutex_);
      auto it = self.size_.find(p);
      if (it != self.size_.end()) {
        self.idle_[it->second].push_back(p);
        return;
      }
    }
    free(p);
  }

  mutable std::mutex mutex_;
  mutable std::unordered_map<void*, size_t> size_;               // every large buffer
  mutable std::unordered_map<size_t, std::vector<void*>> idle_;  // those not in use
};

}  // namespace

void install_caching_allocator() {
  static bool done = [] {
    c10::SetCPUAllocator(&CachingAllocator::instance(), /*priority=*/100);
    return true;
  }();
  (void)done;
}

void trim_caching_allocator() {
  CachingAllocator::instance().trim();
#ifdef __GLIBC__
  // Small requests leave holes in the C library's arenas, of which each thread that trains takes
  // another: a process that trains one model after another would grow by each.
  malloc_trim(0);
#endif
}

}  // namespace engine
