#include "synchronise.h"

#include "group.h"

#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>

namespace engine {

bool batch_norm_is_synchronised() { return synchronised_group() != nullptr; }

double synchronise_sums(double rows, double* sums, int64_t n) {
  auto ranks = synchronised_group();
  if (!ranks) return rows;
  auto t = at::empty({n + 1}, at::kDouble);
  double* p = t.data_ptr<double>();
  std::copy(sums, sums + n, p);
  p[n] = rows;
  ranks->all_reduce(t)();
  std::copy(p, p + n, sums);
  return p[n];
}

// Squares are added, not variances, so that the ranks' means need not agree. In double
// precision nothing is lost by that: the values have float's 24 bits or fewer.
double synchronise_moments(double rows, std::vector<double>& mean, std::vector<double>& variance) {
  if (!batch_norm_is_synchronised()) return rows;
  size_t channels = mean.size();
  std::vector<double> sums(2 * channels);
  for (size_t c = 0; c < channels; ++c) {
    sums[c] = rows * mean[c];
    sums[channels + c] = rows * (variance[c] + mean[c] * mean[c]);
  }
  double all = synchronise_sums(rows, sums.data(), static_cast<int64_t>(sums.size()));
  for (size_t c = 0; c < channels; ++c) {
    mean[c] = sums[c] / all;
    variance[c] = std::max(sums[channels + c] / all - mean[c] * mean[c], 0.0);
  }
  return all;
}

namespace {

// The dimensions that are summed over, and the shape of a value a channel.
std::vector<int64_t> all_but_channels(const at::Tensor& x) {
  std::vector<int64_t> dims{0};
  for (int64_t d = 2; d < x.dim(); ++d) dims.push_back(d);
  return dims;
}

at::Tensor a_channel(const at::Tensor& v, const at::Tensor& x) {
  std::vector<int64_t> shape(x.dim(), 1);
  shape[1] = v.numel();
  return v.view(shape);
}

at::Tensor summed(const at::Tensor& t) {
  if (auto ranks = synchronised_group()) ranks->all_reduce(t)();
  return t;
}

at::ScalarType wide(const at::Tensor& x) { return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat; }

class SynchronisedBatchNorm : public torch::autograd::Function<SynchronisedBatchNorm> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& input, const at::Tensor& weight,
                            const at::Tensor& bias, at::Tensor running_mean, at::Tensor running_var, double momentum,
                            double eps) {
    auto x = input.to(wide(input));
    auto dims = all_but_channels(x);
    int64_t channels = x.size(1);
    double rows = static_cast<double>(x.numel() / channels);
    auto own_mean = x.mean(dims).to(at::kDouble);
    auto own_var = x.var(dims, /*unbiased=*/false).to(at::kDouble);
    auto sums = summed(at::cat({own_mean * rows, (own_var + own_mean * own_mean) * rows,
                                at::full({1}, rows, own_mean.options())}));
    auto all = sums.narrow(0, 2 * channels, 1);
    auto mean = sums.narrow(0, 0, channels) / all;
    auto var = (sums.narrow(0, channels, channels) / all - mean * mean).clamp_min(0);
    auto inv_std = (var + eps).rsqrt();
    auto scale = inv_std * weight.to(at::kDouble), offset = bias.to(at::kDouble) - mean * scale;
    auto y = x * a_channel(scale.to(x.scalar_type()), x) + a_channel(offset.to(x.scalar_type()), x);
    running_mean.mul_(1 - momentum).add_(mean.to(running_mean.scalar_type()), momentum);
    auto unbiased = var * all / (all - 1).clamp_min(1);
    running_var.mul_(1 - momentum).add_(unbiased.to(running_var.scalar_type()), momentum);
    ctx->save_for_backward({input, weight, mean, inv_std, all});
    return y.to(input.scalar_type());
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    auto saved = ctx->get_saved_variables();
    const auto &input = saved[0], &weight = saved[1], &mean = saved[2], &inv_std = saved[3], &all = saved[4];
    auto type = wide(input);
    auto x = input.to(type), dy = grads[0].to(type);
    auto dims = all_but_channels(x);
    int64_t channels = x.size(1);
    auto hat = (x - a_channel(mean.to(type), x)) * a_channel(inv_std.to(type), x);
    auto d_bias = dy.sum(dims), d_weight = (dy * hat).sum(dims);
    auto means = (summed(at::cat({d_bias, d_weight}).to(at::kDouble)) / all).to(type);
    auto dx = (dy - a_channel(means.narrow(0, 0, channels), x) - hat * a_channel(means.narrow(0, channels, channels), x)) *
              a_channel((weight.to(at::kDouble) * inv_std).to(type), x);
    at::Tensor none;
    return {dx.to(input.scalar_type()), d_weight.to(weight.scalar_type()), d_bias.to(weight.scalar_type()),
            none, none, none, none};
  }
};

}  // namespace

at::Tensor synchronised_batch_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                                   at::Tensor running_mean, at::Tensor running_var, double momentum, double eps) {
  return SynchronisedBatchNorm::apply(x, weight, bias, running_mean, running_var, momentum, eps);
}

}  // namespace engine

TORCH_LIBRARY_FRAGMENT(pipe, m) {
  m.def(
      "synchronised_batch_norm(Tensor x, Tensor weight, Tensor bias, Tensor(a!) running_mean, Tensor(b!) running_var, "
      "float momentum, float eps) -> Tensor",
      &engine::synchronised_batch_norm);
}
