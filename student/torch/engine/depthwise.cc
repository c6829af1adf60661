// pipe::depthwise — convolution of channels-last images in bfloat16 that sees each
// channel alone, with weights in float32, forward and backward.
//
// Arithmetic is nothing here, and reading and writing images is all: rows are widened
// to float32 once and stay in the cache for every filter that touches them, and
// the backward pass makes both gradients while it has them. Like pipe::pointwise it
// needs no copies of weights in bfloat16.
//
// Images are worked on in parallel and weights' gradients added up in fixed parts, so
// the result does not depend on the number of threads.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>
#include <vector>

#include "kernels.h"

namespace engine {
namespace {

constexpr int64_t kParts = 8;  // of the weights' gradient

struct Filter {
  int64_t channels, height, width;        // of an image
  int64_t out_height, out_width;          // of what the filter makes of it
  int64_t size, stride, padding;
};

Filter filter_of(const at::Tensor& x, const at::Tensor& w, int64_t stride, int64_t padding) {
  Filter f{x.size(1), x.size(2), x.size(3), 0, 0, w.size(2), stride, padding};
  f.out_height = (f.height + 2 * padding - f.size) / stride + 1;
  f.out_width = (f.width + 2 * padding - f.size) / stride + 1;
  return f;
}

// The last rows of an image, in float32.
class Rows {
 public:
  Rows(int64_t width, int64_t channels, int64_t kept)
      : row_(width * channels), kept_(kept), memory_(row_ * kept), held_(kept, -1) {}
  // Begins another image.
  void open(const Bfloat16* image) {
    image_ = image;
    std::fill(held_.begin(), held_.end(), -1);
  }
  const float* at(int64_t y) {
    float* row = &memory_[y % kept_ * row_];
    if (held_[y % kept_] != y) {
      kernels().conversion.widen(image_ + y * row_, row, row_);
      held_[y % kept_] = y;
    }
    return row;
  }

 private:
  int64_t row_, kept_;
  std::vector<float> memory_;
  std::vector<int64_t> held_;
  const Bfloat16* image_ = nullptr;
};

// The pixels under a filter, and the filter's weights there.
struct Taps {
  explicit Taps(int64_t most) : x(most), w(most) {}
  std::vector<const float*> x, w;
  int64_t n = 0;
  void add(const float* pixel, const float* weight) {
    x[n] = pixel;
    w[n++] = weight;
  }
};

// Row oy of the output, in runs of pixels for which the same places are under the
// filter: use(first pixel, pixels, taps).
template <typename F>
void over_outputs(const Filter& f, Rows& x, const float* w, int64_t oy, Taps& taps, const F& use) {
  const int64_t top = oy * f.stride - f.padding;
  for (int64_t ox = 0, pixels; ox < f.out_width; ox += pixels) {
    const int64_t left = ox * f.stride - f.padding;
    taps.n = 0;
    for (int64_t ky = std::max<int64_t>(0, -top); ky < std::min(f.size, f.height - top); ++ky) {
      const float* row = x.at(top + ky);
      for (int64_t kx = std::max<int64_t>(0, -left); kx < std::min(f.size, f.width - left); ++kx)
        taps.add(row + (left + kx) * f.channels, w + (ky * f.size + kx) * f.channels);
    }
    const bool inside = left >= 0 && left + f.size <= f.width;
    pixels = inside ? (f.width - f.size - left) / f.stride + 1 : 1;
    use(ox, pixels, taps);
  }
}

// Row iy of the input's gradient: each pixel from the outputs that it went into. Those
// that are a stride apart went under the same weights.
void input_gradient(const Filter& f, Rows& dy, const float* w, int64_t iy, Taps& taps, Bfloat16* dx) {
  for (int64_t phase = 0; phase < std::min(f.stride, f.width); ++phase) {
    const int64_t first = (phase + f.padding) % f.stride;  // of the columns of the filter
    const int64_t most = f.size > first ? (f.size - first + f.stride - 1) / f.stride : 0;
    for (int64_t ix = phase, pixels; ix < f.width; ix += pixels * f.stride) {
      const int64_t right = (ix + f.padding - first) / f.stride;  // the last output that saw it, if there is one
      taps.n = 0;
      for (int64_t ky = (iy + f.padding) % f.stride; ky < f.size && ky <= iy + f.padding; ky += f.stride) {
        const int64_t oy = (iy + f.padding - ky) / f.stride;
        if (oy >= f.out_height) continue;
        const float* row = dy.at(oy);
        for (int64_t k = 0; k < most; ++k) {
          const int64_t ox = right - k;
          if (ox >= 0 && ox < f.out_width)
            taps.add(row + ox * f.channels, w + (ky * f.size + first + k * f.stride) * f.channels);
        }
      }
      const bool inside = right - most + 1 >= 0 && right < f.out_width;
      pixels = inside ? std::min(f.out_width - right, (f.width - 1 - ix) / f.stride + 1) : 1;
      kernels().depthwise.weigh(taps.x.data(), f.channels, taps.w.data(), taps.n, f.channels, pixels,
                                dx + ix * f.channels, f.stride * f.channels);
    }
  }
}

const Bfloat16* data(const at::Tensor& t) { return static_cast<const Bfloat16*>(t.data_ptr()); }
Bfloat16* mutable_data(at::Tensor& t) { return static_cast<Bfloat16*>(t.data_ptr()); }
at::Tensor as_rows(const at::Tensor& x) { return x.contiguous(at::MemoryFormat::ChannelsLast); }

// Weights channels × 1 × size × size with the channels innermost.
at::Tensor taps_of(const at::Tensor& w) { return w.detach().flatten(1).t().contiguous(); }

at::Tensor filtered(const at::Tensor& x, const at::Tensor& weight, const Filter& f) {
  auto w = taps_of(weight);
  auto y = at::empty({x.size(0), f.channels, f.out_height, f.out_width}, x.options(), at::MemoryFormat::ChannelsLast);
  const int64_t in = f.height * f.width * f.channels, out = f.out_height * f.out_width * f.channels;
  const Bfloat16* from = data(x);
  Bfloat16* to = mutable_data(y);
  at::parallel_for(0, x.size(0), 1, [&](int64_t first, int64_t last) {
    Rows rows(f.width, f.channels, f.size);
    Taps taps(f.size * f.size);
    for (int64_t n = first; n < last; ++n) {
      rows.open(from + n * in);
      for (int64_t oy = 0; oy < f.out_height; ++oy) {
        Bfloat16* row = to + n * out + oy * f.out_width * f.channels;
        over_outputs(f, rows, w.data_ptr<float>(), oy, taps, [&](int64_t ox, int64_t pixels, const Taps& t) {
          kernels().depthwise.weigh(t.x.data(), f.stride * f.channels, t.w.data(), t.n, f.channels, pixels,
                                    row + ox * f.channels, f.channels);
        });
      }
    }
  });
  return y;
}

// Both gradients of images [first, last), the weights' added to dw (taps × channels).
void image_gradients(const Filter& f, const Bfloat16* x, const Bfloat16* dy, const float* w, int64_t first, int64_t last,
                     Bfloat16* dx, float* dw) {
  const int64_t in = f.height * f.width * f.channels, out = f.out_height * f.out_width * f.channels;
  Rows image(f.width, f.channels, f.size), outputs(f.out_width, f.channels, f.size);
  Taps taps(f.size * f.size);
  std::vector<float*> sums(f.size * f.size);
  for (int64_t n = first; n < last; ++n) {
    image.open(x + n * in);
    outputs.open(dy + n * out);
    int64_t done = 0;  // rows of dx
    for (int64_t oy = 0; oy < f.out_height; ++oy) {
      const float* g = outputs.at(oy);
      over_outputs(f, image, w, oy, taps, [&](int64_t ox, int64_t pixels, const Taps& t) {
        for (int64_t k = 0; k < t.n; ++k) sums[k] = dw + (t.w[k] - w);
        kernels().depthwise.add_products(t.x.data(), f.stride * f.channels, g + ox * f.channels, f.channels, t.n,
                                         f.channels, pixels, sums.data());
      });
      // The rows that no later output has seen.
      const int64_t end = oy + 1 == f.out_height ? f.height : std::min(f.height, (oy + 1) * f.stride - f.padding);
      for (; done < end; ++done)
        input_gradient(f, outputs, w, done, taps, dx + n * in + done * f.width * f.channels);
    }
  }
}

class Depthwise : public torch::autograd::Function<Depthwise> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& input, const at::Tensor& weight,
                            int64_t stride, int64_t padding) {
    auto x = as_rows(input);
    ctx->save_for_backward({x, weight});
    ctx->saved_data["stride"] = stride;
    ctx->saved_data["padding"] = padding;
    return filtered(x, weight, filter_of(x, weight, stride, padding));
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    auto saved = ctx->get_saved_variables();
    const auto &x = saved[0], &weight = saved[1];
    auto dy = as_rows(grads[0].to(x.scalar_type()));
    const Filter f = filter_of(x, weight, ctx->saved_data["stride"].toInt(), ctx->saved_data["padding"].toInt());
    auto w = taps_of(weight);
    auto dx = at::empty_like(x);
    const int64_t taps = f.size * f.size, images = x.size(0), each = (images + kParts - 1) / kParts;
    auto parts = at::zeros({kParts, taps, f.channels}, at::kFloat);
    at::parallel_for(0, kParts, 1, [&](int64_t from, int64_t to) {
      for (int64_t p = from; p < to; ++p)
        image_gradients(f, data(x), data(dy), w.data_ptr<float>(), std::min(images, p * each),
                        std::min(images, (p + 1) * each), mutable_data(dx),
                        parts.data_ptr<float>() + p * taps * f.channels);
    });
    at::Tensor none;
    return {dx, parts.sum(0).t().reshape(weight.sizes()), none, none};
  }
};

// w is channels × 1 × size × size.
at::Tensor depthwise(const at::Tensor& x, const at::Tensor& w, int64_t stride, int64_t padding) {
  TORCH_CHECK(x.dim() == 4 && w.dim() == 4 && w.size(0) == x.size(1) && w.size(1) == 1 && w.size(2) == w.size(3),
              "depthwise takes N×C×H×W and C×1×k×k, got ", x.sizes(), " and ", w.sizes());
  const bool fits = x.size(2) + 2 * padding >= w.size(2) && x.size(3) + 2 * padding >= w.size(2) && padding < w.size(2);
  if (x.is_cpu() && x.scalar_type() == at::kBFloat16 && w.scalar_type() == at::kFloat && x.numel() > 0 && fits)
    return Depthwise::apply(x, w, stride, padding);
  return at::conv2d(x, w.to(x.scalar_type()), {}, stride, padding, 1, x.size(1));
}

}  // namespace
}  // namespace engine

TORCH_LIBRARY_FRAGMENT(pipe, m) {
  m.def("depthwise(Tensor x, Tensor weight, int stride, int padding) -> Tensor", &engine::depthwise);
}
