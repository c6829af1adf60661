// Process groups on c10d, the layer that PyTorch's own distributed training runs on:
// a TCP store where the ranks meet, Gloo for tensors in memory and, where the
// libtorch has it, NCCL for those on CUDA devices.
//
// A dead rank shows as closed connections of Gloo's, so a group on CUDA keeps a Gloo
// beside its NCCL: small things go through it, and find out.
#include "border.h"
#include "engine.h"
#include "group.h"
#include "uncaught.h"

#include <mutex>
#include <string>
#include <vector>

#ifdef USE_C10D_GLOO
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#ifdef USE_C10D_NCCL
#include <c10/cuda/CUDAGuard.h>
#include <torch/csrc/cuda/nccl.h>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif
#endif

namespace engine {
namespace {

#ifdef USE_C10D_GLOO

using std::chrono::milliseconds;

// Gloo itself, with a limit on collectives other than that on joining.
class Gloo : public c10d::ProcessGroupGloo {
 public:
  using c10d::ProcessGroupGloo::ProcessGroupGloo;

  void limit(milliseconds wait) {
    getOptions()->timeout = wait;
    for (auto& context : contexts_) context->setTimeout(wait);
  }
};

struct Join {
  std::string host;
  uint16_t port;
  int rank, size;
  std::string address;
  at::Device device;
  milliseconds join, wait, device_wait;
};

// Waits for a collective. What fails here is most often not this rank's fault.
template <typename Work>
void finish(const Work& work) {
  std::string reason;
  try {
    work->wait();
    return;
  } catch (const c10::Error& e) {
    reason = e.what_without_backtrace();
  } catch (const std::exception& e) {
    reason = e.what();
  }
  TORCH_CHECK(false, "another rank did not take part; if it has ended, it says why: ", reason);
}

// Gloo takes the ranks' tensors one by one in all versions of libtorch.
auto gather(c10d::ProcessGroupGloo& gloo, const at::Tensor& t, const at::Tensor& out, int64_t size) {
  std::vector<at::Tensor> in{t};
  std::vector<std::vector<at::Tensor>> parts{out.view({size, -1}).unbind(0)};
  for (auto& part : parts[0]) part = part.view(t.sizes());
  return gloo.allgather(parts, in);
}
#ifdef USE_C10D_NCCL
auto gather(c10d::ProcessGroupNCCL& nccl, at::Tensor t, at::Tensor out, int64_t) {
  return nccl._allgather_base(out, t);
}
#endif

// The backends share the collectives' names and arguments, but only in later
// versions a base class.
template <typename Backend>
class On {
 public:
  explicit On(c10::intrusive_ptr<Backend> backend) : backend_(std::move(backend)) {}

  Wait all_reduce(const at::Tensor& t) {
    std::vector<at::Tensor> tensors{t};
    auto work = backend_->allreduce(tensors);
    return [work, t] { finish(work); };
  }

  void broadcast(const at::Tensor& t, int64_t root) {
    std::vector<at::Tensor> tensors{t};
    c10d::BroadcastOptions options;
    options.rootRank = root;
    finish(backend_->broadcast(tensors, options));
  }

  void all_gather(const at::Tensor& t, const at::Tensor& out, int64_t size) {
    finish(gather(*backend_, t, out, size));
  }

 private:
  c10::intrusive_ptr<Backend> backend_;
};

// Ends what a backend has under way, where this version of libtorch can: its own threads must
// not outlive what they look at.
template <typename Backend>
auto shut_down(Backend& b, int) -> decltype(b.shutdown(), void()) {
  b.shutdown();
}
template <typename Backend>
void shut_down(Backend&, long) {}

class C10d : public Group {
 public:
  explicit C10d(const Join& j) : rank_(j.rank), size_(j.size) {
    c10d::TCPStoreOptions options;
    options.port = j.port;
    options.isServer = j.rank == 0;
    options.numWorkers = j.size;
    options.timeout = j.join;
    store_ = c10::make_intrusive<c10d::TCPStore>(j.host, options);
    auto gloo_options = c10d::ProcessGroupGloo::Options::create(j.join);
    gloo_options->devices.push_back(j.address.empty() ? c10d::ProcessGroupGloo::createDefaultDevice()
                                                      : c10d::ProcessGroupGloo::createDeviceForHostname(j.address));
    gloo_ = c10::make_intrusive<Gloo>(prefixed("gloo"), rank_, size_, gloo_options);
    gloo_->limit(j.wait);
    if (j.device.is_cuda()) join_cuda(j);
  }

#ifdef USE_C10D_NCCL
  ~C10d() override {
    if (nccl_) free_message(guarded([&] { shut_down(*nccl_, 0); }));
  }
#endif

 private:
  // Calls f with the backend for where t is.
  template <typename F>
  auto on(const at::Tensor& t, const F& f) {
#ifdef USE_C10D_NCCL
    if (t.is_cuda()) {
      TORCH_CHECK(nccl_, "the process group was made for the CPU");
      return f(On<c10d::ProcessGroupNCCL>(nccl_));
    }
#endif
    TORCH_CHECK(t.is_cpu(), "no collectives for tensors on ", t.device());
    return f(On<c10d::ProcessGroupGloo>(gloo_));
  }

 public:
  int64_t rank() const override { return rank_; }
  int64_t size() const override { return size_; }

  Wait all_reduce(const at::Tensor& t) override {
    return on(t, [&](auto backend) { return backend.all_reduce(t); });
  }
  void broadcast(const at::Tensor& t, int64_t root) override {
    on(t, [&](auto backend) { backend.broadcast(t, root); });
  }
  void all_gather(const at::Tensor& t, const at::Tensor& out) override {
    on(t, [&](auto backend) { backend.all_gather(t, out, size_); });
  }
  void barrier() override { finish(gloo_->barrier()); }

 private:
  c10::intrusive_ptr<c10d::Store> prefixed(const char* name) {
    return c10::make_intrusive<c10d::PrefixStore>(name, store_);
  }

#ifdef USE_C10D_NCCL
  void join_cuda(const Join& j) {
    same_nccl();
    end_on_uncaught("rank " + std::to_string(rank_) + " of " + std::to_string(size_) +
                    ": a collective on the CUDA device failed, as another rank did not take part within " +
                    std::to_string(j.device_wait.count() / 1000) + " s or its connection broke");
    c10::cuda::CUDAGuard guard(j.device);
    auto options = c10d::ProcessGroupNCCL::Options::create();
    options->timeout = j.device_wait;
    nccl_ = c10::make_intrusive<c10d::ProcessGroupNCCL>(prefixed("nccl"), rank_, size_, options);
  }

  // The options hold a structure of NCCL's that grows from version to version, and libtorch and
  // this file must mean the same one.
  static void same_nccl() {
    // version() has 32, 16 and 16 bits of what libtorch was compiled with.
    uint64_t v = torch::cuda::nccl::version();
    uint64_t major = v >> 32, minor = v >> 16 & 0xffff, patch = v & 0xffff;
    TORCH_CHECK(major == NCCL_MAJOR && minor == NCCL_MINOR && patch == NCCL_PATCH, "the engine was compiled with NCCL ",
                NCCL_MAJOR, ".", NCCL_MINOR, ".", NCCL_PATCH, "'s header, libtorch with that of NCCL ", major, ".", minor,
                ".", patch, ": build the engine with the latter (NCCL=DIR make engine)");
  }

  c10::intrusive_ptr<c10d::ProcessGroupNCCL> nccl_;
#else
  void join_cuda(const Join&) {
    TORCH_CHECK(false, "the engine was built without NCCL, which several ranks on CUDA need: build it with a "
                       "libtorch for CUDA and nccl.h in reach (NCCL=DIR)");
  }
#endif

  int rank_, size_;
  c10::intrusive_ptr<c10d::TCPStore> store_;
  c10::intrusive_ptr<Gloo> gloo_;
};

#endif  // USE_C10D_GLOO

std::mutex synchronised_lock;
std::shared_ptr<Group> synchronised;

}  // namespace

std::shared_ptr<Group> group(const void* handle) {
  TORCH_CHECK(handle != nullptr, "null process group");
  return *static_cast<const std::shared_ptr<Group>*>(handle);
}

std::shared_ptr<Group> synchronised_group() {
  std::lock_guard<std::mutex> guard(synchronised_lock);
  return synchronised;
}

}  // namespace engine

using engine::group;
using engine::guarded;
using engine::tensor;

extern "C" {

const char* pipe_engine_group_backends(void) {
#if defined(USE_C10D_NCCL) && defined(USE_C10D_GLOO)
  return "gloo nccl";
#elif defined(USE_C10D_GLOO)
  return "gloo";
#else
  return "";
#endif
}

char* pipe_engine_group_create(const char* host, int64_t port, int64_t rank, int64_t size, const char* address,
                               const char* device, int64_t join_ms, int64_t wait_ms, int64_t device_wait_ms,
                               pipe_group* out) {
  return guarded([&] {
#ifdef USE_C10D_GLOO
    engine::Join j{host,
                   static_cast<uint16_t>(port),
                   static_cast<int>(rank),
                   static_cast<int>(size),
                   address,
                   at::Device(std::string(device)),
                   std::chrono::milliseconds(join_ms),
                   std::chrono::milliseconds(wait_ms),
                   std::chrono::milliseconds(device_wait_ms)};
    *out = new std::shared_ptr<engine::Group>(std::make_shared<engine::C10d>(j));
#else
    (void)host, (void)port, (void)rank, (void)size, (void)address, (void)device, (void)join_ms, (void)wait_ms;
    (void)device_wait_ms, (void)out;
    TORCH_CHECK(false, "the engine was built with a libtorch that has no c10d with Gloo, which several ranks need");
#endif
  });
}

void pipe_engine_group_destroy(pipe_group g) {
  if (g == nullptr) return;
  engine::free_message(guarded([&] { delete static_cast<std::shared_ptr<engine::Group>*>(g); }));
}

char* pipe_engine_group_all_reduce(pipe_group g, pipe_tensor t, pipe_work* out) {
  return guarded([&] {
    auto x = tensor(t).detach();
    TORCH_CHECK(x.is_contiguous(), "an all-reduce takes a contiguous tensor");
    *out = new engine::Wait(group(g)->all_reduce(x));
  });
}

char* pipe_engine_group_wait(pipe_work w) {
  return guarded([&] {
    std::unique_ptr<engine::Wait> wait(static_cast<engine::Wait*>(w));
    (*wait)();
  });
}

char* pipe_engine_group_broadcast(pipe_group g, pipe_tensor t, int64_t root) {
  return guarded([&] {
    auto x = tensor(t).detach(), dense = x.contiguous();
    group(g)->broadcast(dense, root);
    if (!dense.is_same(x)) x.copy_(dense);
  });
}

char* pipe_engine_group_all_gather(pipe_group g, pipe_tensor t, pipe_tensor out) {
  return guarded([&] {
    auto x = tensor(t).detach().contiguous(), all = tensor(out).detach();
    auto members = group(g);
    TORCH_CHECK(all.is_contiguous() && all.scalar_type() == x.scalar_type() &&
                    all.numel() == x.numel() * members->size(),
                "an all-gather of ", x.sizes(), " over ", members->size(), " ranks does not fill ", all.sizes());
    if (x.numel() > 0) members->all_gather(x, all);
  });
}

char* pipe_engine_group_barrier(pipe_group g) {
  return guarded([&] { group(g)->barrier(); });
}

void pipe_engine_group_sync_batch_norm(pipe_group g) {
  std::lock_guard<std::mutex> guard(engine::synchronised_lock);
  engine::synchronised = g == nullptr ? nullptr : group(g);
}

}  // extern "C"
