// Gradients summed over the ranks in buckets, while backward is still at work on the
// layers before: the idea of Li et al., "PyTorch Distributed: Experiences on
// Accelerating Data Parallel Training" (VLDB 2020, section 3.2).
//
// A hook on each leaf tells that its gradient is there. With the last one of a bucket the
// gradients move into a flat tensor, of which they are views from then on, and the bucket's
// all-reduce begins. Ranks must begin collectives in one order, so a bucket waits for those
// of smaller numbers. Nothing of that waits for a device.
//
// On how many ranks each leaf has a gradient is counted beside that, in memory: so all agree
// on which leaves have one, whatever their own graph was.
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

// Gradients begin at multiples of so many values, as wide loads want it.
constexpr int64_t kApart = 16;

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
    for (auto& b : buckets_) b.flat = at::zeros({b.length}, leaves_[0].options().requires_grad(false));
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
      b.reached.assign(b.leaves.size(), false);
    }
    ranks_with_ = at::zeros({static_cast<int64_t>(leaves_.size())}, at::kInt);
  }

  void finish(const double* scale) {
    TORCH_CHECK(armed_, "gradient buckets were not armed");
    armed_ = false;
    early_ = static_cast<int64_t>(next_);
    while (next_ < buckets_.size()) begin();
    group_->all_reduce(ranks_with_)();
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
    at::Tensor flat;              // the leaves' gradients
    std::vector<bool> reached;    // whether this backward has come to a leaf
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
    b.length += (leaves_[leaf].numel() + kApart - 1) / kApart * kApart;
  }

  void watch(size_t leaf) {
    auto accumulator = torch::autograd::impl::grad_accumulator(leaves_[leaf]);
    accumulator->add_post_hook(std::make_unique<Accumulated>([this, alive = alive_, leaf] {
      if (*alive && armed_) ready(leaf);
    }));
    accumulators_.push_back(std::move(accumulator));  // the leaf holds it weakly
  }

  // A leaf's place in its bucket.
  at::Tensor view(const Bucket& b, size_t at) {
    const auto& leaf = leaves_[b.leaves[at]];
    return b.flat.narrow(0, b.offset[at], leaf.numel()).view(leaf.sizes());
  }

  void ready(size_t leaf) {
    auto [bucket, at] = places_[leaf];
    auto& b = buckets_[bucket];
    if (b.reached[at]) return;
    b.reached[at] = true;
    --b.missing;
    while (next_ < buckets_.size() && buckets_[next_].missing == 0) begin();
  }

  // Begins the sum of the next bucket. What this backward has not reached may have a
  // gradient of one before.
  void begin() {
    at::NoGradGuard no_grad;
    auto& b = buckets_[next_++];
    auto* with = ranks_with_.data_ptr<int32_t>();
    std::vector<at::Tensor> views, gradients;
    for (size_t k = 0; k < b.leaves.size(); ++k) {
      auto& grad = leaves_[b.leaves[k]].mutable_grad();
      auto place = view(b, k);
      with[b.leaves[k]] = grad.defined();
      if (!grad.defined()) {
        place.zero_();
      } else if (grad.data_ptr() != place.data_ptr()) {
        views.push_back(place);
        gradients.push_back(grad);
        grad = place;
      }
    }
    move(views, gradients);
    b.wait = group_->all_reduce(b.flat);
  }

  // On a device all in a few launches.
  static void move(const std::vector<at::Tensor>& to, const std::vector<at::Tensor>& from) {
    if (to.empty()) return;
    if (to[0].is_cpu()) {
      for (size_t k = 0; k < to.size(); ++k) to[k].copy_(from[k]);
    } else {
      at::_foreach_zero_(to);
      at::_foreach_add_(to, from);
    }
  }

  void hand_back(const Bucket& b, const double* scale) {
    for (size_t k = 0; k < b.leaves.size(); ++k) {
      size_t leaf = b.leaves[k];
      if (ranks_with_.data_ptr<int32_t>()[leaf] == 0) continue;
      auto& grad = leaves_[leaf].mutable_grad();
      if (!grad.defined()) grad = view(b, k);
      if (scale[leaf] != 1) grad.mul_(scale[leaf]);
    }
  }

  std::shared_ptr<Group> group_;
  std::vector<at::Tensor> leaves_;
  std::vector<Place> places_;  // of each leaf
  std::vector<Bucket> buckets_;
  // Of each leaf; the pointer's kind differs between versions of libtorch.
  std::vector<decltype(torch::autograd::impl::grad_accumulator(std::declval<const at::Tensor&>()))> accumulators_;
  std::shared_ptr<std::atomic<bool>> alive_;
  at::Tensor ranks_with_;  // how many have a gradient of each leaf; until they are asked, this one
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
