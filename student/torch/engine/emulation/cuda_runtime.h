// As much of CUDA as the engine's kernels use, on a processor, one block of threads after the
// other: for tests of the kernels where there is no device. A thread is a fiber, which runs until
// it waits for the others of its block. That a warp runs in step is not assumed, and no more than
// the kernels use is checked: all threads of a block that have not returned wait at one place.
#ifndef PIPE_EMULATION_CUDA_RUNTIME_H
#define PIPE_EMULATION_CUDA_RUNTIME_H

#include <stdint.h>
#include <ucontext.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <vector>

#define __global__
#define __device__
#define __shared__ static

using std::sqrt;

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
inline dim3 threadIdx, blockIdx, blockDim, gridDim;

typedef struct emulated_stream* cudaStream_t;
enum cudaError_t { cudaSuccess };
struct cudaFuncAttributes {};
inline cudaError_t cudaSetDevice(int) { return cudaSuccess; }
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline const char* cudaGetErrorString(cudaError_t) { return "none"; }
typedef struct emulated_event* cudaEvent_t;
inline cudaError_t cudaEventCreate(cudaEvent_t*) { return cudaSuccess; }
inline cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
inline cudaError_t cudaEventElapsedTime(float*, cudaEvent_t, cudaEvent_t) { return cudaSuccess; }
inline cudaError_t cudaEventDestroy(cudaEvent_t) { return cudaSuccess; }
template <typename F>
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes*, F) {
  return cudaSuccess;
}

namespace emulation {

constexpr unsigned kWarpSize = 32;
constexpr size_t kStack = 1 << 16;

[[noreturn]] inline void fail(const char* what) {
  std::fprintf(stderr, "emulation: %s\n", what);
  std::abort();
}

// A block of threads under way.
class Block {
 public:
  Block(dim3 shape, const std::function<void()>& kernel) : shape_(shape), kernel_(kernel) {
    const unsigned n = shape.x * shape.y * shape.z;
    if (n > 1024) fail("more than 1024 threads in a block");
    fibers_.resize(n);
    for (unsigned i = 0; i < n; ++i) prepare(fibers_[i], stack(i));
  }

  // A thread runs until it waits, and then the next; all go on when all that have not returned wait.
  void run() {
    current_ = this;
    for (bool some = true; some;) {
      some = false;
      const char* at = nullptr;
      for (own_ = 0; own_ < fibers_.size(); ++own_) {
        auto& f = fibers_[own_];
        if (f.done) continue;
        threadIdx = dim3(own_ % shape_.x, own_ / shape_.x % shape_.y, own_ / shape_.x / shape_.y);
        f.at = nullptr;
        swapcontext(&scheduler_, &f.context);
        if (f.at == nullptr) {
          f.done = true;
          continue;
        }
        if (at != nullptr && std::strcmp(at, f.at) != 0) fail("threads of a block wait at different places");
        at = f.at;
        some = true;
      }
    }
  }

  void wait(const char* at) {
    fibers_[own_].at = at;
    swapcontext(&fibers_[own_].context, &scheduler_);
  }

  double shuffle_down(double v, unsigned by) {
    const unsigned me = own_;
    fibers_[me].value = v;
    wait("a shuffle");
    const unsigned from = me % kWarpSize + by < kWarpSize ? me + by : me;
    if (from >= fibers_.size() || fibers_[from].done) fail("a shuffle from a thread that has returned");
    const double got = fibers_[from].value;
    wait("the end of a shuffle");
    return got;
  }

  static Block& current() { return *current_; }

 private:
  struct Fiber {
    ucontext_t context;
    const char* at = nullptr;  // where it waits
    bool done = false;
    double value = 0;
  };

  // The blocks of a thread's number use it one after the other.
  static char* stack(unsigned thread) {
    static char* stacks[1024] = {};
    if (stacks[thread] == nullptr) stacks[thread] = new char[kStack];
    return stacks[thread];
  }

  void prepare(Fiber& f, char* stack) {
    getcontext(&f.context);
    f.context.uc_stack.ss_sp = stack;
    f.context.uc_stack.ss_size = kStack;
    f.context.uc_link = &scheduler_;
    makecontext(&f.context, entry, 0);
  }

  static void entry() { current_->kernel_(); }

  static inline Block* current_ = nullptr;
  dim3 shape_;
  const std::function<void()>& kernel_;
  std::vector<Fiber> fibers_;
  unsigned own_ = 0;
  ucontext_t scheduler_;
};

inline void run(dim3 grid, dim3 threads, const std::function<void()>& kernel) {
  if (grid.y > 65535 || grid.z > 65535) fail("a grid that no device takes");
  gridDim = grid;
  blockDim = threads;
  for (unsigned z = 0; z < grid.z; ++z)
    for (unsigned y = 0; y < grid.y; ++y)
      for (unsigned x = 0; x < grid.x; ++x) {
        blockIdx = dim3(x, y, z);
        Block(threads, kernel).run();
      }
}

}  // namespace emulation

inline void __syncthreads() { emulation::Block::current().wait("__syncthreads"); }
inline double __shfl_down_sync(unsigned mask, double v, unsigned by) {
  if (mask != ~0u) emulation::fail("a shuffle of part of a warp");
  return emulation::Block::current().shuffle_down(v, by);
}

#endif
