// The kernels of norm_act.cc's operator for CUDA devices.
//
// A thread has some neighbouring channels, which it reads at once, of several rows. A block of
// threads is as many of these beside each other as the channels take, up to a warp, by as many
// rows as make 256 threads. Sums of a block of rows go to memory, those of a channel side by
// side, and a warp of the next kernel adds them up, in an order that no run changes.
#include "norm_act_cuda.h"

#include "cuda_kernels.h"

namespace engine {
namespace cuda {
namespace {

// A thread reads so many rows before it looks at the first.
constexpr int kAhead = 4;
constexpr int64_t kMaxBlocks = PIPE_MOST_BLOCKS(1024);  // of rows
// No block of rows is smaller: that of the widest block of threads.
constexpr int64_t kMinRows = kThreads / kWarp * kAhead;
// Channels of a block of threads that adds up.
constexpr int kWarps = kThreads / kWarp;

// Rows by channels, in blocks of rows.
struct Rows {
  int64_t rows, channels, each, blocks;
};

// What of it a thread does: channels from c on, every blockDim.y-th row from first on.
template <int V>
struct Stretch {
  int64_t c, block_first, first, last;

  __device__ explicit Stretch(const Rows& n)
      : c((blockIdx.x * int64_t(blockDim.x) + threadIdx.x) * V),
        block_first(blockIdx.y * n.each),
        first(block_first + threadIdx.y),
        last(block_first + n.each < n.rows ? block_first + n.each : n.rows) {}

  // Calls use(row, get(row)) for each row, in their order.
  template <typename Get, typename Use>
  __device__ void each_row(const Get& get, const Use& use) const {
    int64_t r = first;
    const int step = blockDim.y;
    for (; r + (kAhead - 1) * step < last; r += kAhead * step) {
      decltype(get(r)) ahead[kAhead];
#pragma unroll
      for (int k = 0; k < kAhead; ++k) ahead[k] = get(r + k * step);
#pragma unroll
      for (int k = 0; k < kAhead; ++k) use(r + k * step, ahead[k]);
    }
    for (; r < last; r += step) use(r, get(r));
  }
};

// Values of two tensors at one place.
template <typename T, int V>
struct Two {
  Pack<T, V> a, b;
};

// The parameters and statistics of all channels.
template <typename S>
struct Parameters {
  Activation act;
  const S *mean, *inv_std, *weight, *bias, *slope;
};

// Those of V channels.
template <typename S, int V>
struct Channels {
  Activation act;
  S mean[V], scale[V], bias[V], slope[V];

  __device__ Channels(const Parameters<S>& p, int64_t c) : act(p.act) {
    for (int v = 0; v < V; ++v) {
      mean[v] = p.mean[c + v];
      scale[v] = p.weight[c + v] * p.inv_std[c + v];
      bias[v] = p.bias[c + v];
      slope[v] = act == Activation::prelu ? p.slope[c + v] : S(0);  // a ReLU's is zero
    }
  }

  __device__ S z(S centred, int v) const { return centred * scale[v] + bias[v]; }
  __device__ S dz(S z, S dy, int v) const { return act == Activation::none || z > 0 ? dy : dy * slope[v]; }
};

// Where the sum k of a channel over the blocks of rows begins.
template <typename S>
__device__ S* sums_of(S* partial, int k, const Rows& n, int64_t c) {
  return partial + (k * n.channels + c) * n.blocks;
}

// Adds up K values of each channel over the rows of a block of threads.
template <int K, int V, typename S>
__device__ void write_sums(const S (&sums)[K][V], S* partial, const Rows& n) {
  __shared__ S shared[K][kThreads * V];
  const int wide = blockDim.x * V;
  for (int k = 0; k < K; ++k)
    for (int v = 0; v < V; ++v) shared[k][threadIdx.y * wide + threadIdx.x * V + v] = sums[k][v];
  __syncthreads();
  for (int t = threadIdx.y * blockDim.x + threadIdx.x; t < K * wide; t += kThreads) {
    const int k = t / wide, column = t % wide;
    const int64_t c = int64_t(blockIdx.x) * wide + column;
    if (c >= n.channels) continue;
    S sum = 0;
    for (int d = 0; d < int(blockDim.y); ++d) sum += shared[k][d * wide + column];
    sums_of(partial, k, n, c)[blockIdx.y] = sum;
  }
}

// Sums of x - o and its square over a block of rows, whose first value is o, and o: see norm_act.cc.
template <typename T, typename S, int V>
__global__ void moments(const T* x, Rows n, S* partial) {
  const Stretch<V> mine(n);
  S sums[3][V] = {};
  if (mine.c < n.channels) {
    const auto origin = load<T, V>(x + mine.block_first * n.channels + mine.c);
    mine.each_row([&](int64_t r) { return load<T, V>(x + r * n.channels + mine.c); },
                  [&](int64_t, const Pack<T, V>& p) {
                    for (int v = 0; v < V; ++v) {
                      const S away = widen(p.v[v]) - widen(origin.v[v]);
                      sums[0][v] += away;
                      sums[1][v] += away * away;
                    }
                  });
    if (threadIdx.y == 0)
      for (int v = 0; v < V; ++v) sums[2][v] = widen(origin.v[v]);
  }
  write_sums(sums, partial, n);
}

// Of some rows: how many, their mean, and the sum of squares of the distances to it.
struct Moments {
  double n, mean, squares;
};

__device__ inline Moments joined(const Moments& a, const Moments& b) {
  if (b.n == 0) return a;
  const double n = a.n + b.n, away = b.mean - a.mean, share = b.n / n;
  return {n, a.mean + away * share, a.squares + b.squares + away * away * a.n * share};
}

// A warp a channel.
template <typename S>
__global__ void statistics(const S* partial, Rows n, S* mean, S* inv_std, S* running_mean, S* running_var,
                           double momentum, double eps) {
  const int64_t c = blockIdx.x * int64_t(kWarps) + threadIdx.y;
  if (c >= n.channels) return;
  const S *sum = sums_of(partial, 0, n, c), *square = sums_of(partial, 1, n, c), *origin = sums_of(partial, 2, n, c);
  Moments m{0, 0, 0};
  for (int64_t b = threadIdx.x; b < n.blocks; b += kWarp) {
    const int64_t before = b * n.each;
    const double rows = n.rows - before < n.each ? n.rows - before : n.each, own = sum[b] / rows,
                 spread = square[b] - own * sum[b];
    m = joined(m, {rows, origin[b] + own, spread < 0 ? 0 : spread});  // NaN stays NaN
  }
  for (int d = kWarp / 2; d > 0; d /= 2)
    m = joined(m, {__shfl_down_sync(~0u, m.n, d), __shfl_down_sync(~0u, m.mean, d), __shfl_down_sync(~0u, m.squares, d)});
  if (threadIdx.x != 0) return;
  const double variance = m.squares / n.rows, unbias = n.rows > 1 ? double(n.rows) / (n.rows - 1) : 1;
  mean[c] = S(m.mean);
  inv_std[c] = S(1 / sqrt(variance + eps));
  running_mean[c] = S((1 - momentum) * running_mean[c] + momentum * m.mean);
  running_var[c] = S((1 - momentum) * running_var[c] + momentum * unbias * variance);
}

template <typename T, typename S, int V>
__global__ void apply(Parameters<S> parameters, const T* x, const T* residual, T* y, Rows n) {
  const Stretch<V> mine(n);
  if (mine.c >= n.channels) return;
  const Channels<S, V> k(parameters, mine.c);
  mine.each_row(
      [&](int64_t r) {
        const int64_t at = r * n.channels + mine.c;
        Two<T, V> p{};
        p.a = load<T, V>(x + at);
        if (residual != nullptr) p.b = load<T, V>(residual + at);
        return p;
      },
      [&](int64_t r, const Two<T, V>& p) {
        Pack<T, V> out;
        for (int v = 0; v < V; ++v) {
          const S z = k.z(widen(p.a.v[v]) - k.mean[v], v);
          S value = k.act == Activation::none || z > 0 ? z : z * k.slope[v];
          if (k.act == Activation::relu && z < 0) value = 0;  // also of an infinite z
          if (residual != nullptr) value += widen(p.b.v[v]);
          narrow(value, &out.v[v]);
        }
        store(out, y + r * n.channels + mine.c);
      });
}

// Calls use(row, x - mean, z, dy, channel) for all that a thread has of x and dy.
template <typename T, typename S, int V, typename Use>
__device__ void each_gradient(const Stretch<V>& mine, const Channels<S, V>& k, const T* x, const T* dy, const Rows& n,
                              const Use& use) {
  mine.each_row(
      [&](int64_t r) {
        const int64_t at = r * n.channels + mine.c;
        return Two<T, V>{load<T, V>(x + at), load<T, V>(dy + at)};
      },
      [&](int64_t r, const Two<T, V>& p) {
        S centred[V], z[V], g[V];
        for (int v = 0; v < V; ++v) {
          centred[v] = widen(p.a.v[v]) - k.mean[v];
          z[v] = k.z(centred[v], v);
          g[v] = widen(p.b.v[v]);
        }
        use(r, centred, z, g);
      });
}

// Sums of dz, dz · (x - mean), and of the slope's gradient.
template <typename T, typename S, int V>
__global__ void reduce(Parameters<S> parameters, const T* x, const T* dy, Rows n, S* partial) {
  const Stretch<V> mine(n);
  S sums[3][V] = {};
  if (mine.c < n.channels) {
    const Channels<S, V> k(parameters, mine.c);
    each_gradient(mine, k, x, dy, n, [&](int64_t, const S(&centred)[V], const S(&z)[V], const S(&g)[V]) {
      for (int v = 0; v < V; ++v) {
        const S dz = k.dz(z[v], g[v], v);
        sums[0][v] += dz;
        sums[1][v] += dz * centred[v];
        if (!(z[v] > 0)) sums[2][v] += g[v] * z[v];
      }
    });
  }
  write_sums(sums, partial, n);
}

template <typename S>
__device__ double total(const S* sums, int64_t blocks) {
  double sum = 0;
  for (int64_t b = threadIdx.x; b < blocks; b += kWarp) sum += sums[b];
  return warp_sum(sum);
}

// The parameters' gradients, and dx = constants[0] · dz + constants[1] · (x - mean) + constants[2].
// A warp a channel.
template <typename S>
__global__ void gradients(Parameters<S> p, const S* partial, Rows n, S* d_weight, S* d_bias, S* d_slope, S* constants) {
  const int64_t c = blockIdx.x * int64_t(kWarps) + threadIdx.y;
  if (c >= n.channels) return;
  const double sum = total(sums_of(partial, 0, n, c), n.blocks),
               product = total(sums_of(partial, 1, n, c), n.blocks) * p.inv_std[c],
               slope = total(sums_of(partial, 2, n, c), n.blocks), scale = double(p.weight[c]) * p.inv_std[c];
  if (threadIdx.x != 0) return;
  d_bias[c] = S(sum);
  d_weight[c] = S(product);
  if (p.act == Activation::prelu) d_slope[c] = S(slope);
  constants[c] = S(scale);
  constants[n.channels + c] = S(-scale * p.inv_std[c] * product / n.rows);
  constants[2 * n.channels + c] = S(-scale * sum / n.rows);
}

template <typename T, typename S, int V>
__global__ void gradient(Parameters<S> parameters, const T* x, const T* dy, T* dx, Rows n, const S* constants) {
  const Stretch<V> mine(n);
  if (mine.c >= n.channels) return;
  const Channels<S, V> k(parameters, mine.c);
  S by_dz[V], by_x[V], constant[V];
  for (int v = 0; v < V; ++v) {
    by_dz[v] = constants[mine.c + v];
    by_x[v] = constants[n.channels + mine.c + v];
    constant[v] = constants[2 * n.channels + mine.c + v];
  }
  each_gradient(mine, k, x, dy, n, [&](int64_t r, const S(&centred)[V], const S(&z)[V], const S(&g)[V]) {
    Pack<T, V> out;
    for (int v = 0; v < V; ++v)
      narrow(by_dz[v] * k.dz(z[v], g[v], v) + (by_x[v] * centred[v] + constant[v]), &out.v[v]);
    store(out, dx + r * n.channels + mine.c);
  });
}

template <typename T, typename S, int V>
struct Launch {
  const Batch& b;
  Rows n;
  dim3 threads{1, kThreads}, grid, warps{kWarp, kWarps};
  unsigned channel_blocks = unsigned((b.channels + kWarps - 1) / kWarps);
  cudaStream_t stream = static_cast<cudaStream_t>(b.stream);
  const T* x = static_cast<const T*>(b.x);
  S *mean = static_cast<S*>(b.mean), *inv_std = static_cast<S*>(b.inv_std), *partial = static_cast<S*>(b.partial);
  Parameters<S> parameters{b.act,
                           mean,
                           inv_std,
                           static_cast<const S*>(b.weight),
                           static_cast<const S*>(b.bias),
                           static_cast<const S*>(b.slope)};

  explicit Launch(const Batch& b) : b(b) {
    while (threads.x < unsigned(kWarp) && threads.x * V < b.channels) threads.x *= 2;
    threads.y = kThreads / threads.x;
    int64_t each = (b.rows + kMaxBlocks - 1) / kMaxBlocks, least = threads.y * kAhead;
    if (each < least) each = least;
    n = {b.rows, b.channels, each, (b.rows + each - 1) / each};
    grid = dim3(unsigned((b.channels + threads.x * V - 1) / (threads.x * V)), unsigned(n.blocks));
  }

  const char* forward(const void* residual, void* y, void* running_mean, void* running_var, double momentum,
                      double eps) const {
    launch(moments<T, S, V>, grid, threads, stream, x, n, partial);
    launch(statistics<S>, channel_blocks, warps, stream, partial, n, mean, inv_std, static_cast<S*>(running_mean),
           static_cast<S*>(running_var), momentum, eps);
    launch(apply<T, S, V>, grid, threads, stream, parameters, x, static_cast<const T*>(residual), static_cast<T*>(y), n);
    return message(cudaGetLastError());
  }

  const char* backward(const void* dy, void* dx, void* d_weight, void* d_bias, void* d_slope, void* constants) const {
    const T* g = static_cast<const T*>(dy);
    S* k = static_cast<S*>(constants);
    launch(reduce<T, S, V>, grid, threads, stream, parameters, x, g, n, partial);
    launch(gradients<S>, channel_blocks, warps, stream, parameters, partial, n, static_cast<S*>(d_weight),
           static_cast<S*>(d_bias), static_cast<S*>(d_slope), k);
    launch(gradient<T, S, V>, grid, threads, stream, parameters, x, g, static_cast<T*>(dx), n, k);
    return message(cudaGetLastError());
  }
};

// Calls f with the launcher of the element type, whose loads are wide where the channels and all
// tensors' memory allow it. The device is set here, although libtorch has set it already: where
// this file brings a CUDA runtime of its own, that has a current device of its own.
template <typename T, typename S, typename F>
const char* with_loads(const Batch& b, bool even, const F& f) {
  if (even && b.channels % kWide<T> == 0) return f(Launch<T, S, kWide<T>>(b));
  return f(Launch<T, S, 1>(b));
}

template <typename F>
const char* with_launch(const Batch& b, const void* first, const void* second, const F& f) {
  if (const char* problem = message(cudaSetDevice(b.device))) return problem;
  const bool even = aligned(b.x) && aligned(first) && aligned(second);
  switch (b.element) {
    case Element::bfloat16:
      return with_loads<__nv_bfloat16, float>(b, even, f);
    case Element::float16:
      return with_loads<__half, float>(b, even, f);
    case Element::float32:
      return with_loads<float, float>(b, even, f);
    case Element::float64:
      return with_loads<double, double>(b, even, f);
  }
  return "unknown element type";
}

}  // namespace

int64_t partial_values(int64_t rows, int64_t channels) {
  int64_t blocks = (rows + kMinRows - 1) / kMinRows;
  return (blocks < kMaxBlocks ? blocks : kMaxBlocks) * 3 * channels;
}

const char* unusable(int device) {
  cudaFuncAttributes attributes;
  cudaError_t e = cudaSetDevice(device);
  if (e == cudaSuccess) e = cudaFuncGetAttributes(&attributes, moments<float, float, 1>);
  cudaGetLastError();  // forgets a failure
  return message(e);
}

const char* forward(const Batch& b, const void* residual, void* y, void* running_mean, void* running_var,
                    double momentum, double eps) {
  return with_launch(b, residual, y,
                     [&](auto l) { return l.forward(residual, y, running_mean, running_var, momentum, eps); });
}

const char* backward(const Batch& b, const void* dy, void* dx, void* d_weight, void* d_bias, void* d_slope,
                     void* constants) {
  return with_launch(b, dy, dx, [&](auto l) { return l.backward(dy, dx, d_weight, d_bias, d_slope, constants); });
}

}  // namespace cuda
}  // namespace engine
