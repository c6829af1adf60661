// pipe::batch_norm_prelu — training-mode batch normalisation over dimension 1,
// followed by PReLU with one slope a channel (or by nothing), in two passes over
// memory forward and two backward.
//
// libtorch runs them as separate operators: measured on MobileFaceNet in
// bfloat16 they took more of the step than all convolutions together. Here the
// image is a matrix of rows (one a pixel) by channels, which is what channels-last
// memory already is, and the loops run along the channels.
//
//   z = (x - mean) / sqrt(var + eps) * weight + bias,   y = z > 0 ? z : slope * z
//
// Nothing but x and the statistics is kept for the backward pass; z is computed
// again from them. Sums run over fixed blocks of rows that are added up in order,
// so the result does not depend on the number of threads.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "synchronise.h"

#include <cstring>
#include <vector>

// One body, compiled for several instruction sets; the loader picks at run time.
// On arm64 the baseline already has NEON.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define MULTIVERSION __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define MULTIVERSION
#endif
// Tells the vectoriser that the arrays of a loop do not overlap.
#define NO_ALIAS _Pragma("GCC ivdep")
#define INLINE inline __attribute__((always_inline))

namespace engine {
namespace {

constexpr int64_t kBlockRows = 256;

// Bfloat16 as bits: conversions that compilers turn into vector code.
struct Half {
  uint16_t bits;
};

INLINE float load(const Half& h) {
  uint32_t u = static_cast<uint32_t>(h.bits) << 16;
  float f;
  std::memcpy(&f, &u, 4);
  return f;
}
INLINE float load(const float& f) { return f; }
INLINE double load(const double& f) { return f; }

INLINE void store(Half& h, float f) {
  uint32_t u;
  std::memcpy(&u, &f, 4);
  // Round to nearest even; NaN stays NaN because its payload is not all zero.
  uint32_t rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
  h.bits = static_cast<uint16_t>((u & 0x7fffffff) > 0x7f800000 ? (u >> 16) | 0x40 : rounded);
}
INLINE void store(float& t, float f) { t = f; }
INLINE void store(double& t, double f) { t = f; }

// The scalar that sums run in and that per-channel values have.
template <typename T>
struct Scalar {
  using type = float;
};
template <>
struct Scalar<double> {
  using type = double;
};

// Per-channel constants of one pass.
template <typename S>
struct Channels {
  const S *mean, *inv_std, *weight, *bias, *slope;
};

// sum[c] += x - shift, square[c] += (x - shift)² over the rows. The shift keeps
// the variance exact where the mean is large beside the spread.
template <typename T, typename S>
INLINE void moments_body(const T* x, int64_t rows, int64_t channels, const S* shift, S* sum, S* square) {
  for (int64_t r = 0; r < rows; ++r, x += channels) {
    NO_ALIAS
    for (int64_t c = 0; c < channels; ++c) {
      S v = load(x[c]) - shift[c];
      sum[c] += v;
      square[c] += v * v;
    }
  }
}

// y = prelu(x · scale + offset)
template <typename T, typename S>
INLINE void apply_body(const T* x, T* y, int64_t rows, int64_t channels, const S* scale, const S* offset,
                       const S* slope) {
  for (int64_t r = 0; r < rows; ++r, x += channels, y += channels) {
    NO_ALIAS
    for (int64_t c = 0; c < channels; ++c) {
      S z = load(x[c]) * scale[c] + offset[c];
      S a = slope[c];  // loaded either way, so that the loop has no branch
      store(y[c], z > 0 ? z : z * a);
    }
  }
}

// The three sums that the gradients are made of, over the rows.
template <typename T, typename S>
INLINE void reduce_body(const T* x, const T* dy, int64_t rows, int64_t channels, const Channels<S>& k, S* d_bias,
                        S* d_weight, S* d_slope) {
  const S *mean = k.mean, *inv_std = k.inv_std, *weight = k.weight, *bias = k.bias, *slope = k.slope;
  for (int64_t r = 0; r < rows; ++r, x += channels, dy += channels) {
    NO_ALIAS
    for (int64_t c = 0; c < channels; ++c) {
      S hat = (load(x[c]) - mean[c]) * inv_std[c];
      S z = hat * weight[c] + bias[c];
      S g = load(dy[c]);
      S a = slope[c];
      S dz = z > 0 ? g : g * a;
      d_bias[c] += dz;
      d_weight[c] += dz * hat;
      d_slope[c] += z > 0 ? S(0) : g * z;
    }
  }
}

// dx = weight · inv_std · (dz - mean(dz) - hat · mean(dz · hat))
template <typename T, typename S>
INLINE void gradient_body(const T* x, const T* dy, T* dx, int64_t rows, int64_t channels, const Channels<S>& k,
                          const S* mean_dz, const S* mean_dz_hat) {
  const S *mean = k.mean, *inv_std = k.inv_std, *weight = k.weight, *bias = k.bias, *slope = k.slope;
  for (int64_t r = 0; r < rows; ++r, x += channels, dy += channels, dx += channels) {
    NO_ALIAS
    for (int64_t c = 0; c < channels; ++c) {
      S hat = (load(x[c]) - mean[c]) * inv_std[c];
      S z = hat * weight[c] + bias[c];
      S g = load(dy[c]);
      S a = slope[c];
      S dz = z > 0 ? g : g * a;
      store(dx[c], weight[c] * inv_std[c] * (dz - mean_dz[c] - hat * mean_dz_hat[c]));
    }
  }
}

// Templates cannot be multiversioned, so each type gets its named functions.
#define KERNELS(T, S)                                                                                        \
  MULTIVERSION void moments(const T* x, int64_t rows, int64_t channels, const S* shift, S* sum, S* square) { \
    moments_body(x, rows, channels, shift, sum, square);                                                     \
  }                                                                                                          \
  MULTIVERSION void apply(const T* x, T* y, int64_t rows, int64_t channels, const S* scale, const S* offset, \
                          const S* slope) {                                                                  \
    apply_body(x, y, rows, channels, scale, offset, slope);                                                  \
  }                                                                                                          \
  MULTIVERSION void reduce(const T* x, const T* dy, int64_t rows, int64_t channels, const Channels<S>& k,    \
                           S* d_bias, S* d_weight, S* d_slope) {                                             \
    reduce_body(x, dy, rows, channels, k, d_bias, d_weight, d_slope);                                        \
  }                                                                                                          \
  MULTIVERSION void gradient(const T* x, const T* dy, T* dx, int64_t rows, int64_t channels,                 \
                             const Channels<S>& k, const S* mean_dz, const S* mean_dz_hat) {                 \
    gradient_body(x, dy, dx, rows, channels, k, mean_dz, mean_dz_hat);                                       \
  }
KERNELS(Half, float)
KERNELS(float, float)
KERNELS(double, double)

// Runs body(first row, rows, block) over blocks of rows in parallel.
template <typename F>
void over_blocks(int64_t rows, const F& body) {
  int64_t blocks = (rows + kBlockRows - 1) / kBlockRows;
  at::parallel_for(0, blocks, 1, [&](int64_t from, int64_t to) {
    for (int64_t b = from; b < to; ++b) {
      int64_t first = b * kBlockRows;
      body(first, std::min(kBlockRows, rows - first), b);
    }
  });
}

// Adds up `sums` vectors of `channels` values over all blocks, in double precision
// and in the order of the blocks. body(first, rows, accumulators).
template <typename S, typename F>
std::vector<double> sum_blocks(int64_t rows, int64_t channels, int64_t sums, const F& body) {
  int64_t blocks = (rows + kBlockRows - 1) / kBlockRows;
  std::vector<S> partial(blocks * sums * channels, S(0));
  over_blocks(rows, [&](int64_t first, int64_t n, int64_t b) { body(first, n, &partial[b * sums * channels]); });
  std::vector<double> total(sums * channels, 0.0);
  for (int64_t b = 0; b < blocks; ++b)
    for (int64_t k = 0; k < sums * channels; ++k) total[k] += partial[b * sums * channels + k];
  return total;
}

// An image batch as a matrix of rows by channels.
at::Tensor as_rows(const at::Tensor& x) { return x.contiguous(at::MemoryFormat::ChannelsLast); }

template <typename T, typename S>
struct Kernel {
  int64_t rows, channels;

  static const T* data(const at::Tensor& t) { return static_cast<const T*>(t.data_ptr()); }
  static T* mutable_data(at::Tensor& t) { return static_cast<T*>(t.data_ptr()); }

  // Mean and biased variance of each channel.
  void statistics(const at::Tensor& x, std::vector<double>& mean, std::vector<double>& variance) const {
    const T* p = data(x);
    std::vector<S> shift(channels);
    for (int64_t c = 0; c < channels; ++c) shift[c] = load(p[c]);
    auto sums = sum_blocks<S>(rows, channels, 2, [&](int64_t first, int64_t n, S* acc) {
      moments(p + first * channels, n, channels, shift.data(), acc, acc + channels);
    });
    for (int64_t c = 0; c < channels; ++c) {
      double m = sums[c] / rows;
      mean[c] = m + shift[c];
      variance[c] = std::max(sums[channels + c] / rows - m * m, 0.0);
    }
  }

  at::Tensor forward(const at::Tensor& x, const std::vector<S>& scale, const std::vector<S>& offset,
                     const S* slope) const {
    auto y = at::empty_like(x);
    const T* in = data(x);
    T* out = mutable_data(y);
    over_blocks(rows, [&](int64_t first, int64_t n, int64_t) {
      apply(in + first * channels, out + first * channels, n, channels, scale.data(), offset.data(), slope);
    });
    return y;
  }

  // Returns dx and fills the sums d_bias, d_weight, d_slope.
  at::Tensor backward(const at::Tensor& x, const at::Tensor& dy, const Channels<S>& k,
                      std::vector<double>& sums) const {
    const T *px = data(x), *pg = data(dy);
    sums = sum_blocks<S>(rows, channels, 3, [&](int64_t first, int64_t n, S* acc) {
      reduce(px + first * channels, pg + first * channels, n, channels, k, acc, acc + channels, acc + 2 * channels);
    });
    auto all = sums;  // of all ranks, while a rank's own are its share of the parameters' gradients
    double n = synchronise_sums(rows, all.data(), 2 * channels);
    std::vector<S> mean_dz(channels), mean_dz_hat(channels);
    for (int64_t c = 0; c < channels; ++c) {
      mean_dz[c] = static_cast<S>(all[c] / n);
      mean_dz_hat[c] = static_cast<S>(all[channels + c] / n);
    }
    auto dx = at::empty_like(x);
    T* out = mutable_data(dx);
    over_blocks(rows, [&](int64_t first, int64_t n, int64_t) {
      gradient(px + first * channels, pg + first * channels, out + first * channels, n, channels, k,
               mean_dz.data(), mean_dz_hat.data());
    });
    return dx;
  }
};

// Calls f with the kernel for the element type of x.
template <typename F>
void with_kernel(const at::Tensor& x, const F& f) {
  int64_t channels = x.size(1), rows = x.numel() / channels;
  switch (x.scalar_type()) {
    case at::kBFloat16:
      return f(Kernel<Half, float>{rows, channels});
    case at::kFloat:
      return f(Kernel<float, float>{rows, channels});
    case at::kDouble:
      return f(Kernel<double, double>{rows, channels});
    default:
      TORCH_CHECK(false, "batch_norm_prelu takes bfloat16, float32 or float64, not ", x.scalar_type());
  }
}

template <typename T, typename S>
std::vector<S> values(const Kernel<T, S>&, const at::Tensor& t) {
  auto d = t.detach().to(at::kDouble).contiguous();
  const double* p = d.data_ptr<double>();
  return std::vector<S>(p, p + d.numel());
}

at::Tensor from_values(const double* p, int64_t n, const at::Tensor& like) {
  auto t = at::empty({n}, at::kDouble);
  std::memcpy(t.data_ptr(), p, n * sizeof(double));
  return t.to(like.scalar_type());
}

// PReLU with slope 1 is the identity: the linear layers use that.
at::Tensor slope_or_ones(const c10::optional<at::Tensor>& slope, const at::Tensor& weight) {
  return slope.has_value() && slope->defined() ? *slope : at::ones_like(weight);
}

class BatchNormPReLU : public torch::autograd::Function<BatchNormPReLU> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& input, const at::Tensor& weight,
                            const at::Tensor& bias, const at::Tensor& slope, at::Tensor running_mean,
                            at::Tensor running_var, double momentum, double eps) {
    auto x = as_rows(input);
    int64_t channels = x.size(1);
    at::Tensor y, mean_t, inv_std_t;
    with_kernel(x, [&](auto kernel) {
      std::vector<double> mean(channels), variance(channels), inv_std(channels);
      kernel.statistics(x, mean, variance);
      double n = synchronise_moments(kernel.rows, mean, variance);
      auto w = values(kernel, weight), b = values(kernel, bias), a = values(kernel, slope);
      auto scale = w, offset = b;
      for (int64_t c = 0; c < channels; ++c) {
        inv_std[c] = 1 / std::sqrt(variance[c] + eps);
        scale[c] = w[c] * inv_std[c];
        offset[c] = b[c] - mean[c] * inv_std[c] * w[c];
      }
      y = kernel.forward(x, scale, offset, a.data());
      mean_t = from_values(mean.data(), channels, weight);
      inv_std_t = from_values(inv_std.data(), channels, weight);
      // The running variance is the unbiased one, as everywhere.
      double unbias = n > 1 ? n / (n - 1) : 1;
      auto var_t = from_values(variance.data(), channels, weight);
      running_mean.mul_(1 - momentum).add_(mean_t, momentum);
      running_var.mul_(1 - momentum).add_(var_t, momentum * unbias);
    });
    ctx->save_for_backward({x, weight, bias, slope, mean_t, inv_std_t});
    return y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    auto saved = ctx->get_saved_variables();
    const auto &x = saved[0], &weight = saved[1], &bias = saved[2], &slope = saved[3];
    auto dy = as_rows(grads[0].to(x.scalar_type()));
    at::Tensor dx, d_weight, d_bias, d_slope;
    with_kernel(x, [&](auto kernel) {
      auto w = values(kernel, weight), b = values(kernel, bias), a = values(kernel, slope);
      auto mean = values(kernel, saved[4]), inv_std = values(kernel, saved[5]);
      std::vector<double> sums;
      dx = kernel.backward(x, dy, {mean.data(), inv_std.data(), w.data(), b.data(), a.data()}, sums);
      int64_t c = kernel.channels;
      d_bias = from_values(&sums[0], c, bias);
      d_weight = from_values(&sums[c], c, weight);
      d_slope = from_values(&sums[2 * c], c, slope);
    });
    at::Tensor none;
    return {dx, d_weight, d_bias, d_slope, none, none, none, none};
  }
};

at::Tensor batch_norm_prelu(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                            const c10::optional<at::Tensor>& slope, at::Tensor running_mean, at::Tensor running_var,
                            double momentum, double eps) {
  TORCH_CHECK(x.dim() == 4 && x.numel() > 0, "batch_norm_prelu takes N×C×H×W, got ", x.sizes());
  if (x.is_cpu()) {
    return BatchNormPReLU::apply(x, weight, bias, slope_or_ones(slope, weight), running_mean, running_var, momentum,
                                 eps);
  }
  auto y = batch_norm_is_synchronised()
               ? synchronised_batch_norm(x, weight, bias, running_mean, running_var, momentum, eps)
               : at::batch_norm(x, weight, bias, running_mean, running_var, /*training=*/true, momentum, eps,
                                /*cudnn_enabled=*/true);
  return slope.has_value() && slope->defined() ? at::prelu(y, slope->to(y.scalar_type())) : y;
}

}  // namespace
}  // namespace engine

TORCH_LIBRARY_FRAGMENT(pipe, m) {
  m.def(
      "batch_norm_prelu(Tensor x, Tensor weight, Tensor bias, Tensor? slope, Tensor(a!) running_mean, "
      "Tensor(b!) running_var, float momentum, float eps) -> Tensor",
      &engine::batch_norm_prelu);
}
