// Loops that threads share.
#ifndef PIPE_SHARE_H
#define PIPE_SHARE_H

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>

namespace engine {

// The part of a loop that falls to one thread: it takes the next piece whenever it is done
// with its last, so that a thread which the machine holds up keeps no other waiting.
class Share {
 public:
  Share(std::atomic<int64_t>& next, int64_t piece, int64_t n) : next_(next), piece_(piece), n_(n) {}

  template <typename F>
  void each(const F& body) const {
    for (int64_t from; (from = next_.fetch_add(piece_)) < n_;)
      for (int64_t i = from, to = std::min(from + piece_, n_); i < to; ++i) body(i);
  }

 private:
  std::atomic<int64_t>& next_;
  int64_t piece_, n_;
};

// Calls worker(Share) on every thread; their shares together are [0, n). Results must not
// depend on who does what, nor in what order.
template <typename F>
void share(int64_t n, const F& worker) {
  constexpr int64_t kPieces = 16;  // of a thread
  const int64_t threads = at::in_parallel_region() ? 1 : at::get_num_threads();
  const int64_t piece = std::max<int64_t>(1, n / (threads * kPieces));
  std::atomic<int64_t> next{0};
  at::parallel_for(0, std::min(threads, (n + piece - 1) / piece), 1,
                   [&](int64_t, int64_t) { worker(Share(next, piece, n)); });
}

}  // namespace engine

#endif
