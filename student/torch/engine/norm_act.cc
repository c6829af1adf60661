// pipe::norm_act — training-mode batch normalisation over dimension 1, an
// activation, and the addition of a residual, in two passes over memory forward and
// two backward.
//
// libtorch runs them as separate operators: measured on MobileFaceNet in bfloat16
// they took more of the step than all convolutions together. Here the image is a
// matrix of rows (one a pixel) by channels, which is what channels-last memory
// already is, and the loops (simd/norm.cc) run along the channels.
//
//   z = (x - mean) / sqrt(var + eps) * weight + bias,   y = act(z) + residual
//
// Nothing but x and the statistics is kept for the backward pass; z is computed
// again from them. The residual's gradient is y's own. Sums run over fixed blocks
// of rows that are added up in order, so the result does not depend on the number
// of threads.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <cmath>
#include <vector>

#include "memory.h"
#include "share.h"
#include "synchronise.h"
#ifdef PIPE_CUDA_KERNELS
#include "norm_act_gpu.h"
#endif

namespace engine {
namespace {

constexpr int64_t kBlockRows = 256;

// Runs body(first row, rows, block) over blocks of rows in parallel.
template <typename F>
void over_blocks(int64_t rows, const F& body) {
  int64_t blocks = (rows + kBlockRows - 1) / kBlockRows;
  share(blocks, [&](const Share& mine) {
    mine.each([&](int64_t b) {
      int64_t first = b * kBlockRows;
      body(first, std::min(kBlockRows, rows - first), b);
    });
  });
}

// Adds up `sums` vectors of `channels` values over all blocks, in double precision
// and in the order of the blocks. body(first, rows, accumulators).
template <typename S, typename F>
std::vector<double> sum_blocks(int64_t rows, int64_t channels, int64_t sums, const F& body) {
  int64_t blocks = (rows + kBlockRows - 1) / kBlockRows, each = sums * channels;
  std::vector<S> partial(blocks * each, S(0));
  over_blocks(rows, [&](int64_t first, int64_t n, int64_t b) { body(first, n, &partial[b * each]); });
  std::vector<double> total(each, 0.0);
  for (int64_t b = 0; b < blocks; ++b)
    for (int64_t k = 0; k < each; ++k) total[k] += partial[b * each + k];
  return total;
}

// Mean and biased variance of each channel, over `rows` rows.
struct Statistics {
  double rows;
  std::vector<double> mean, variance;
};

// The loops for elements T, whose sums are S.
template <typename T, typename S>
struct Norm {
  int64_t rows, channels;
  Activation act;
  const NormKernels<T, S>& loops = Elements<T, S>::kernels().norm;

  // Squares are of the distance to the first row of each block, and blocks are put together
  // by their means (Chan et al. 1983): where the mean is large beside the spread, or one
  // value far from all others, that keeps the variance exact.
  Statistics statistics(const at::Tensor& x) const {
    const T* p = data<T>(x);
    int64_t blocks = (rows + kBlockRows - 1) / kBlockRows;
    std::vector<S> partial(blocks * 3 * channels, S(0));
    over_blocks(rows, [&](int64_t first, int64_t n, int64_t b) {
      loops.moments(p + first * channels, n, channels, &partial[b * 3 * channels]);
    });
    Statistics s{double(rows), std::vector<double>(channels), std::vector<double>(channels)};
    for (int64_t b = 0; b < blocks; ++b) {
      const S *sum = &partial[b * 3 * channels], *square = sum + channels, *origin = square + channels;
      double before = double(b * kBlockRows), n = std::min(double(kBlockRows), rows - before), share = n / (before + n);
      for (int64_t c = 0; c < channels; ++c) {
        double m = sum[c] / n, away = origin[c] + m - s.mean[c];
        s.mean[c] += away * share;
        s.variance[c] += std::max(square[c] - m * sum[c], 0.0) + away * away * before * share;
      }
    }
    for (double& v : s.variance) v /= rows;
    return s;
  }

  at::Tensor forward(const at::Tensor& x, const at::Tensor& residual, const NormChannels<S>& k) const {
    auto y = at::empty_like(x);
    const T *in = data<T>(x), *add = data<T>(residual);
    T* out = mutable_data<T>(y);
    over_blocks(rows, [&](int64_t first, int64_t n, int64_t) {
      int64_t at = first * channels;
      loops.apply(act, in + at, add ? add + at : nullptr, out + at, n, channels, k);
    });
    return y;
  }

  // The sums of dz, of dz · (x - mean), and of the slope's gradient.
  std::vector<double> gradient_sums(const at::Tensor& x, const at::Tensor& dy, const NormChannels<S>& k) const {
    const T *px = data<T>(x), *pg = data<T>(dy);
    return sum_blocks<S>(rows, channels, act == Activation::prelu ? 3 : 2, [&](int64_t first, int64_t n, S* acc) {
      loops.reduce(act, px + first * channels, pg + first * channels, n, channels, k, acc);
    });
  }

  at::Tensor gradient(const at::Tensor& x, const at::Tensor& dy, const NormChannels<S>& k,
                      const NormGradient<S>& g) const {
    const T *px = data<T>(x), *pg = data<T>(dy);
    auto dx = at::empty_like(x);
    T* out = mutable_data<T>(dx);
    over_blocks(rows, [&](int64_t first, int64_t n, int64_t) {
      int64_t at = first * channels;
      loops.gradient(act, px + at, pg + at, out + at, n, channels, k, g);
    });
    return dx;
  }
};

// Calls f(loops for x's elements, a value of the type of their sums).
template <typename F>
void with_loops(const at::Tensor& x, Activation act, const F& f) {
  int64_t channels = x.size(1), rows = x.numel() / channels;
  with_elements("norm_act", x, [&](auto elements) {
    using E = decltype(elements);
    f(Norm<typename E::Stored, typename E::Sum>{rows, channels, act}, typename E::Sum(0));
  });
}

// What the loops need to compute z again.
template <typename S>
struct Channels {
  std::vector<S> mean, scale, bias, slope;

  Channels(const std::vector<double>& m, const std::vector<double>& inv_std, const at::Tensor& weight,
           const at::Tensor& b, const at::Tensor& a)
      : mean(m.begin(), m.end()), scale(values<S>(weight)), bias(values<S>(b)), slope(values<S>(a)) {
    for (size_t c = 0; c < scale.size(); ++c) scale[c] *= static_cast<S>(inv_std[c]);
  }
  NormChannels<S> pointers() const { return {mean.data(), scale.data(), bias.data(), slope.data()}; }
};

at::Tensor or_undefined(const c10::optional<at::Tensor>& t) { return t.has_value() ? *t : at::Tensor(); }

class NormAct : public torch::autograd::Function<NormAct> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& input, const at::Tensor& weight,
                            const at::Tensor& bias, const c10::optional<at::Tensor>& maybe_slope,
                            const c10::optional<at::Tensor>& maybe_residual, at::Tensor running_mean,
                            at::Tensor running_var, bool relu, double momentum, double eps) {
    auto x = as_rows(input), slope = or_undefined(maybe_slope), residual = or_undefined(maybe_residual);
    auto act = slope.defined() ? Activation::prelu : relu ? Activation::relu : Activation::none;
    at::Tensor y, mean_t, inv_std_t;
    with_loops(x, act, [&](auto loops, auto zero) {
      using S = decltype(zero);
      Statistics s = loops.statistics(x);
      s.rows = synchronise_moments(s.rows, s.mean, s.variance);
      std::vector<double> inv_std(loops.channels);
      for (int64_t c = 0; c < loops.channels; ++c) inv_std[c] = 1 / std::sqrt(s.variance[c] + eps);
      Channels<S> k(s.mean, inv_std, weight, bias, slope);
      y = loops.forward(x, residual.defined() ? as_rows(residual) : residual, k.pointers());
      mean_t = from_values(s.mean.data(), {loops.channels}, at::empty({0}, at::kDouble));
      inv_std_t = from_values(inv_std.data(), {loops.channels}, mean_t);
      // The running variance is the unbiased one, as everywhere.
      double unbias = s.rows > 1 ? s.rows / (s.rows - 1) : 1;
      auto var_t = from_values(s.variance.data(), {loops.channels}, running_var);
      running_mean.mul_(1 - momentum).add_(mean_t.to(running_mean.scalar_type()), momentum);
      running_var.mul_(1 - momentum).add_(var_t, momentum * unbias);
    });
    ctx->saved_data["act"] = static_cast<int64_t>(act);
    ctx->saved_data["residual"] = residual.defined();
    ctx->save_for_backward({x, weight, bias, slope, mean_t, inv_std_t});
    return y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    auto saved = ctx->get_saved_variables();
    const auto &x = saved[0], &weight = saved[1], &bias = saved[2], &slope = saved[3];
    auto act = static_cast<Activation>(ctx->saved_data["act"].toInt());
    auto dy = as_rows(grads[0].to(x.scalar_type()));
    at::Tensor dx, d_weight, d_bias, d_slope;
    with_loops(x, act, [&](auto loops, auto zero) {
      using S = decltype(zero);
      int64_t n = loops.channels;
      auto mean = values<double>(saved[4]), inv_std = values<double>(saved[5]), w = values<double>(weight);
      Channels<S> k(mean, inv_std, weight, bias, slope);
      auto sums = loops.gradient_sums(x, dy, k.pointers());
      for (int64_t c = 0; c < n; ++c) sums[n + c] *= inv_std[c];  // now of dz · (x - mean) / std
      // A parameter's gradient is a sum itself, and
      // dx = w / std · (dz - mean(dz) - hat · mean(dz · hat)) with hat = (x - mean) / std,
      // where means are of all ranks, while a rank's own sums are its share of the
      // parameters' gradients.
      auto all = sums;
      double rows = synchronise_sums(loops.rows, all.data(), 2 * n);
      std::vector<S> by_dz(n), by_x(n), constant(n);
      for (int64_t c = 0; c < n; ++c) {
        double scale = w[c] * inv_std[c];
        by_dz[c] = static_cast<S>(scale);
        by_x[c] = static_cast<S>(-scale * inv_std[c] * all[n + c] / rows);
        constant[c] = static_cast<S>(-scale * all[c] / rows);
      }
      dx = loops.gradient(x, dy, k.pointers(), {by_dz.data(), by_x.data(), constant.data()});
      d_bias = from_values(&sums[0], {n}, bias);
      d_weight = from_values(&sums[n], {n}, weight);
      if (act == Activation::prelu) d_slope = from_values(&sums[2 * n], {n}, slope);
    });
    at::Tensor none, d_residual = ctx->saved_data["residual"].toBool() ? grads[0] : none;
    return {dx, d_weight, d_bias, d_slope, d_residual, none, none, none, none, none};
  }
};

// The same in libtorch's operators, for other devices, and for float16 on the CPU, which
// some versions of libtorch have no norms in.
at::Tensor separate(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& slope,
                    const at::Tensor& residual, const at::Tensor& running_mean, const at::Tensor& running_var,
                    bool relu, double momentum, double eps) {
  auto y = batch_norm_is_synchronised()
               ? synchronised_batch_norm(x, weight, bias, running_mean, running_var, momentum, eps)
               : at::batch_norm(x, weight, bias, running_mean, running_var, /*training=*/true, momentum, eps,
                                /*cudnn_enabled=*/true);
  if (slope.defined()) y = at::prelu(y, slope.to(y.scalar_type()));
  if (relu) y = at::relu(y);
  return residual.defined() ? y + residual : y;
}

at::Tensor norm_act(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                    const c10::optional<at::Tensor>& slope, const c10::optional<at::Tensor>& residual,
                    at::Tensor running_mean, at::Tensor running_var, bool relu, double momentum, double eps) {
  TORCH_CHECK(x.dim() == 4 && x.numel() > 0, "norm_act takes N×C×H×W, got ", x.sizes());
  auto a = or_undefined(slope), add = or_undefined(residual);
  TORCH_CHECK(!(relu && a.defined()), "norm_act takes a slope or relu, not both");
  TORCH_CHECK(!add.defined() || (add.sizes() == x.sizes() && add.scalar_type() == x.scalar_type()),
              "norm_act: a residual of ", add.sizes(), " ", add.scalar_type(), " for ", x.sizes(), " ",
              x.scalar_type());
  for (const auto& p : {weight, bias, running_mean, running_var})
    TORCH_CHECK(p.numel() == x.size(1), "norm_act: ", p.numel(), " values for ", x.size(1), " channels");
  TORCH_CHECK(!a.defined() || a.numel() == x.size(1), "norm_act: ", a.numel(), " slopes for ", x.size(1), " channels");
  for (const auto& t : {weight, bias, a, add, running_mean, running_var})
    TORCH_CHECK(!t.defined() || t.device() == x.device(), "norm_act: x is on ", x.device(), ", another tensor on ",
                t.device());
#ifdef PIPE_CUDA_KERNELS
  if (!batch_norm_is_synchronised() && gpu_kernels_serve(x, weight, bias, a, running_mean, running_var))
    return norm_act_on_gpu(x, weight, bias, slope, residual, running_mean, running_var, relu, momentum, eps);
#endif
  if (!x.is_cpu() || x.scalar_type() == at::kHalf)
    return separate(x, weight, bias, a, add, running_mean, running_var, relu, momentum, eps);
  return NormAct::apply(x, weight, bias, slope, residual, running_mean, running_var, relu, momentum, eps);
}

}  // namespace
}  // namespace engine

TORCH_LIBRARY_FRAGMENT(pipe, m) {
  m.def(
      "norm_act(Tensor x, Tensor weight, Tensor bias, Tensor? slope, Tensor? residual, Tensor(a!) running_mean, "
      "Tensor(b!) running_var, bool relu, float momentum, float eps) -> Tensor",
      &engine::norm_act);
}
