#include "transfer.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>

namespace engine {
namespace {

std::atomic<int64_t> blocking{0};

// Memory that a device copies from or to while the processor goes on. That is kept for the next
// time, so there must not be too much of it.
constexpr int64_t kMostStaged = 256 << 20;

at::Tensor staging(at::IntArrayRef shape, at::ScalarType dtype, c10::Device device, bool pinned = true) {
  return at::empty(shape, at::TensorOptions().dtype(dtype).pinned_memory(pinned && device.is_cuda()));
}

constexpr int64_t kAlignment = 64;  // of arrays in one piece of memory, in bytes

int64_t bytes_of(const Array& a) {
  int64_t n = static_cast<int64_t>(c10::elementSize(a.dtype));
  for (auto d : a.shape) n *= d;
  return n;
}

int64_t aligned(int64_t n) { return (n + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

void count_blocking_call() { blocking.fetch_add(1, std::memory_order_relaxed); }

int64_t blocking_calls() { return blocking.load(std::memory_order_relaxed); }

std::vector<at::Tensor> upload(const std::vector<Array>& arrays, c10::Device device) {
  at::AutoDispatchBelowADInplaceOrView no_views;  // for autograd each is a tensor by itself
  int64_t total = 0;
  for (const auto& a : arrays) total += aligned(bytes_of(a));
  const bool staged = total <= kMostStaged;
  if (!staged) count_blocking_call();
  auto host = staging({total}, at::kByte, device, staged);
  auto* to = static_cast<char*>(host.data_ptr());
  for (const auto& a : arrays) {
    if (int64_t n = bytes_of(a)) std::memcpy(to, a.data, n);
    to += aligned(bytes_of(a));
  }
  auto all = host.to(device, host.scalar_type(), /*non_blocking=*/staged);
  std::vector<at::Tensor> tensors;
  int64_t from = 0;
  for (const auto& a : arrays) {
    tensors.push_back(all.narrow(0, from, bytes_of(a)).view(a.dtype).view(a.shape));
    from += aligned(bytes_of(a));
  }
  return tensors;
}

Fetch::Fetch(const at::Tensor& t) {
  auto device = t.device();
  host_ = staging(t.sizes(), t.scalar_type(), device);
  host_.copy_(t.detach(), /*non_blocking=*/true);
  if (device.is_cpu()) return;
  c10::impl::VirtualGuardImpl guard(device.type());
  ready_ = std::make_unique<c10::Event>(device.type());
  ready_->record(guard.getStream(device));
}

void Fetch::read(void* to, int64_t bytes) {
  TORCH_CHECK(static_cast<int64_t>(host_.nbytes()) == bytes, "tensor holds ", host_.nbytes(), " bytes, destination ", bytes);
  count_blocking_call();
  while (ready_ && !ready_->query()) std::this_thread::sleep_for(std::chrono::microseconds(20));
  if (bytes > 0) std::memcpy(to, host_.data_ptr(), bytes);
}

}  // namespace engine
