// pipe::sgd_step — a whole step of stochastic gradient descent with momentum, over all
// parameters, in one pass over each:
//
//   g ← g · min(1, clip / |g|) + decay · p,   v ← momentum · v + g
//   p ← p - rate · (g + momentum · v) with Nesterov, p - rate · v without
//
// where |g| is the length of all gradients taken together; and pipe::adamw_step, a step of AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101), the
// t-th, with the gradient clipped alike:
//
//   m ← beta1 · m + (1 - beta1) · g,   v ← beta2 · v + (1 - beta2) · g²
//   p ← p - rate · decay · p - rate · m / (1 - beta1ᵗ) / (√(v / (1 - beta2ᵗ)) + eps)
//
// Both move nothing unless the loss and the length are finite and the loss is at most limit. They
// return the loss, the length, and 1 if they moved something, else 0. On a device it is the device
// that decides, and the processor need not wait to know. Lengths are summed in double precision
// over fixed blocks in their order: the result does not depend on the threads.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>
#include <torch/version.h>

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

// What steps go by.
struct Terms {
  at::Tensor loss;  // float64, one element
  double limit;
  bool separate;  // also on the processor: for tests

  bool here(at::TensorList params) const { return params[0].is_cpu() && !separate; }
};

// The judgement of a step by the processor.
struct Verdict {
  double loss, norm;
  bool moves;

  Verdict(const Terms& terms, double length)
      : loss(terms.loss.item<double>()),
        norm(length),
        moves(std::isfinite(loss) && std::isfinite(norm) && loss <= terms.limit) {}
  at::Tensor report() const {
    auto t = at::empty({3}, at::kDouble);
    double* p = t.data_ptr<double>();
    p[0] = loss, p[1] = norm, p[2] = moves;
    return t;
  }
};

// The same in libtorch's operators, for other devices: tensors of one element each, of which the
// processor knows nothing.
struct DeviceVerdict {
  at::Tensor loss, norm, moves;

  DeviceVerdict(const Terms& terms, at::TensorList grads)
      : loss(terms.loss.to(at::kDouble).reshape({})),
        norm(at::stack(at::_foreach_norm(grads, 2)).to(at::kDouble).norm()),
        moves(at::isfinite(loss).logical_and(at::isfinite(norm)).logical_and(loss.le(terms.limit))) {}
  at::Tensor report() const { return at::stack({loss, norm, moves.to(at::kDouble)}); }
  at::Tensor number(double n) const { return at::full_like(norm, n); }
  // n if it moves, else 1.
  at::Tensor factor(const at::Tensor& n) const { return at::where(moves, n, number(1)).to(at::kFloat); }
};

// Multiplies by a number that the device knows.
void times(at::TensorList list, const at::Tensor& factor) {
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 1)
  at::_foreach_mul_(list, factor);
#else
  for (at::Tensor t : list) t.mul_(factor);
#endif
}

// Makes all of it zero unless there is a move: its bits, since no product makes zero of what is no
// number.
void blank(at::TensorList list, const DeviceVerdict& v) {
  std::vector<at::Tensor> bits;
  for (const auto& t : list) bits.push_back(t.view(at::kInt));
  times(bits, v.moves.to(at::kInt));
}

// Copies of the gradients, clipped.
std::vector<at::Tensor> clipped(at::TensorList grads, const DeviceVerdict& v, double clip) {
  auto list = at::_foreach_mul(grads, 1);
  if (clip > 0) times(list, v.number(clip).div(v.norm).clamp_max(1).to(at::kFloat));
  return list;
}

std::vector<at::Tensor> those(at::TensorList list, at::IntArrayRef chosen) {
  std::vector<at::Tensor> some;
  for (size_t k = 0; k < list.size(); ++k)
    if (chosen[k]) some.push_back(list[k]);
  return some;
}

struct SGD {
  double rate, momentum, decay, clip;
  bool nesterov;
};

at::Tensor separate(const SGD& c, const Terms& terms, at::TensorList params, at::TensorList grads,
                    at::TensorList velocities, at::IntArrayRef decays) {
  DeviceVerdict v(terms, grads);
  auto steps = clipped(grads, v, c.clip);
  auto decaying = those(params, decays);
  if (c.decay > 0 && !decaying.empty()) at::_foreach_add_(those(steps, decays), decaying, c.decay);
  blank(steps, v);
  times(velocities, v.factor(v.number(c.momentum)));
  at::_foreach_add_(velocities, steps, 1);
  if (c.nesterov)
    at::_foreach_add_(steps, velocities, c.momentum);
  else
    steps = at::_foreach_mul(velocities, 1);
  blank(steps, v);
  at::_foreach_add_(params, steps, -c.rate);
  return v.report();
}

at::Tensor step(const SGD& constants, const Terms& terms, at::TensorList params, at::TensorList grads,
                at::TensorList velocities, at::IntArrayRef decays) {
  if (!terms.here(params)) return separate(constants, terms, params, grads, velocities, decays);
  std::vector<at::Tensor> keep;
  auto blocks = blocks_of(params, grads, velocities, {}, decays, keep);
  Verdict v(terms, length(blocks));
  if (!v.moves) return v.report();
  SGDConstants c{};
  c.scale = static_cast<float>(constants.clip > 0 && v.norm > constants.clip ? constants.clip / v.norm : 1);
  c.momentum = static_cast<float>(constants.momentum);
  c.rate = static_cast<float>(constants.rate);
  c.nesterov = constants.nesterov;
  at::parallel_for(0, blocks.size(), 1, [&](int64_t from, int64_t to) {
    auto mine = c;
    for (int64_t b = from; b < to; ++b) {
      const auto& k = blocks[b];
      mine.decay = k.decays ? static_cast<float>(constants.decay) : 0.0f;
      kernels().optimizer.sgd(mine, k.gradient, k.parameter, k.velocity, k.n);
    }
  });
  return v.report();
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
                    const at::Tensor& loss, double limit, double rate, double momentum, double decay, double clip,
                    bool nesterov, bool separate) {
  check_lists(params, grads, velocities, decays);
  at::NoGradGuard no_grad;
  return step({rate, momentum, decay, clip, nesterov}, {loss, limit, separate}, params, grads, velocities, decays);
}

// A step of AdamW, after which there were count; those that decay come to keep · p of themselves
// before it.
struct AdamW {
  double rate, decay, beta1, beta2, eps, clip;

  double step_size(double count) const { return rate / (1 - std::pow(beta1, count)); }
  double root(double count) const { return 1 / std::sqrt(1 - std::pow(beta2, count)); }
  double keep(bool decays) const { return decays ? 1 - rate * decay : 1; }
  double scale(double norm) const { return clip > 0 && norm > clip ? clip / norm : 1; }
};

at::Tensor separate(const AdamW& c, const Terms& terms, at::TensorList params, at::TensorList grads,
                    at::TensorList firsts, at::TensorList seconds, at::IntArrayRef decays, at::Tensor& taken) {
  DeviceVerdict v(terms, grads);
  taken.add_(v.moves);
  auto count = taken.to(at::kDouble).reshape({});
  auto steps = clipped(grads, v, c.clip);
  blank(steps, v);
  auto decaying = those(params, decays);
  if (!decaying.empty()) times(decaying, v.factor(v.number(c.keep(true))));
  times(firsts, v.factor(v.number(c.beta1)));
  at::_foreach_add_(firsts, steps, 1 - c.beta1);
  times(seconds, v.factor(v.number(c.beta2)));
  at::_foreach_addcmul_(seconds, steps, steps, 1 - c.beta2);
  auto spread = at::_foreach_sqrt(seconds);
  times(spread, v.number(c.beta2).pow(count).neg().add(1).rsqrt().to(at::kFloat));
  at::_foreach_add_(spread, c.eps);
  steps = at::_foreach_div(firsts, spread);
  times(steps, v.number(-c.rate).div(v.number(c.beta1).pow(count).neg().add(1)).to(at::kFloat));
  blank(steps, v);
  at::_foreach_add_(params, steps, 1);
  return v.report();
}

at::Tensor step(const AdamW& constants, const Terms& terms, at::TensorList params, at::TensorList grads,
                at::TensorList firsts, at::TensorList seconds, at::IntArrayRef decays, at::Tensor& taken) {
  if (!terms.here(params)) return separate(constants, terms, params, grads, firsts, seconds, decays, taken);
  std::vector<at::Tensor> keep;
  auto blocks = blocks_of(params, grads, firsts, seconds, decays, keep);
  Verdict v(terms, length(blocks));
  if (!v.moves) return v.report();
  const double count = taken.add_(1).item<double>();
  AdamWConstants c{};
  c.scale = static_cast<float>(constants.scale(v.norm));
  c.beta1 = static_cast<float>(constants.beta1);
  c.beta2 = static_cast<float>(constants.beta2);
  c.rate = static_cast<float>(constants.step_size(count));
  c.root = static_cast<float>(constants.root(count));
  c.eps = static_cast<float>(constants.eps);
  at::parallel_for(0, blocks.size(), 1, [&](int64_t from, int64_t to) {
    auto mine = c;
    for (int64_t b = from; b < to; ++b) {
      const auto& k = blocks[b];
      mine.keep = static_cast<float>(constants.keep(k.decays));
      kernels().optimizer.adamw(mine, k.gradient, k.parameter, k.velocity, k.square, k.n);
    }
  });
  return v.report();
}

at::Tensor adamw_step(at::TensorList params, at::TensorList grads, at::TensorList firsts, at::TensorList seconds,
                      at::IntArrayRef decays, at::Tensor taken, const at::Tensor& loss, double limit, double rate,
                      double beta1, double beta2, double eps, double decay, double clip, bool separate) {
  check_lists(params, grads, firsts, decays);
  check_lists(params, grads, seconds, decays);
  at::NoGradGuard no_grad;
  return step(AdamW{rate, decay, beta1, beta2, eps, clip}, {loss, limit, separate}, params, grads, firsts, seconds,
              decays, taken);
}

}  // namespace
}  // namespace engine

TORCH_LIBRARY_FRAGMENT(pipe, m) {
  m.def(
      "sgd_step(Tensor(a!)[] params, Tensor[] grads, Tensor(b!)[] velocities, int[] decays, Tensor loss, float limit, "
      "float rate, float momentum, float decay, float clip, bool nesterov, bool separate=False) -> Tensor",
      &engine::sgd_step);
  m.def(
      "adamw_step(Tensor(a!)[] params, Tensor[] grads, Tensor(b!)[] firsts, Tensor(c!)[] seconds, int[] decays, "
      "Tensor(d!) taken, Tensor loss, float limit, float rate, float beta1, float beta2, float eps, float decay, "
      "float clip, bool separate=False) -> Tensor",
      &engine::adamw_step);
}
