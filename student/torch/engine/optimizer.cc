// pipe::sgd_step — a whole step of stochastic gradient descent with momentum, over all
// parameters, in one pass over each:
//
//   g ← g · min(1, clip / |g|) + decay · p,   v ← momentum · v + g
//   p ← p - rate · (g + momentum · v) with Nesterov, p - rate · v without
//
// where |g| is the length of all gradients taken together, which is what it returns.
// and pipe::adamw_step, a step of AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101), the
// t-th, with the gradient clipped alike:
//
//   m ← beta1 · m + (1 - beta1) · g,   v ← beta2 · v + (1 - beta2) · g²
//   p ← p - rate · decay · p - rate · m / (1 - beta1ᵗ) / (√(v / (1 - beta2ᵗ)) + eps)
//
// Only if the length is finite does either move anything. Lengths are summed in double precision
// over fixed blocks in their order: the result does not depend on the threads.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <cmath>
#include <vector>

#include "kernels.h"

namespace engine {
namespace {

constexpr int64_t kBlock = 1 << 14;

// A stretch of one parameter.
struct Block {
  const float* gradient;
  float *parameter, *velocity, *square;  // square is null without
  int64_t n;
  bool decays;
};

// The parameters on the CPU in blocks; keep owns what had to be copied. squares may be empty.
std::vector<Block> blocks_of(at::TensorList params, at::TensorList grads, at::TensorList velocities,
                             at::TensorList squares, at::IntArrayRef decays, std::vector<at::Tensor>& keep) {
  std::vector<Block> blocks;
  for (size_t k = 0; k < params.size(); ++k) {
    const auto &p = params[k], &v = velocities[k], &q = squares.empty() ? v : squares[k];
    keep.push_back(grads[k].contiguous());
    const auto& g = keep.back();
    for (const auto& t : {p, g, v, q}) {
      TORCH_CHECK(t.scalar_type() == at::kFloat, "an optimizer's step takes float32");
      TORCH_CHECK(t.is_cpu(), "an optimizer's step takes tensors of one device");
    }
    TORCH_CHECK(p.is_contiguous() && v.is_contiguous() && q.is_contiguous(), "an optimizer's step takes dense parameters");
    for (int64_t at = 0; at < p.numel(); at += kBlock)
      blocks.push_back({g.data_ptr<float>() + at, p.data_ptr<float>() + at, v.data_ptr<float>() + at,
                        squares.empty() ? nullptr : q.data_ptr<float>() + at, std::min(kBlock, p.numel() - at),
                        decays[k] != 0});
  }
  return blocks;
}

double length(const std::vector<Block>& blocks) {
  std::vector<double> sums(blocks.size());
  at::parallel_for(0, blocks.size(), 1, [&](int64_t from, int64_t to) {
    for (int64_t b = from; b < to; ++b) sums[b] = kernels().optimizer.squares(blocks[b].gradient, blocks[b].n);
  });
  double sum = 0;
  for (double s : sums) sum += s;
  return std::sqrt(sum);
}

// The same in libtorch's operators, for other devices.
double separate(at::TensorList params, at::TensorList grads, at::TensorList velocities, at::IntArrayRef decays,
                double rate, double momentum, double decay, double clip, bool nesterov) {
  double norm = at::stack(at::_foreach_norm(grads, 2)).to(at::kDouble).norm().item<double>();
  if (!std::isfinite(norm)) return norm;
  if (clip > 0 && norm > clip) at::_foreach_mul_(grads, clip / norm);
  std::vector<at::Tensor> decaying, their_grads;
  for (size_t k = 0; k < params.size(); ++k)
    if (decays[k]) decaying.push_back(params[k]), their_grads.push_back(grads[k]);
  if (decay > 0 && !decaying.empty()) at::_foreach_add_(their_grads, decaying, decay);
  at::_foreach_mul_(velocities, momentum);
  at::_foreach_add_(velocities, grads, 1);
  if (nesterov) {
    at::_foreach_add_(grads, velocities, momentum);
    at::_foreach_add_(params, grads, -rate);
  } else {
    at::_foreach_add_(params, velocities, -rate);
  }
  return norm;
}

double step(at::TensorList params, at::TensorList grads, at::TensorList velocities, at::IntArrayRef decays,
            double rate, double momentum, double decay, double clip, bool nesterov) {
  if (!params[0].is_cpu()) return separate(params, grads, velocities, decays, rate, momentum, decay, clip, nesterov);
  std::vector<at::Tensor> keep;
  auto blocks = blocks_of(params, grads, velocities, {}, decays, keep);
  double norm = length(blocks);
  if (!std::isfinite(norm)) return norm;
  SGDConstants c{};
  c.scale = static_cast<float>(clip > 0 && norm > clip ? clip / norm : 1);
  c.momentum = static_cast<float>(momentum);
  c.rate = static_cast<float>(rate);
  c.nesterov = nesterov;
  at::parallel_for(0, blocks.size(), 1, [&](int64_t from, int64_t to) {
    auto mine = c;
    for (int64_t b = from; b < to; ++b) {
      const auto& k = blocks[b];
      mine.decay = k.decays ? static_cast<float>(decay) : 0.0f;
      kernels().optimizer.sgd(mine, k.gradient, k.parameter, k.velocity, k.n);
    }
  });
  return norm;
}

void check_lists(at::TensorList params, at::TensorList grads, at::TensorList state, at::IntArrayRef decays) {
  TORCH_CHECK(!params.empty() && grads.size() == params.size() && state.size() == params.size() &&
                  decays.size() == params.size(),
              "an optimizer's step: lists of other lengths");
  for (size_t k = 0; k < params.size(); ++k)
    TORCH_CHECK(grads[k].numel() == params[k].numel() && state[k].numel() == params[k].numel(),
                "an optimizer's step: parameter ", k, " has another shape than its gradient or its state");
}

at::Tensor sgd_step(at::TensorList params, at::TensorList grads, at::TensorList velocities, at::IntArrayRef decays,
                    double rate, double momentum, double decay, double clip, bool nesterov) {
  check_lists(params, grads, velocities, decays);
  at::NoGradGuard no_grad;
  return at::scalar_tensor(step(params, grads, velocities, decays, rate, momentum, decay, clip, nesterov), at::kDouble);
}

// A step of AdamW; those that decay come to keep · p of themselves before it.
struct AdamW {
  double rate, decay, beta1, beta2, eps, clip;
  int64_t count;

  double step_size() const { return rate / (1 - std::pow(beta1, count)); }
  double root() const { return 1 / std::sqrt(1 - std::pow(beta2, count)); }
  double keep(bool decays) const { return decays ? 1 - rate * decay : 1; }
  double scale(double norm) const { return clip > 0 && norm > clip ? clip / norm : 1; }
};

double separate(const AdamW& c, at::TensorList params, at::TensorList grads, at::TensorList firsts,
                at::TensorList seconds, at::IntArrayRef decays) {
  double norm = at::stack(at::_foreach_norm(grads, 2)).to(at::kDouble).norm().item<double>();
  if (!std::isfinite(norm)) return norm;
  if (c.scale(norm) != 1) at::_foreach_mul_(grads, c.scale(norm));
  std::vector<at::Tensor> decaying;
  for (size_t k = 0; k < params.size(); ++k)
    if (decays[k]) decaying.push_back(params[k]);
  if (!decaying.empty()) at::_foreach_mul_(decaying, c.keep(true));
  at::_foreach_mul_(firsts, c.beta1);
  at::_foreach_add_(firsts, grads, 1 - c.beta1);
  at::_foreach_mul_(seconds, c.beta2);
  at::_foreach_addcmul_(seconds, grads, grads, 1 - c.beta2);
  auto spread = at::_foreach_sqrt(seconds);
  at::_foreach_mul_(spread, c.root());
  at::_foreach_add_(spread, c.eps);
  at::_foreach_addcdiv_(params, firsts, spread, -c.step_size());
  return norm;
}

double step(const AdamW& constants, at::TensorList params, at::TensorList grads, at::TensorList firsts,
            at::TensorList seconds, at::IntArrayRef decays) {
  if (!params[0].is_cpu()) return separate(constants, params, grads, firsts, seconds, decays);
  std::vector<at::Tensor> keep;
  auto blocks = blocks_of(params, grads, firsts, seconds, decays, keep);
  double norm = length(blocks);
  if (!std::isfinite(norm)) return norm;
  AdamWConstants c{};
  c.scale = static_cast<float>(constants.scale(norm));
  c.beta1 = static_cast<float>(constants.beta1);
  c.beta2 = static_cast<float>(constants.beta2);
  c.rate = static_cast<float>(constants.step_size());
  c.root = static_cast<float>(constants.root());
  c.eps = static_cast<float>(constants.eps);
  at::parallel_for(0, blocks.size(), 1, [&](int64_t from, int64_t to) {
    auto mine = c;
    for (int64_t b = from; b < to; ++b) {
      const auto& k = blocks[b];
      mine.keep = static_cast<float>(constants.keep(k.decays));
      kernels().optimizer.adamw(mine, k.gradient, k.parameter, k.velocity, k.square, k.n);
    }
  });
  return norm;
}

at::Tensor adamw_step(at::TensorList params, at::TensorList grads, at::TensorList firsts, at::TensorList seconds,
                      at::IntArrayRef decays, double rate, double beta1, double beta2, double eps, double decay,
                      double clip, int64_t count) {
  check_lists(params, grads, firsts, decays);
  check_lists(params, grads, seconds, decays);
  TORCH_CHECK(count >= 1, "adamw_step: step ", count);
  at::NoGradGuard no_grad;
  AdamW c{rate, decay, beta1, beta2, eps, clip, count};
  return at::scalar_tensor(step(c, params, grads, firsts, seconds, decays), at::kDouble);
}

}  // namespace
}  // namespace engine

TORCH_LIBRARY_FRAGMENT(pipe, m) {
  m.def(
      "sgd_step(Tensor(a!)[] params, Tensor(b!)[] grads, Tensor(c!)[] velocities, int[] decays, float rate, "
      "float momentum, float decay, float clip, bool nesterov) -> Tensor",
      &engine::sgd_step);
  m.def(
      "adamw_step(Tensor(a!)[] params, Tensor(b!)[] grads, Tensor(c!)[] firsts, Tensor(d!)[] seconds, int[] decays, "
      "float rate, float beta1, float beta2, float eps, float decay, float clip, int count) -> Tensor",
      &engine::adamw_step);
}
