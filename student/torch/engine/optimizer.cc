// pipe::sgd_step — a whole step of stochastic gradient descent with momentum, over all
// parameters, in one pass over each:
//
//   g ← g · min(1, clip / |g|) + decay · p,   v ← momentum · v + g
//   p ← p - rate · (g + momentum · v) with Nesterov, p - rate · v without
//
// where |g| is the length of all gradients taken together, which is what it returns.
// Only if that is finite does it move anything. Lengths are summed in double precision
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
  float *parameter, *velocity;
  int64_t n;
  bool decays;
};

// The parameters on the CPU in blocks; keep owns what had to be copied.
std::vector<Block> blocks_of(at::TensorList params, at::TensorList grads, at::TensorList velocities,
                             at::IntArrayRef decays, std::vector<at::Tensor>& keep) {
  std::vector<Block> blocks;
  for (size_t k = 0; k < params.size(); ++k) {
    const auto &p = params[k], &v = velocities[k];
    keep.push_back(grads[k].contiguous());
    const auto& g = keep.back();
    TORCH_CHECK(p.scalar_type() == at::kFloat && g.scalar_type() == at::kFloat && v.scalar_type() == at::kFloat,
                "sgd_step takes float32");
    TORCH_CHECK(p.is_cpu() && g.is_cpu() && v.is_cpu(), "sgd_step takes tensors of one device");
    TORCH_CHECK(p.is_contiguous() && v.is_contiguous(), "sgd_step takes dense parameters");
    for (int64_t at = 0; at < p.numel(); at += kBlock)
      blocks.push_back({g.data_ptr<float>() + at, p.data_ptr<float>() + at, v.data_ptr<float>() + at,
                        std::min(kBlock, p.numel() - at), decays[k] != 0});
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
  auto blocks = blocks_of(params, grads, velocities, decays, keep);
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

at::Tensor sgd_step(at::TensorList params, at::TensorList grads, at::TensorList velocities, at::IntArrayRef decays,
                    double rate, double momentum, double decay, double clip, bool nesterov) {
  TORCH_CHECK(!params.empty() && grads.size() == params.size() && velocities.size() == params.size() &&
                  decays.size() == params.size(),
              "sgd_step: lists of other lengths");
  for (size_t k = 0; k < params.size(); ++k)
    TORCH_CHECK(grads[k].numel() == params[k].numel() && velocities[k].numel() == params[k].numel(),
                "sgd_step: parameter ", k, " has another shape than its gradient or velocity");
  at::NoGradGuard no_grad;
  return at::scalar_tensor(step(params, grads, velocities, decays, rate, momentum, decay, clip, nesterov), at::kDouble);
}

}  // namespace
}  // namespace engine

TORCH_LIBRARY_FRAGMENT(pipe, m) {
  m.def(
      "sgd_step(Tensor(a!)[] params, Tensor(b!)[] grads, Tensor(c!)[] velocities, int[] decays, float rate, "
      "float momentum, float decay, float clip, bool nesterov) -> Tensor",
      &engine::sgd_step);
}
