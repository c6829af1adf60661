// Tensors as the kernels see them: plain memory with the channels innermost.
#ifndef PIPE_MEMORY_H
#define PIPE_MEMORY_H

#include <ATen/ATen.h>

#include <cstring>
#include <vector>

#include "kernels.h"

namespace engine {

// An image batch N×C×H×W as a matrix of rows, one a pixel, by channels.
inline at::Tensor as_rows(const at::Tensor& x) { return x.contiguous(at::MemoryFormat::ChannelsLast); }

template <typename T>
const T* data(const at::Tensor& t) {
  return t.defined() ? static_cast<const T*>(t.data_ptr()) : nullptr;
}
template <typename T>
T* mutable_data(at::Tensor& t) {
  return static_cast<T*>(t.data_ptr());
}

// The values of a parameter as S; empty for none.
template <typename S>
std::vector<S> values(const at::Tensor& t) {
  if (!t.defined()) return {};
  auto d = t.detach().to(at::kDouble).contiguous();
  const double* p = d.data_ptr<double>();
  return std::vector<S>(p, p + d.numel());
}

// A tensor with the element type of another.
inline at::Tensor from_values(const double* p, at::IntArrayRef shape, const at::Tensor& like) {
  auto t = at::empty(shape, at::kDouble);
  std::memcpy(t.data_ptr(), p, t.nbytes());
  return t.to(like.scalar_type());
}

// Names the element type T of the kernels, and the type S of their sums.
template <typename T, typename S>
struct Elements {
  using Stored = T;
  using Sum = S;
  static const KernelsOf<T, S>& kernels() { return kernels_of(static_cast<const T*>(nullptr)); }
};

// Calls f(Elements) for the element type of x.
template <typename F>
void with_elements(const char* op, const at::Tensor& x, const F& f) {
  switch (x.scalar_type()) {
    case at::kBFloat16:
      return f(Elements<Bfloat16, float>{});
    case at::kFloat:
      return f(Elements<float, float>{});
    case at::kDouble:
      return f(Elements<double, double>{});
    default:
      TORCH_CHECK(false, op, " takes bfloat16, float32 or float64, not ", x.scalar_type());
  }
}

}  // namespace engine

#endif
