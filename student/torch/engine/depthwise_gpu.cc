// Depthwise convolutions on CUDA devices: tensors and their history around the kernels of
// depthwise_cuda.cu, and the choice between them and libtorch's, which are cuDNN's.
#include "depthwise_gpu.h"

#include <ATen/Context.h>
#include <c10/core/DeviceGuard.h>
#include <torch/csrc/autograd/custom_function.h>

#include <array>
#include <functional>
#include <sstream>
#include <tuple>

#include "choice.h"
#include "depthwise_cuda.h"
#include "gpu.h"

namespace engine {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using Way = std::function<at::Tensor()>;

at::Tensor as_rows(const at::Tensor& x) { return x.contiguous(at::MemoryFormat::ChannelsLast); }

cuda::Depthwise shape(const at::Tensor& x, const at::Tensor& weight, int64_t stride, int64_t padding) {
  const int64_t kernel = weight.size(2);
  auto out = [&](int64_t in) { return in + 2 * padding < kernel ? 0 : (in + 2 * padding - kernel) / stride + 1; };
  return {x.device().index(), element(x.scalar_type()), int(kernel), int(stride), int(padding), x.size(0), x.size(2),
          x.size(3), x.size(1), out(x.size(2)), out(x.size(3)), nullptr};
}

// Milliseconds of one call. The first ones are cuDNN's to measure in, and fill caches.
double milliseconds(const cuda::Depthwise& d, const Way& way) {
  constexpr int kWarm = 2, kTimed = 5;
  auto several = [&](int n) {
    for (int k = 0; k < n; ++k) way();
  };
  several(kWarm);
  float all = 0;
  started(cuda::time(d, [&] { several(kTimed); }, &all));
  return all / kTimed;
}

at::Tensor faster(const char* pass, const cuda::Depthwise& d, at::ScalarType type, const Way& own, const Way& other) {
  if (!at::globalContext().benchmarkCuDNN()) return own();
  std::ostringstream name;
  name << "depthwise " << d.kernel << "x" << d.kernel << "/" << d.stride << " of " << d.images << "x" << d.channels << "x"
       << d.height << "x" << d.width << " in " << type << " on device " << d.device << ", " << pass;
  return own_is_faster(name.str(), [&] { return Timing{milliseconds(d, own), milliseconds(d, other)}; }) ? own() : other();
}

class Depthwise : public torch::autograd::Function<Depthwise> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& input, const at::Tensor& weight, int64_t stride,
                            int64_t padding) {
    c10::DeviceGuard guard(input.device());
    auto x = as_rows(input);
    auto d = shape(x, weight, stride, padding);
    d.stream = stream_of(x);
    ctx->save_for_backward({x, weight});
    ctx->saved_data["stride"] = stride;
    ctx->saved_data["padding"] = padding;
    auto own = [&] {
      auto y = at::empty({d.images, d.channels, d.out_height, d.out_width}, x.options(), at::MemoryFormat::ChannelsLast);
      started(cuda::convolve(d, pointer(x), pointer(weight), pointer(y)));
      return y;
    };
    auto other = [&] {
      return as_rows(at::conv2d(x, weight.to(x.scalar_type()), {}, stride, padding, /*dilation=*/1, d.channels));
    };
    return faster("forward", d, x.scalar_type(), own, other);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    auto saved = ctx->get_saved_variables();
    const auto &x = saved[0], &weight = saved[1];
    c10::DeviceGuard guard(x.device());
    const int64_t stride = ctx->saved_data["stride"].toInt(), padding = ctx->saved_data["padding"].toInt();
    auto dy = as_rows(grads[0].to(x.scalar_type()));
    auto d = shape(x, weight, stride, padding);
    d.stream = stream_of(x);
    at::Tensor dx, dw;
    if (ctx->needs_input_grad(0)) {
      auto own = [&] {
        auto t = at::empty_like(x);
        started(cuda::data_gradient(d, pointer(dy), pointer(weight), pointer(t)));
        return t;
      };
      auto other = [&] { return as_rows(std::get<0>(gradients(x, dy, weight, d, {true, false, false}))); };
      dx = faster("data gradient", d, x.scalar_type(), own, other);
    }
    if (ctx->needs_input_grad(1)) {
      auto own = [&] {
        auto t = at::empty_like(weight), partial = at::empty({cuda::weights_partial_values(d)}, weight.options());
        started(cuda::weights_gradient(d, pointer(x), pointer(dy), pointer(partial), pointer(t)));
        return t;
      };
      auto other = [&] {
        return std::get<1>(gradients(x, dy, weight, d, {false, true, false})).to(weight.scalar_type()).contiguous();
      };
      dw = faster("weights gradient", d, x.scalar_type(), own, other);
    }
    return {dx, dw, at::Tensor(), at::Tensor()};
  }

 private:
  static std::tuple<at::Tensor, at::Tensor, at::Tensor> gradients(const at::Tensor& x, const at::Tensor& dy,
                                                                   const at::Tensor& weight, const cuda::Depthwise& d,
                                                                   std::array<bool, 3> which) {
    return at::convolution_backward(dy, x, weight.to(x.scalar_type()), c10::nullopt, {d.stride, d.stride},
                                    {d.padding, d.padding}, {1, 1}, /*transposed=*/false, {0, 0}, d.channels, which);
  }
};

}  // namespace

bool gpu_serves_depthwise(const at::Tensor& x, const at::Tensor& weight, int64_t stride, int64_t padding) {
  const auto type = x.scalar_type();
  return x.is_cuda() && x.dim() == 4 && weight.dim() == 4 && x.size(1) == weight.size(0) && weight.size(1) == 1 &&
         weight.size(2) == weight.size(3) && weight.size(2) <= 7 && stride <= 2 && padding <= 7 &&
         (type == at::kBFloat16 || type == at::kHalf || type == at::kFloat) && weight.device() == x.device() &&
         weight.scalar_type() == at::kFloat && weight.is_contiguous() && cuda::serves(shape(x, weight, stride, padding)) &&
         gpu_kernels_missing(x.device()).empty();
}

at::Tensor depthwise_on_gpu(const at::Tensor& x, const at::Tensor& weight, int64_t stride, int64_t padding) {
  return Depthwise::apply(x, weight, stride, padding);
}

}  // namespace engine
