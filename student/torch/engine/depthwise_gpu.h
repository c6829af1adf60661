// Depthwise convolutions by the engine's own kernels on CUDA devices, in builds with them.
#ifndef PIPE_DEPTHWISE_GPU_H
#define PIPE_DEPTHWISE_GPU_H

#include <ATen/ATen.h>

namespace engine {

// Whether there are kernels for a depthwise convolution.
bool gpu_serves_depthwise(const at::Tensor& x, const at::Tensor& weight, int64_t stride, int64_t padding);

// The convolution. Of the kernels and libtorch's own, for each of forward, data gradient and weights
// gradient, it takes what was faster when that shape first came up; or the kernels, where cuDNN is
// not to measure either.
at::Tensor depthwise_on_gpu(const at::Tensor& x, const at::Tensor& weight, int64_t stride, int64_t padding);

}  // namespace engine

#endif
