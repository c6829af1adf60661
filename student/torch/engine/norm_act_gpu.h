// pipe::norm_act on CUDA devices, in builds with the kernels for them.
#ifndef PIPE_NORM_ACT_GPU_H
#define PIPE_NORM_ACT_GPU_H

#include <ATen/ATen.h>

namespace engine {

// Whether the kernels can do it: all tensors on one CUDA device that they are compiled
// for, and parameters of the type that sums run in. Otherwise libtorch's operators do.
bool gpu_kernels_serve(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& slope,
                       const at::Tensor& running_mean, const at::Tensor& running_var);

// The operator; see norm_act.cc.
at::Tensor norm_act_on_gpu(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                           const c10::optional<at::Tensor>& slope, const c10::optional<at::Tensor>& residual,
                           const at::Tensor& running_mean, const at::Tensor& running_var, bool relu, double momentum,
                           double eps);

}  // namespace engine

#endif
