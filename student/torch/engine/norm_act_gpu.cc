// The operator of norm_act.cc on CUDA devices: tensors and their history around the
// kernels of norm_act_cuda.cu.
#include "norm_act_gpu.h"

#include <c10/core/DeviceGuard.h>
#include <torch/csrc/autograd/custom_function.h>

#include <array>
#include <mutex>

#include "gpu.h"
#include "norm_act_cuda.h"

namespace engine {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Tensor as_rows(const at::Tensor& x) { return x.contiguous(at::MemoryFormat::ChannelsLast); }

class NormActOnGPU : public torch::autograd::Function<NormActOnGPU> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& input, const at::Tensor& weight,
                            const at::Tensor& bias, const c10::optional<at::Tensor>& maybe_slope,
                            const c10::optional<at::Tensor>& maybe_residual, const at::Tensor& running_mean,
                            const at::Tensor& running_var, bool relu, double momentum, double eps) {
    c10::DeviceGuard guard(input.device());
    auto x = as_rows(input), slope = maybe_slope.has_value() ? *maybe_slope : at::Tensor();
    auto residual = maybe_residual.has_value() && maybe_residual->defined() ? as_rows(*maybe_residual) : at::Tensor();
    auto act = slope.defined() ? Activation::prelu : relu ? Activation::relu : Activation::none;
    auto y = at::empty_like(x);
    auto mean = at::empty({x.size(1)}, weight.options()), inv_std = at::empty_like(mean);
    auto partial = room(x, weight);
    started(cuda::forward(batch(x, act, weight, bias, slope, mean, inv_std, partial), pointer(residual), pointer(y),
                        pointer(running_mean), pointer(running_var), momentum, eps));
    ctx->save_for_backward({x, weight, bias, slope, mean, inv_std});
    ctx->saved_data["act"] = static_cast<int64_t>(act);
    ctx->saved_data["residual"] = residual.defined();
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    auto saved = ctx->get_saved_variables();
    const auto &x = saved[0], &weight = saved[1], &bias = saved[2], &slope = saved[3];
    c10::DeviceGuard guard(x.device());
    auto act = static_cast<Activation>(ctx->saved_data["act"].toInt());
    auto dy = as_rows(grads[0].to(x.scalar_type()));
    auto dx = at::empty_like(x), d_weight = at::empty_like(weight), d_bias = at::empty_like(bias);
    at::Tensor none, d_slope = slope.defined() ? at::empty_like(slope) : none;
    auto partial = room(x, weight), constants = at::empty({3 * x.size(1)}, weight.options());
    started(cuda::backward(batch(x, act, weight, bias, slope, saved[4], saved[5], partial), pointer(dy), pointer(dx),
                         pointer(d_weight), pointer(d_bias), pointer(d_slope), pointer(constants)));
    at::Tensor d_residual = ctx->saved_data["residual"].toBool() ? grads[0] : none;
    return {dx, d_weight, d_bias, d_slope, d_residual, none, none, none, none, none};
  }

 private:
  static at::Tensor room(const at::Tensor& x, const at::Tensor& weight) {
    return at::empty({cuda::partial_values(x.numel() / x.size(1), x.size(1))}, weight.options());
  }

  static cuda::Batch batch(const at::Tensor& x, Activation act, const at::Tensor& weight, const at::Tensor& bias,
                           const at::Tensor& slope, const at::Tensor& mean, const at::Tensor& inv_std,
                           const at::Tensor& partial) {
    return {x.device().index(),
            element(x.scalar_type()),
            act,
            x.numel() / x.size(1),
            x.size(1),
            pointer(x),
            pointer(weight),
            pointer(bias),
            pointer(slope),
            pointer(mean),
            pointer(inv_std),
            pointer(partial),
            stream_of(x)};
  }
};

}  // namespace

const std::string& gpu_kernels_missing(at::Device device) {
  struct Answer {
    std::once_flag asked;
    std::string reason;
  };
  static std::array<Answer, 128> answers;  // a device's number has seven bits
  auto index = device.index();
  TORCH_CHECK(index >= 0, "norm_act: ", device, " names no device");
  auto& answer = answers[index];
  std::call_once(answer.asked, [&] {
    c10::DeviceGuard guard(device);
    if (const char* problem = cuda::unusable(index)) answer.reason = problem;
  });
  return answer.reason;
}

bool gpu_kernels_serve(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& slope,
                       const at::Tensor& running_mean, const at::Tensor& running_var) {
  auto type = x.scalar_type();
  if (!x.is_cuda() || !(type == at::kBFloat16 || type == at::kHalf || type == at::kFloat || type == at::kDouble))
    return false;
  auto sums = type == at::kDouble ? at::kDouble : at::kFloat;
  for (const auto& t : {weight, bias, slope, running_mean, running_var})
    if (t.defined() && !(t.device() == x.device() && t.scalar_type() == sums && t.is_contiguous())) return false;
  return gpu_kernels_missing(x.device()).empty();
}

at::Tensor norm_act_on_gpu(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                           const c10::optional<at::Tensor>& slope, const c10::optional<at::Tensor>& residual,
                           const at::Tensor& running_mean, const at::Tensor& running_var, bool relu, double momentum,
                           double eps) {
  return NormActOnGPU::apply(x, weight, bias, slope, residual, running_mean, running_var, relu, momentum, eps);
}

}  // namespace engine
