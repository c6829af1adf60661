// Copies between the processor's memory and a device's, and what they make the processor wait for.
#ifndef PIPE_TRANSFER_H
#define PIPE_TRANSFER_H

#include <ATen/ATen.h>
#include <c10/core/Event.h>

#include <memory>
#include <vector>

namespace engine {

// Counts a call that returns only when a device has done all that it was given.
void count_blocking_call();
int64_t blocking_calls();

// A dense row-major array of the processor's.
struct Array {
  const void* data;
  at::ScalarType dtype;
  std::vector<int64_t> shape;
};

// Copies arrays to a device in one transfer, which nobody waits for: what it reads of is pinned,
// and free again when the device is done with it. The tensors share one piece of memory.
std::vector<at::Tensor> upload(const std::vector<Array>& arrays, c10::Device device);

// Values on their way from a device.
class Fetch {
 public:
  explicit Fetch(const at::Tensor& t);
  // Waits for them, and for nothing that the device was given later.
  void read(void* to, int64_t bytes);

 private:
  at::Tensor host_;
  std::unique_ptr<c10::Event> ready_;
};

}  // namespace engine

#endif
