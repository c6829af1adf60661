// Slots: memory that the processor fills with a batch, and the same bytes on a device.
//
// On a device there are two pieces. The processor's is pinned, so that it is copied by the device
// while both go on: on a stream of its own, beside what the device computes. It may be written again
// once its copy has been made, which an event tells; the device's is overwritten once what was
// computed of it is done, which another event tells the stream of copies. On the processor both are
// one piece, of which views are taken.
#include <ATen/ATen.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <chrono>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

#include "border.h"
#include "engine.h"

namespace engine {
namespace {

// The stream of a device's copies, one for all slots: batches come in the order in which they are
// ready.
c10::Stream copies_of(c10::Device device) {
  static std::mutex mutex;
  static std::map<int, c10::Stream> streams;
  std::lock_guard<std::mutex> lock(mutex);
  auto found = streams.find(device.index());
  if (found == streams.end()) {
    c10::impl::VirtualGuardImpl guard(device.type());
    found = streams.emplace(device.index(), guard.getStreamFromGlobalPool(device)).first;
  }
  return found->second;
}

class Slot {
 public:
  Slot(int64_t bytes, c10::Device device) : bytes_(bytes) {
    c10::OptionalDeviceGuard on;
    if (!device.is_cpu()) on.reset_device(device);
    device_ = at::empty({bytes}, at::TensorOptions().dtype(at::kByte).device(device));
    host_ = device.is_cpu() ? device_ : at::empty({bytes}, at::TensorOptions().dtype(at::kByte).pinned_memory(device.is_cuda()));
    if (device.is_cpu()) return;
    copied_ = std::make_unique<c10::Event>(device.type());
    computed_ = std::make_unique<c10::Event>(device.type());
    mark_computed(); // of whatever the memory was used for before
  }

  ~Slot() {
    try {
      wait();
    } catch (const std::exception&) {  // a device that has failed copies no more, and has said why
    }
  }

  // Waits until the memory may be written.
  void* memory() {
    TORCH_CHECK(!sent_, "the slot holds a batch that is read");
    wait();
    return host_.data_ptr();
  }

  // Begins the copy of what was written.
  void send() {
    TORCH_CHECK(!sent_, "the slot was sent already");
    sent_ = true;
    if (!copied_) return;
    auto copies = copies_of(device_.device());
    c10::StreamGuard on(copies);
    computed_->block(copies);
    device_.copy_(host_, /*non_blocking=*/true);
    copied_->record(copies);
    copying_ = true;
  }

  // An array in what was sent. What the device is given next waits for the copy.
  at::Tensor view(at::ScalarType dtype, int64_t from, at::IntArrayRef shape) {
    TORCH_CHECK(sent_, "the slot was not sent");
    if (copied_) copied_->block(current());
    int64_t n = static_cast<int64_t>(c10::elementSize(dtype));
    for (auto d : shape) n *= d;
    TORCH_CHECK(from >= 0 && n >= 0 && from + n <= bytes_, "bytes ", from, " to ", from + n, " of a slot of ", bytes_);
    at::AutoDispatchBelowADInplaceOrView no_views;  // for autograd each is a tensor by itself
    return device_.narrow(0, from, n).view(dtype).view(shape);
  }

  // Says that nothing more will be computed of what was sent. A view that is still there keeps its
  // memory, and the slot takes other.
  void done() {
    TORCH_CHECK(sent_, "the slot was not sent");
    if (device_.storage().use_count() > 1) {
      const bool one = !copied_;
      device_ = at::empty_like(device_);
      if (one) host_ = device_;
    }
    if (copied_) mark_computed();
    sent_ = false;
  }

 private:
  c10::Stream current() const { return c10::impl::VirtualGuardImpl(device_.device().type()).getStream(device_.device()); }

  void mark_computed() { computed_->record(current()); }

  // Waits for a copy that is under way.
  void wait() {
    while (copying_ && !copied_->query()) std::this_thread::sleep_for(std::chrono::microseconds(20));
    copying_ = false;
  }

  const int64_t bytes_;
  at::Tensor host_, device_;  // the same tensor on the processor
  std::unique_ptr<c10::Event> copied_, computed_;
  bool sent_ = false, copying_ = false;
};

Slot& slot(pipe_slot s) { return *static_cast<Slot*>(s); }

}  // namespace
}  // namespace engine

extern "C" {

char* pipe_engine_slot_create(int64_t bytes, const char* device, pipe_slot* out) {
  return engine::guarded([&] {
    // A tensor has the number that "cuda" alone stands for.
    auto where = at::empty({1}, c10::Device(std::string(device))).device();
    *out = new engine::Slot(bytes, where);
  });
}

char* pipe_engine_slot_memory(pipe_slot s, void** memory) {
  return engine::guarded([&] { *memory = engine::slot(s).memory(); });
}

char* pipe_engine_slot_send(pipe_slot s) {
  return engine::guarded([&] { engine::slot(s).send(); });
}

char* pipe_engine_slot_view(pipe_slot s, int64_t dtype, int64_t from, const int64_t* shape, int64_t ndim, pipe_tensor* out) {
  return engine::guarded([&] {
    *out = engine::hand_out(engine::slot(s).view(static_cast<at::ScalarType>(dtype), from, at::IntArrayRef(shape, ndim)));
  });
}

char* pipe_engine_slot_done(pipe_slot s) {
  return engine::guarded([&] { engine::slot(s).done(); });
}

void pipe_engine_slot_destroy(pipe_slot s) {
  engine::free_message(engine::guarded([&] { delete static_cast<engine::Slot*>(s); }));
}

}  // extern "C"
