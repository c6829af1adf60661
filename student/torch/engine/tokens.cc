// What transformers add: pipe::attention, a kernel of its own on the CPU, and libtorch's
// pipe::layer_norm, pipe::gelu and pipe::silu in numbers that they are good in.
//
// pipe::attention is softmax(q·kᵀ/√d + bias)·v for each image and head, with q, k and v side
// by side in qkv, N×T×3·heads·d, and a bias heads×T×T that all images share. The products are
// small: of an image and a head they fit into the cache, where the loops of 1×1 convolutions
// (simd/pointwise.cc) multiply them from where they lie, without q, k and v being copied
// apart. Builds of libtorch without MKL take them one after the other on one thread. Sums and
// softmax are in float32 whatever goes in; in float64 the kernel serves the checks of its
// gradient. Each product is one thread's: no result depends on the number of threads.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <cmath>
#include <memory>
#include <vector>

#include "memory.h"
#include "share.h"

namespace engine {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Matrices of every image and head: images × heads × rows × columns in any strides.
template <typename S>
struct Matrices {
  S* p;
  int64_t images, heads, rows, columns;
  int64_t image, head, down, right;  // strides

  explicit Matrices(const at::Tensor& t)
      : p(static_cast<S*>(t.data_ptr())), images(t.size(0)), heads(t.size(1)), rows(t.size(2)), columns(t.size(3)),
        image(t.stride(0)), head(t.stride(1)), down(t.stride(2)), right(t.stride(3)) {}
  S* of(int64_t k) const { return p + k / heads * image + k % heads * head; }
};

// out = a · b for every image and head.
template <typename S>
void multiply(const at::Tensor& first, const at::Tensor& second, const at::Tensor& result) {
  Matrices<S> a(first), b(second), out(result);
  TORCH_CHECK(a.columns == b.rows && out.rows == a.rows && out.columns == b.columns, "attention: ", first.sizes(), " by ",
              second.sizes());
  const auto& loops = Elements<S, S>::kernels().pointwise;
  int64_t packed = (b.columns + loops.panel - 1) / loops.panel * loops.panel * b.rows;
  int64_t dense = a.rows * a.columns, scratch = loops.strip * (a.columns + loops.padding);
  share(a.images * a.heads, [&](const Share& mine) {
    std::unique_ptr<S[]> room(new S[packed + dense + scratch + out.rows * out.columns]);
    S *weights = room.get(), *rows = weights + packed, *beside = rows + dense, *product = beside + scratch;
    mine.each([&](int64_t k) {
      const S* from = a.of(k);
      for (int64_t r = 0; r < a.rows; ++r)
        for (int64_t c = 0; c < a.columns; ++c) rows[r * a.columns + c] = from[r * a.down + c * a.right];
      loops.pack(b.of(k), b.columns, b.rows, b.right, b.down, weights);
      loops.multiply(rows, a.rows, a.columns, weights, b.columns, product, beside);
      S* to = out.of(k);
      for (int64_t r = 0; r < out.rows; ++r)
        for (int64_t c = 0; c < out.columns; ++c) to[r * out.down + c * out.right] = product[r * out.columns + c];
    });
  });
}

// Calls f(a number of the type that x is computed in).
template <typename F>
void with_sums(const at::Tensor& x, const F& f) {
  x.scalar_type() == at::kDouble ? f(double(0)) : f(float(0));
}
at::ScalarType sums_of(const at::Tensor& x) { return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat; }

// q (0), k (1) or v (2) as images × heads × T × d.
at::Tensor part(const at::Tensor& qkv, int64_t heads, int64_t which) {
  int64_t width = qkv.size(2) / 3;
  return qkv.view({qkv.size(0), qkv.size(1), 3, heads, width / heads}).select(2, which).transpose(1, 2);
}

// N×T×C as images × heads × T × d.
at::Tensor by_head(const at::Tensor& x, int64_t heads) {
  return x.view({x.size(0), x.size(1), heads, x.size(2) / heads}).transpose(1, 2);
}

class Attention : public torch::autograd::Function<Attention> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& input, const at::Tensor& bias, int64_t heads) {
    auto type = sums_of(input);
    auto x = input.detach().to(type).contiguous();
    int64_t images = x.size(0), tokens = x.size(1), width = x.size(2) / 3;
    auto p = at::empty({images, heads, tokens, tokens}, x.options());
    auto y = at::empty({images, tokens, width}, x.options());
    with_sums(x, [&](auto zero) {
      using S = decltype(zero);
      multiply<S>(part(x, heads, 0), part(x, heads, 1).transpose(2, 3), p);
      p.mul_(scale(x, heads)).add_(bias.detach().to(type));
      p = at::softmax(p, 3);
      multiply<S>(p, part(x, heads, 2), by_head(y, heads));
    });
    ctx->save_for_backward({x, p});
    ctx->saved_data["heads"] = heads;
    ctx->saved_data["types"] = std::vector<int64_t>{int64_t(input.scalar_type()), int64_t(bias.scalar_type())};
    return y.to(input.scalar_type());
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    auto saved = ctx->get_saved_variables();
    const auto &x = saved[0], &p = saved[1];
    int64_t heads = ctx->saved_data["heads"].toInt();
    auto types = ctx->saved_data["types"].toIntVector();
    auto dy = by_head(grads[0].to(x.scalar_type()).contiguous(), heads);
    auto dx = at::empty_like(x);
    auto ds = at::empty_like(p);
    at::Tensor d_bias;
    with_sums(x, [&](auto zero) {
      using S = decltype(zero);
      multiply<S>(p.transpose(2, 3), dy, part(dx, heads, 2));
      multiply<S>(dy, part(x, heads, 2).transpose(2, 3), ds);
      ds = at::_softmax_backward_data(ds, p, 3, p.scalar_type());
      if (ctx->needs_input_grad(1)) d_bias = ds.sum(0).to(static_cast<at::ScalarType>(types[1]));
      ds.mul_(scale(x, heads));
      multiply<S>(ds, part(x, heads, 1), part(dx, heads, 0));
      multiply<S>(ds.transpose(2, 3), part(x, heads, 0), part(dx, heads, 1));
    });
    return {dx.to(static_cast<at::ScalarType>(types[0])), d_bias, at::Tensor()};
  }

 private:
  static double scale(const at::Tensor& x, int64_t heads) { return 1 / std::sqrt(double(x.size(2)) / 3 / heads); }
};

// Float16 on a processor is computed in float32 and rounded: libtorch's operators take it
// late or not at all.
template <typename F>
at::Tensor rounded(const at::Tensor& x, bool single, const F& f) {
  return single ? f(x.to(at::kFloat)).to(x.scalar_type()) : f(x);
}
bool half_on_cpu(const at::Tensor& x) { return x.is_cpu() && x.scalar_type() == at::kHalf; }

// The same in libtorch's operators.
at::Tensor separate(const at::Tensor& qkv, const at::Tensor& bias, int64_t heads) {
  auto q = part(qkv, heads, 0), k = part(qkv, heads, 1), v = part(qkv, heads, 2);
  auto logits = at::matmul(q * (1 / std::sqrt(double(q.size(3)))), k.transpose(2, 3)).to(sums_of(qkv));
  auto y = at::matmul(at::softmax(logits + bias, 3).to(qkv.scalar_type()), v);
  return y.transpose(1, 2).reshape({qkv.size(0), qkv.size(1), qkv.size(2) / 3});
}

at::Tensor attention(const at::Tensor& qkv, const at::Tensor& bias, int64_t heads) {
  TORCH_CHECK(qkv.dim() == 3 && heads > 0 && qkv.size(2) % (3 * heads) == 0 && qkv.numel() > 0,
              "attention takes N×T×3·heads·d, got ", qkv.sizes(), " for ", heads, " heads");
  TORCH_CHECK(bias.dim() == 3 && bias.size(0) == heads && bias.size(1) == qkv.size(1) && bias.size(2) == qkv.size(1),
              "attention takes a bias heads×T×T, got ", bias.sizes(), " for ", qkv.sizes(), " and ", heads, " heads");
  if (qkv.is_cpu()) return Attention::apply(qkv, bias, heads);
  return separate(qkv.contiguous(), bias, heads);
}

at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, double eps) {
  return rounded(x, x.scalar_type() == at::kHalf || x.scalar_type() == at::kBFloat16, [&](const at::Tensor& x) {
    return at::layer_norm(x, {x.size(-1)}, weight, bias, eps);
  });
}

at::Tensor gelu(const at::Tensor& x) {
  return rounded(x, half_on_cpu(x), [](const at::Tensor& x) { return at::gelu(x); });
}

at::Tensor silu(const at::Tensor& x) {
  return rounded(x, half_on_cpu(x), [](const at::Tensor& x) { return at::silu(x); });
}

at::Tensor max_pool(const at::Tensor& x, int64_t kernel, int64_t stride, int64_t padding) {
  return rounded(x, half_on_cpu(x), [&](const at::Tensor& x) {
    return at::max_pool2d(x, {kernel, kernel}, {stride, stride}, {padding, padding});
  });
}

}  // namespace
}  // namespace engine

TORCH_LIBRARY_FRAGMENT(pipe, m) {
  m.def("attention(Tensor qkv, Tensor bias, int heads) -> Tensor", &engine::attention);
  m.def("layer_norm(Tensor x, Tensor weight, Tensor bias, float eps) -> Tensor", &engine::layer_norm);
  m.def("gelu(Tensor x) -> Tensor", &engine::gelu);
  m.def("silu(Tensor x) -> Tensor", &engine::silu);
  m.def("max_pool(Tensor x, int kernel, int stride, int padding) -> Tensor", &engine::max_pool);
}
