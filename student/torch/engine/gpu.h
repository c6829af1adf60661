// Tensors as the kernels for CUDA devices see them, in builds with these kernels.
#ifndef PIPE_GPU_H
#define PIPE_GPU_H

#include <ATen/ATen.h>
#include <c10/cuda/CUDAStream.h>

#include <string>

#include "element.h"

namespace engine {

// Empty if a CUDA device runs the kernels, or why it does not. Asked once a device.
const std::string& gpu_kernels_missing(at::Device device);

inline cuda::Element element(at::ScalarType t) {
  switch (t) {
    case at::kBFloat16:
      return cuda::Element::bfloat16;
    case at::kHalf:
      return cuda::Element::float16;
    case at::kDouble:
      return cuda::Element::float64;
    default:
      return cuda::Element::float32;
  }
}

inline void* pointer(const at::Tensor& t) { return t.defined() ? t.data_ptr() : nullptr; }

inline void* stream_of(const at::Tensor& t) { return c10::cuda::getCurrentCUDAStream(t.device().index()).stream(); }

// Throws if a kernel did not start.
inline void started(const char* problem) { TORCH_CHECK(problem == nullptr, "a kernel of the engine's: CUDA: ", problem); }

}  // namespace engine

#endif
