// pipe::conv2d — a convolution without bias whose weights stay in float32, with
// kernels of its own where libtorch's are slow. Everything else goes to libtorch, in
// float32 where its half precision is no good (processor.h); so does pipe::linear.
//
//   bfloat16, dense: as products of matrices, of patches where the kernel is wider than
//     a pixel. oneDNN multiplies by the processor's bfloat16 instruction, which on Xeons
//     with AVX-512 starts every other cycle: half the speed of float32's, two of which
//     start in each. So the elements are widened in the cache and multiplied in float32.
//     Processors with a matrix unit (AMX) that oneDNN may use, and AMD's, whose
//     instruction starts in every cycle, keep to oneDNN (processor.h).
//   bfloat16, depthwise 3×3, and depthwise over the whole image in any precision: little
//     arithmetic, so that memory and conversions count.
//
// On CUDA devices depthwise 3×3 and 7×7 may be the engine's as well (depthwise_gpu.h).
//
// In float64 the kernels serve the checks of their gradients.
//
// Weights are rounded to x's element type first, so that both ways agree. Sums over
// rows run over a fixed number of chunks that are added up in order: no result
// depends on the number of threads.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "memory.h"
#include "processor.h"
#include "share.h"
#ifdef PIPE_CUDA_KERNELS
#include "depthwise_gpu.h"
#endif

namespace engine {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The number of chunks, and the rows of one, that a gradient of weights is summed up
// in: at most 32, and no more than fit into 64 MiB with one gradient of `bytes` each.
std::pair<int64_t, int64_t> chunks_of(int64_t rows, int64_t bytes) {
  int64_t most = std::min<int64_t>(32, std::max<int64_t>(2, (int64_t(64) << 20) / bytes));
  int64_t chunk = ceil_div(ceil_div(rows, most), kPointwiseBlock) * kPointwiseBlock;
  return {ceil_div(rows, chunk), chunk};
}

// Calls body(i, scratch) for i in [0, n) in parallel, with room for `room` values S.
template <typename S, typename F>
void in_parallel(int64_t n, int64_t room, const F& body) {
  share(n, [&](const Share& mine) {
    std::unique_ptr<S[]> scratch(new S[room]);
    mine.each([&](int64_t i) { body(i, scratch.get()); });
  });
}

// Adds up the parts of a gradient, part after part.
template <typename S>
std::vector<double> total(const std::vector<S>& parts, int64_t each) {
  std::vector<double> sum(each, 0.0);
  for (size_t p = 0; p < parts.size(); p += each)
    for (int64_t k = 0; k < each; ++k) sum[k] += parts[p + k];
  return sum;
}

at::Tensor empty_rows(const at::Tensor& like, int64_t channels, int64_t height, int64_t width) {
  return at::empty({like.size(0), channels, height, width}, like.options(), at::MemoryFormat::ChannelsLast);
}

at::Tensor rounded(const at::Tensor& weight, const at::Tensor& x) { return weight.detach().to(x.scalar_type()); }

// y(rows × out) = x(rows × in) · wᵀ with w(o, i) at o·out_stride + i·in_stride.
template <typename E, typename S = typename E::Sum>
void multiply(const at::Tensor& x, const std::vector<S>& w, int64_t in, int64_t out, int64_t out_stride,
              int64_t in_stride, at::Tensor& y) {
  using T = typename E::Stored;
  const auto& loops = E::kernels().pointwise;
  std::vector<S> packed(ceil_div(out, loops.panel) * loops.panel * in);
  loops.pack(w.data(), out, in, out_stride, in_stride, packed.data());
  const T* from = data<T>(x);
  T* to = mutable_data<T>(y);
  int64_t rows = x.numel() / in;
  in_parallel<S>(ceil_div(rows, loops.strip), loops.strip * (in + loops.padding), [&](int64_t k, S* scratch) {
    int64_t first = k * loops.strip;
    loops.multiply(from + first * in, std::min(loops.strip, rows - first), in, packed.data(), out, to + first * out,
                   scratch);
  });
}

template <typename E, typename S = typename E::Sum>
std::vector<double> outer(const at::Tensor& x, const at::Tensor& dy, int64_t in, int64_t out) {
  using T = typename E::Stored;
  const auto& loops = E::kernels().pointwise;
  const T *px = data<T>(x), *pg = data<T>(dy);
  int64_t rows = x.numel() / in;
  auto [chunks, chunk] = chunks_of(rows, in * out * sizeof(S));
  std::vector<S> parts(chunks * out * in, S(0));
  in_parallel<S>(chunks, kPointwiseBlock * (in + out + 2 * loops.padding), [&, chunk = chunk](int64_t k, S* scratch) {
    int64_t first = k * chunk;
    loops.outer(px + first * in, pg + first * out, std::min(chunk, rows - first), in, out, &parts[k * out * in],
                in, scratch);
  });
  return total(parts, out * in);
}

class Pointwise : public torch::autograd::Function<Pointwise> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& input, const at::Tensor& weight) {
    auto x = as_rows(input);
    int64_t out = weight.size(0), in = weight.size(1);
    auto y = empty_rows(x, out, x.size(2), x.size(3));
    with_elements("conv2d", x, [&](auto e) {
      using E = decltype(e);
      multiply<E>(x, values<typename E::Sum>(rounded(weight, x)), in, out, in, 1, y);
    });
    ctx->save_for_backward({x, weight});
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    auto saved = ctx->get_saved_variables();
    const auto &x = saved[0], &weight = saved[1];
    auto dy = as_rows(grads[0].to(x.scalar_type()));
    int64_t out = weight.size(0), in = weight.size(1);
    at::Tensor dx, dw;
    with_elements("conv2d", x, [&](auto e) {
      using E = decltype(e);
      dx = at::empty_like(x);
      multiply<E>(dy, values<typename E::Sum>(rounded(weight, x)), out, in, 1, in, dx);
      dw = from_values(outer<E>(x, dy, in, out).data(), weight.sizes(), weight);
    });
    return {dx, dw};
  }
};

// The values that each row of a product is made of: of a grid of places over an image,
// the pixels at grid place · step + offset, one offset after the other, zeros outside.
struct Patches {
  int64_t height, width, channels;  // of the image
  int64_t grid_height, grid_width, step;
  std::vector<int64_t> down, right;  // offsets

  int64_t grid() const { return grid_height * grid_width; }
  int64_t values() const { return int64_t(down.size() * right.size()) * channels; }

  template <typename T>
  void copy(const T* x, int64_t first, int64_t rows, T* to) const {
    for (int64_t r = first; r < first + rows; ++r) {
      const T* image = x + r / grid() * height * width * channels;
      int64_t y = r % grid() / grid_width * step, left = r % grid_width * step;
      for (int64_t dy : down) {
        for (int64_t dx : right) {
          bool inside = y + dy >= 0 && y + dy < height && left + dx >= 0 && left + dx < width;
          if (inside)
            std::memcpy(to, image + ((y + dy) * width + left + dx) * channels, channels * sizeof(T));
          else
            std::memset(to, 0, channels * sizeof(T));
          to += channels;
        }
      }
    }
  }
};

// Any other convolution, as products with the patches of the image. Patches are copied
// for some rows at a time, and stay in the cache.
class Dense : public torch::autograd::Function<Dense> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& input, const at::Tensor& weight, int64_t stride,
                            int64_t padding) {
    auto x = as_rows(input);
    auto p = patches(x, weight, stride, padding);
    auto y = empty_rows(x, weight.size(0), p.grid_height, p.grid_width);
    with_elements("conv2d", x, [&](auto e) {
      using E = decltype(e);
      auto w = values<typename E::Sum>(rounded(weight, x).permute({0, 2, 3, 1}));
      auto* to = mutable_data<typename E::Stored>(y);
      multiply_patches<E>(x, p, w, weight.size(0), [&](int64_t row) { return to + row * weight.size(0); });
    });
    ctx->save_for_backward({x, weight});
    ctx->saved_data["stride"] = stride;
    ctx->saved_data["padding"] = padding;
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    auto saved = ctx->get_saved_variables();
    const auto &x = saved[0], &weight = saved[1];
    int64_t stride = ctx->saved_data["stride"].toInt(), padding = ctx->saved_data["padding"].toInt();
    auto dy = as_rows(grads[0].to(x.scalar_type()));
    at::Tensor dx, dw;
    with_elements("conv2d", x, [&](auto e) {
      using E = decltype(e);
      if (ctx->needs_input_grad(0)) {
        dx = at::empty_like(x);
        for (int64_t a = 0; a < stride; ++a)
          for (int64_t b = 0; b < stride; ++b) data_gradient<E>(dy, weight, stride, padding, a, b, dx);
      }
      if (ctx->needs_input_grad(1)) dw = weights_gradient<E>(x, dy, patches(x, weight, stride, padding), weight);
    });
    return {dx, dw, at::Tensor(), at::Tensor()};
  }

 private:
  // What a place of y sees of x.
  static Patches patches(const at::Tensor& x, const at::Tensor& weight, int64_t stride, int64_t padding) {
    Patches p{x.size(2), x.size(3), x.size(1), 0, 0, stride, {}, {}};
    p.grid_height = (p.height + 2 * padding - weight.size(2)) / stride + 1;
    p.grid_width = (p.width + 2 * padding - weight.size(3)) / stride + 1;
    for (int64_t k = 0; k < weight.size(2); ++k) p.down.push_back(k - padding);
    for (int64_t k = 0; k < weight.size(3); ++k) p.right.push_back(k - padding);
    return p;
  }

  // out values for each patch; place(row) is where a row goes. Rows that follow one
  // another there are written at once.
  template <typename E, typename S, typename F>
  static void multiply_patches(const at::Tensor& x, const Patches& p, const std::vector<S>& w, int64_t out,
                               const F& place) {
    using T = typename E::Stored;
    const auto& loops = E::kernels().pointwise;
    int64_t in = p.values(), rows = x.size(0) * p.grid();
    std::vector<S> packed(ceil_div(out, loops.panel) * loops.panel * in);
    loops.pack(w.data(), out, in, in, 1, packed.data());
    const int64_t strip = loops.strip;  // rows at a time
    int64_t room = strip * (in + loops.padding), each = strip * (in + out);
    in_parallel<S>(ceil_div(rows, strip), room + each, [&](int64_t k, S* scratch) {
      int64_t first = k * strip, n = std::min(strip, rows - first);
      T *from = reinterpret_cast<T*>(scratch + room), *to = from + strip * in;
      p.copy(data<T>(x), first, n, from);
      if (place(first + n - 1) == place(first) + (n - 1) * out)
        return loops.multiply(from, n, in, packed.data(), out, place(first), scratch);
      loops.multiply(from, n, in, packed.data(), out, to, scratch);
      for (int64_t r = 0; r < n; ++r) std::memcpy(place(first + r), to + r * out, out * sizeof(T));
    });
  }

  // The gradient of the pixels at stride·j + a, stride·i + b, which the same weights see.
  template <typename E, typename S = typename E::Sum>
  static void data_gradient(const at::Tensor& dy, const at::Tensor& weight, int64_t stride, int64_t padding, int64_t a,
                            int64_t b, at::Tensor& dx) {
    using T = typename E::Stored;
    int64_t height = dx.size(2), width = dx.size(3), channels = dx.size(1);
    if (a >= height || b >= width) return;
    Patches p{dy.size(2), dy.size(3), dy.size(1), ceil_div(height - a, stride), ceil_div(width - b, stride), 1, {}, {}};
    auto seen = [&](int64_t start, int64_t kernel, std::vector<int64_t>& offsets) {
      std::vector<int64_t> taps;
      for (int64_t k = (start + padding) % stride; k < kernel; k += stride) {
        taps.push_back(k);
        offsets.push_back((start + padding - k) / stride);
      }
      return at::tensor(taps, at::kLong);
    };
    auto rows = seen(a, weight.size(2), p.down), columns = seen(b, weight.size(3), p.right);
    auto w = rounded(weight, dy).permute({1, 2, 3, 0}).index_select(1, rows).index_select(2, columns);
    T* to = mutable_data<T>(dx);
    multiply_patches<E>(dy, p, values<S>(w), channels, [&](int64_t row) {
      int64_t y = a + row % p.grid() / p.grid_width * stride, x = b + row % p.grid_width * stride;
      return to + ((row / p.grid() * height + y) * width + x) * channels;
    });
  }

  template <typename E, typename S = typename E::Sum>
  static at::Tensor weights_gradient(const at::Tensor& x, const at::Tensor& dy, const Patches& p,
                                     const at::Tensor& weight) {
    using T = typename E::Stored;
    const auto& loops = E::kernels().pointwise;
    int64_t in = p.values(), out = weight.size(0), rows = x.size(0) * p.grid();
    auto [chunks, chunk] = chunks_of(rows, in * out * sizeof(S));
    std::vector<S> parts(chunks * out * in, S(0));
    // One row of the kernel at a time: the patches of all would outgrow the cache.
    int64_t wide = in / p.down.size(), room = kPointwiseBlock * (wide + out + 2 * loops.padding);
    in_parallel<S>(chunks, room + kPointwiseBlock * wide, [&, chunk = chunk](int64_t k, S* scratch) {
      T* from = reinterpret_cast<T*>(scratch + room);
      auto one = p;
      int64_t last = std::min(rows, (k + 1) * chunk);
      for (int64_t r = k * chunk; r < last; r += kPointwiseBlock) {
        int64_t n = std::min(kPointwiseBlock, last - r);
        for (size_t d = 0; d < p.down.size(); ++d) {
          one.down = {p.down[d]};
          one.copy(data<T>(x), r, n, from);
          loops.outer(from, data<T>(dy) + r * out, n, wide, out, &parts[k * out * in + d * wide], in, scratch);
        }
      }
    });
    auto sum = total(parts, out * in);
    auto t = from_values(sum.data(), {out, weight.size(2), weight.size(3), weight.size(1)}, weight);
    return t.permute({0, 3, 1, 2}).contiguous();
  }
};

// Weights channels × 1 × positions, and back.
template <typename S>
std::vector<S> positions_first(const at::Tensor& weight) {
  return values<S>(weight.reshape({weight.size(0), -1}).t());
}
at::Tensor channels_first(const std::vector<double>& w, const at::Tensor& weight) {
  int64_t channels = weight.size(0);
  auto t = from_values(w.data(), {weight.numel() / channels, channels}, weight);
  return t.t().contiguous().view(weight.sizes());
}

class Depthwise : public torch::autograd::Function<Depthwise> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& input, const at::Tensor& weight, int64_t stride,
                            int64_t padding) {
    auto x = as_rows(input);
    DepthwiseShape d{x.size(2), x.size(3), x.size(1), stride, padding, 0, 0};
    d.out_height = (d.height + 2 * padding - 3) / stride + 1;
    d.out_width = (d.width + 2 * padding - 3) / stride + 1;
    auto y = empty_rows(x, d.channels, d.out_height, d.out_width);
    with_elements("conv2d", x, [&](auto e) {
      using E = decltype(e);
      convolve<E>(x, positions_first<typename E::Sum>(rounded(weight, x)), d, y);
    });
    ctx->save_for_backward({x, weight});
    ctx->saved_data["stride"] = stride;
    ctx->saved_data["padding"] = padding;
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    auto saved = ctx->get_saved_variables();
    const auto &x = saved[0], &weight = saved[1];
    auto dy = as_rows(grads[0].to(x.scalar_type()));
    DepthwiseShape d{x.size(2), x.size(3), x.size(1), ctx->saved_data["stride"].toInt(),
                     ctx->saved_data["padding"].toInt(), dy.size(2), dy.size(3)};
    auto dx = at::empty_like(x);
    at::Tensor dw;
    with_elements("conv2d", x, [&](auto e) {
      using E = decltype(e);
      auto w = positions_first<typename E::Sum>(rounded(weight, x));
      d.stride == 1 ? turned<E>(dy, w, d, dx) : gather<E>(dy, w, d, dx);
      dw = channels_first(weights_gradient<E>(x, dy, d), weight);
    });
    return {dx, dw, at::Tensor(), at::Tensor()};
  }

 private:
  static int64_t room(const DepthwiseShape& d) { return 4 * (d.width + 2 * d.padding) * d.channels; }
  static int64_t image(const DepthwiseShape& d) { return d.height * d.width * d.channels; }
  static int64_t out_image(const DepthwiseShape& d) { return d.out_height * d.out_width * d.channels; }

  template <typename E, typename S = typename E::Sum>
  static void convolve(const at::Tensor& x, const std::vector<S>& w, const DepthwiseShape& d, at::Tensor& y) {
    using T = typename E::Stored;
    const T* from = data<T>(x);
    T* to = mutable_data<T>(y);
    in_parallel<S>(x.size(0), room(d), [&](int64_t n, S* scratch) {
      E::kernels().depthwise.forward(from + n * image(d), w.data(), d, to + n * out_image(d), scratch);
    });
  }

  // With stride 1, dx is the convolution of dy with the kernel turned round.
  template <typename E, typename S = typename E::Sum>
  static void turned(const at::Tensor& dy, const std::vector<S>& w, const DepthwiseShape& d, at::Tensor& dx) {
    std::vector<S> reversed(w.size());
    for (int64_t k = 0; k < 9; ++k)
      std::copy_n(&w[k * d.channels], d.channels, &reversed[(8 - k) * d.channels]);
    convolve<E>(dy, reversed, {d.out_height, d.out_width, d.channels, 1, 2 - d.padding, d.height, d.width}, dx);
  }

  template <typename E, typename S = typename E::Sum>
  static void gather(const at::Tensor& dy, const std::vector<S>& w, const DepthwiseShape& d, at::Tensor& dx) {
    using T = typename E::Stored;
    const T* from = data<T>(dy);
    T* to = mutable_data<T>(dx);
    in_parallel<S>(dy.size(0), room(d), [&](int64_t n, S* scratch) {
      E::kernels().depthwise.backward_data(from + n * out_image(d), w.data(), d, to + n * image(d), scratch);
    });
  }

  template <typename E, typename S = typename E::Sum>
  static std::vector<double> weights_gradient(const at::Tensor& x, const at::Tensor& dy, const DepthwiseShape& d) {
    using T = typename E::Stored;
    const T *px = data<T>(x), *pg = data<T>(dy);
    int64_t each = 9 * d.channels;
    std::vector<S> parts(x.size(0) * each, S(0));
    in_parallel<S>(x.size(0), room(d), [&](int64_t n, S* scratch) {
      E::kernels().depthwise.backward_weights(px + n * image(d), pg + n * out_image(d), d, &parts[n * each], scratch);
    });
    return total(parts, each);
  }
};

// A depthwise convolution with a kernel of the image's size: one output a channel.
class Global : public torch::autograd::Function<Global> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& input, const at::Tensor& weight) {
    auto x = as_rows(input);
    int64_t channels = x.size(1), positions = x.size(2) * x.size(3);
    auto y = empty_rows(x, channels, 1, 1);
    with_elements("conv2d", x, [&](auto e) {
      using T = typename decltype(e)::Stored;
      auto w = positions_first<typename decltype(e)::Sum>(rounded(weight, x));
      const T* from = data<T>(x);
      T* to = mutable_data<T>(y);
      at::parallel_for(0, x.size(0), 1, [&](int64_t n, int64_t end) {
        for (; n < end; ++n)
          decltype(e)::kernels().depthwise.weighted_sum(from + n * positions * channels, w.data(), positions, channels,
                                                        to + n * channels);
      });
    });
    ctx->save_for_backward({x, weight});
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    auto saved = ctx->get_saved_variables();
    const auto &x = saved[0], &weight = saved[1];
    auto dy = as_rows(grads[0].to(x.scalar_type()));
    int64_t channels = x.size(1), positions = x.size(2) * x.size(3), images = x.size(0);
    auto dx = at::empty_like(x);
    at::Tensor dw;
    with_elements("conv2d", x, [&](auto e) {
      using T = typename decltype(e)::Stored;
      using S = typename decltype(e)::Sum;
      const auto& loops = decltype(e)::kernels().depthwise;
      auto w = positions_first<S>(rounded(weight, x));
      const T *px = data<T>(x), *pg = data<T>(dy);
      T* to = mutable_data<T>(dx);
      at::parallel_for(0, images, 1, [&](int64_t n, int64_t end) {
        for (; n < end; ++n)
          loops.scaled_rows(pg + n * channels, w.data(), positions, channels, to + n * positions * channels);
      });
      std::vector<S> sums(positions * channels);
      at::parallel_for(0, positions, 1, [&](int64_t p, int64_t end) {
        for (; p < end; ++p)
          loops.product_sum(px + p * channels, positions * channels, pg, images, channels, &sums[p * channels]);
      });
      dw = channels_first(std::vector<double>(sums.begin(), sums.end()), weight);
    });
    return {dx, dw};
  }
};

// product(x, weight) in x's element type, or in float32 and then rounded. Float16 on a
// processor is for trying out what devices will do.
template <typename F>
at::Tensor in_libtorch(const at::Tensor& x, const at::Tensor& weight, const F& product) {
  auto dtype = x.scalar_type();
  bool inexact = dtype == at::kHalf || (dtype == at::kBFloat16 && !onednn_takes_bfloat16());
  if (!x.is_cpu() || !inexact) return product(x, weight.to(dtype));
  return product(x.to(at::kFloat), weight.to(dtype).to(at::kFloat)).to(dtype);
}

at::Tensor conv2d(const at::Tensor& x, const at::Tensor& weight, int64_t stride, int64_t padding, int64_t groups) {
  TORCH_CHECK(x.dim() == 4 && weight.dim() == 4 && stride >= 1 && padding >= 0,
              "conv2d takes N×C×H×W and weights out×in×k×k, got ", x.sizes(), " and ", weight.sizes());
  int64_t channels = x.size(1), out = weight.size(0), high = weight.size(2), wide = weight.size(3);
  auto dtype = x.scalar_type();
  bool known = x.is_cpu() && weight.is_cpu() && x.numel() > 0 && x.size(2) + 2 * padding >= high &&
               x.size(3) + 2 * padding >= wide &&
               (dtype == at::kBFloat16 || dtype == at::kFloat || dtype == at::kDouble);
  bool products = dtype == at::kDouble || (dtype == at::kBFloat16 && !bfloat16_is_onednns());
  // A few input channels, as the first layer's, are not worth the copying of patches.
  bool wide_enough = dtype == at::kDouble || channels >= 16 || high * wide == 1;
  if (known && products && groups == 1 && weight.size(1) == channels && wide_enough)
    return high * wide * stride == 1 && padding == 0 ? Pointwise::apply(x, weight)
                                                     : Dense::apply(x, weight, stride, padding);
  bool depthwise = known && groups == channels && out == channels && weight.size(1) == 1;
  if (depthwise && high == x.size(2) && wide == x.size(3) && padding == 0) return Global::apply(x, weight);
  if (depthwise && dtype != at::kFloat && high == 3 && wide == 3 && padding <= 2)
    return Depthwise::apply(x, weight, stride, padding);
#ifdef PIPE_CUDA_KERNELS
  if (groups == channels && gpu_serves_depthwise(x, weight, stride, padding))
    return depthwise_on_gpu(x, weight, stride, padding);
#endif
  auto product = [&](const at::Tensor& x, const at::Tensor& w) {
    return at::conv2d(x, w, {}, stride, padding, /*dilation=*/1, groups);
  };
  return in_libtorch(x, weight, product);
}

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const c10::optional<at::Tensor>& bias) {
  return in_libtorch(x, weight, [&](const at::Tensor& x, const at::Tensor& w) {
    return bias.has_value() ? at::linear(x, w, bias->to(x.scalar_type())) : at::linear(x, w);
  });
}

}  // namespace
}  // namespace engine

TORCH_LIBRARY_FRAGMENT(pipe, m) {
  m.def("conv2d(Tensor x, Tensor weight, int stride, int padding, int groups) -> Tensor", &engine::conv2d);
  m.def("linear(Tensor x, Tensor weight, Tensor? bias) -> Tensor", &engine::linear);
}
