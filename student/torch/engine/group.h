// A process group: what gradients, statistics and embeddings of several ranks are
// brought together by.
#ifndef PIPE_GROUP_H
#define PIPE_GROUP_H

#include <ATen/ATen.h>

#include <functional>
#include <memory>

namespace engine {

// A collective under way. It holds its tensors until wait has returned.
using Wait = std::function<void()>;

class Group {
 public:
  virtual ~Group() = default;
  virtual int64_t rank() const = 0;
  virtual int64_t size() const = 0;
  // Begins to replace a contiguous tensor by its sum over the ranks. The sum has the
  // same bits on all of them.
  virtual Wait all_reduce(const at::Tensor& t) = 0;
  virtual void broadcast(const at::Tensor& t, int64_t root) = 0;
  virtual void all_gather(const at::Tensor& t, const at::Tensor& out) = 0;
  virtual void barrier() = 0;
};

// The group behind a pipe_group.
std::shared_ptr<Group> group(const void* handle);

// Where batch normalisation is to be that of all ranks, the group it takes its sums
// of; else null. See synchronise.h.
std::shared_ptr<Group> synchronised_group();

}  // namespace engine

#endif
