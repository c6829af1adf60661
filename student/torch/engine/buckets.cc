// Gradients summed over the ranks in buckets, while backward is still at work on the
// layers before: the idea of Li et al., "PyTorch Distributed: Experiences on
// Accelerating Data Parallel Training" (VLDB 2020, section 3.2).
//
// A hook on each leaf copies its gradient into the leaf's place in a flat tensor. The
// last one of a bucket begins the bucket's all-reduce. Ranks must begin collectives in
// one order, so a bucket waits for those of smaller numbers.
//
// Beside the gradients a bucket carries a count for each leaf: on how many ranks it
// had one. So all agree on which leaves have a gradient, whatever their own graph was.
#include "border.h"
#include "engine.h"
#include "group.h"

#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

namespace engine {
namespace {

using torch::autograd::variable_list;

// Calls f once a leaf's gradient has been accumulated.
struct Accumulated : torch::autograd::FunctionPostHook {
  explicit Accumulated(std::function<void()> f) : f(std::move(f)) {}
  variable_list operator()(const variable_list& outputs, const variable_list&) override {
    f();
    return outputs;
  }
  std::function<void()> f;
};

class Buckets {
 public:
  Buckets(std::shared_ptr<Group> group, std::vector<at::Tensor> leaves, const int64_t* bucket)
      : group_(std::move(group)), leaves_(std::move(leaves)), alive_(std::make_shared<std::atomic<bool>>(true)) {
    for (size_t i = 0; i < leaves_.size(); ++i) place(i, bucket[i]);
    for (auto& b : buckets_) {
      auto options = leaves_[b.leaves.front()].options().requires_grad(false);
      b.flat = at::zeros({b.length + static_cast<int64_t>(b.leaves.size())}, options);
    }
    for (size_t i = 0; i < leaves_.size(); ++i) watch(i);
  }

  // The hooks stay with the leaves, which may live longer.
  ~Buckets() { *alive_ = false; }

  void arm() {
    TORCH_CHECK(!armed_, "gradient buckets are armed already");
    armed_ = true;
    next_ = 0;
    for (auto& b : buckets_) {
      b.missing = static_cast<int64_t>(b.leaves.size());
      b.has.assign(b.leaves.size(), 0);
    }
  }

  void finish(const double* scale) {
    TORCH_CHECK(armed_, "gradient buckets were not armed");
    armed_ = false;
    early_ = static_cast<int64_t>(next_);
    while (next_ < buckets_.size()) begin();
    for (auto& b : buckets_) {
      b.wait();
      b.wait = nullptr;
      hand_back(b, scale);
    }
  }

  int64_t early() const { return early_; }

 private:
  struct Bucket {
    std::vector<size_t> leaves;
    std::vector<int64_t> offset;  // of each leaf in flat
    int64_t length = 0;           // of all leaves together
    at::Tensor flat;              // the leaves' gradients, then their counts
    std::vector<float> has;       // whether a leaf has a gradient on this rank
    int64_t missing = 0;
    Wait wait;
  };
  struct Place {
    size_t bucket, at;
  };

  void place(size_t leaf, int64_t bucket) {
    TORCH_CHECK(leaves_[leaf].options().type_equal(leaves_[0].options()) &&
                    leaves_[leaf].device() == leaves_[0].device() && leaves_[leaf].is_leaf(),
                "gradient buckets take leaves of one type and device");
    TORCH_CHECK(bucket >= 0 && bucket < static_cast<int64_t>(leaves_.size()), "bucket ", bucket, " is out of range");
    if (static_cast<size_t>(bucket) >= buckets_.size()) buckets_.resize(bucket + 1);
    auto& b = buckets_[bucket];
    places_.push_back({static_cast<size_t>(bucket), b.leaves.size()});
    b.leaves.push_back(leaf);
    b.offset.push_back(b.length);
    b.length += leaves_[leaf].numel();
  }

  void watch(size_t leaf) {
    auto accumulator = torch::autograd::impl::grad_accumulator(leaves_[leaf]);
    accumulator->add_post_hook(std::make_unique<Accumulated>([this, alive = alive_, leaf] {
      if (*alive && armed_) ready(leaf);
    }));
    accumulators_.push_back(std::move(accumulator));  // the leaf holds it weakly
  }

  at::Tensor slice(const Bucket& b, size_t at) {
    const auto& leaf = leaves_[b.leaves[at]];
    return b.flat.narrow(0, b.offset[at], leaf.numel()).view(leaf.sizes());
  }

  void ready(size_t leaf) {
    auto [bucket, at] = places_[leaf];
    auto& b = buckets_[bucket];
    if (b.has[at] != 0) return;
    take(b, at);
    --b.missing;
    while (next_ < buckets_.size() && buckets_[next_].missing == 0) begin();
  }

  // Copies the gradient of a leaf, if it has one, to its place.
  void take(Bucket& b, size_t at) {
    const auto& grad = leaves_[b.leaves[at]].grad();
    b.has[at] = grad.defined();
    grad.defined() ? slice(b, at).copy_(grad) : slice(b, at).zero_();
  }

  // Begins the sum of the next bucket. What this backward has not reached may have a
  // gradient of one before.
  void begin() {
    auto& b = buckets_[next_++];
    for (size_t k = 0; k < b.leaves.size(); ++k)
      if (b.has[k] == 0) take(b, k);
    auto counts = at::from_blob(b.has.data(), {static_cast<int64_t>(b.has.size())}, at::kFloat);
    b.flat.narrow(0, b.length, counts.numel()).copy_(counts);
    b.wait = group_->all_reduce(b.flat);
  }

  void hand_back(const Bucket& b, const double* scale) {
    auto counts = b.flat.narrow(0, b.length, b.leaves.size()).to(at::kCPU, at::kFloat).contiguous();
    for (size_t k = 0; k < b.leaves.size(); ++k) {
      size_t leaf = b.leaves[k];
      if (counts.data_ptr<float>()[k] == 0) continue;
      auto sum = slice(b, k);
      auto& grad = leaves_[leaf].mutable_grad();
      if (!grad.defined()) grad = at::empty_like(leaves_[leaf], leaves_[leaf].options().requires_grad(false));
      if (scale[leaf] == 1) {
        grad.copy_(sum);
      } else {
        at::mul_out(grad, sum, at::scalar_tensor(scale[leaf], sum.options()));
      }
    }
  }

  std::shared_ptr<Group> group_;
  std::vector<at::Tensor> leaves_;
  std::vector<Place> places_;  // of each leaf
  std::vector<Bucket> buckets_;
  // Of each leaf; the pointer's kind differs between versions of libtorch.
  std::vector<decltype(torch::autograd::impl::grad_accumulator(std::declval<const at::Tensor&>()))> accumulators_;
  std::shared_ptr<std::atomic<bool>> alive_;
  bool armed_ = false;
  size_t next_ = 0;    // the bucket to begin next
  int64_t early_ = 0;  // those that had begun before finish
};

}  // namespace
}  // namespace engine

using engine::Buckets;
using engine::guarded;

extern "C" {

char* pipe_engine_buckets_create(pipe_group g, const pipe_tensor* leaves, int64_t n, const int64_t* bucket,
                                 pipe_buckets* out) {
  return guarded([&] {
    std::vector<at::Tensor> all;
    for (int64_t i = 0; i < n; ++i) all.push_back(engine::tensor(leaves[i]));
    TORCH_CHECK(n > 0, "gradient buckets without a leaf");
    at::NoGradGuard no_grad;
    *out = new Buckets(engine::group(g), std::move(all), bucket);
  });
}

char* pipe_engine_buckets_arm(pipe_buckets b) {
  return guarded([&] { static_cast<Buckets*>(b)->arm(); });
}

char* pipe_engine_buckets_finish(pipe_buckets b, const double* scale) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    static_cast<Buckets*>(b)->finish(scale);
  });
}

int64_t pipe_engine_buckets_early(pipe_buckets b) { return static_cast<Buckets*>(b)->early(); }

void pipe_engine_buckets_destroy(pipe_buckets b) {
  engine::free_message(guarded([&] { delete static_cast<Buckets*>(b); }));
}

}  // extern "C"
