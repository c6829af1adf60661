// Kernels for depthwise convolutions on CUDA devices.
//
// A thread has some neighbouring channels, which it reads at once, of a strip of pixels side by
// side, so that what it has read of a row serves several of them. A block of threads is a tile of
// channels, whose weights are in shared memory, by as many strips as make 256 threads, those below
// one another first: what a strip reads, the next one finds in the cache.
#include "depthwise_cuda.h"

#include "cuda_kernels.h"

namespace engine {
namespace cuda {
namespace {

constexpr int kTile = 64;   // channels of a block
constexpr int kStrip = 4;   // pixels of a thread
constexpr int64_t kMaxBlocks = PIPE_MOST_BLOCKS(4096), kMaxSums = PIPE_MOST_BLOCKS(512);
constexpr int kWarps = kThreads / kWarp;

// Depthwise in the kernels' numbers. wide and high are the image that strips are of: y, or dx.
struct Shape {
  int height, width, channels, out_height, out_width, padding;
  unsigned strips, strips_across;
};

// Where a strip begins.
struct Strip {
  int64_t image;
  int row, column;

  __device__ Strip(unsigned number, const Shape& d, int height)
      : image(number / unsigned(height) / d.strips_across),
        row(int(number % unsigned(height))),
        column(int(number / unsigned(height) % d.strips_across) * kStrip) {}
};

// Calls use for each of a thread's strips, of an image of some height.
template <typename Use>
__device__ void each_strip(const Shape& d, int height, const Use& use) {
  for (unsigned s = blockIdx.x * blockDim.y + threadIdx.y; s < d.strips; s += gridDim.x * blockDim.y)
    use(Strip(s, d, height));
}

// N neighbouring pixels of a row of an image from column on, zeros beside it.
template <typename T, int V, int N>
__device__ void load_row(const T* row, int column, int width, int channels, Pack<T, V> (&to)[N]) {
#pragma unroll
  for (int n = 0; n < N; ++n) {
    const int at = column + n;
    if (at >= 0 && at < width)
      to[n] = load<T, V>(row + int64_t(at) * channels);
    else
      for (int v = 0; v < V; ++v) narrow(0.0f, &to[n].v[v]);
  }
}

template <typename T, int V>
__device__ void store_strip(const float (&sums)[kStrip][V], T* row, const Strip& p, int width, int channels) {
  for (int q = 0; q < kStrip && p.column + q < width; ++q) {
    Pack<T, V> out;
    for (int v = 0; v < V; ++v) narrow(sums[q][v], &out.v[v]);
    store(out, row + int64_t(p.column + q) * channels);
  }
}

// A tile's weights, position by position, rounded to T.
template <typename T, int K>
__device__ void load_weights(const float* weights, int channels, float (&shared)[K * K][kTile]) {
  for (int k = threadIdx.y * blockDim.x + threadIdx.x; k < K * K * kTile; k += kThreads) {
    const int c = k / (K * K), position = k % (K * K);
    const int64_t channel = int64_t(blockIdx.y) * kTile + c;
    T rounded;
    narrow(channel < channels ? weights[channel * (K * K) + position] : 0.0f, &rounded);
    shared[position][c] = widen(rounded);
  }
  __syncthreads();
}

template <typename T, int V, int K, int STRIDE>
__global__ void convolution(Shape d, const T* x, const float* weights, T* y) {
  __shared__ float shared[K * K][kTile];
  load_weights<T, K>(weights, d.channels, shared);
  const int c = threadIdx.x * V, channel = blockIdx.y * kTile + c;
  if (channel >= d.channels) return;
  each_strip(d, d.out_height, [&](const Strip& p) {
    float sums[kStrip][V] = {};
    for (int i = 0; i < K; ++i) {
      const int row = p.row * STRIDE - d.padding + i;
      if (row < 0 || row >= d.height) continue;
      Pack<T, V> seen[(kStrip - 1) * STRIDE + K];
      load_row(x + (p.image * d.height + row) * d.width * d.channels + channel, p.column * STRIDE - d.padding, d.width,
               d.channels, seen);
#pragma unroll
      for (int j = 0; j < K; ++j)
#pragma unroll
        for (int q = 0; q < kStrip; ++q)
          for (int v = 0; v < V; ++v) sums[q][v] += widen(seen[q * STRIDE + j].v[v]) * shared[i * K + j][c + v];
    }
    store_strip(sums, y + (p.image * d.out_height + p.row) * d.out_width * d.channels + channel, p, d.out_width,
                d.channels);
  });
}

// dx at a pixel takes dy of each place that saw the pixel, at position pixel + padding - STRIDE · place.
template <typename T, int V, int K, int STRIDE>
__global__ void gather(Shape d, const T* dy, const float* weights, T* dx) {
  __shared__ float shared[K * K][kTile];
  load_weights<T, K>(weights, d.channels, shared);
  const int c = threadIdx.x * V, channel = blockIdx.y * kTile + c;
  if (channel >= d.channels) return;
  each_strip(d, d.height, [&](const Strip& p) {
    float sums[kStrip][V] = {};
    // The first place whose kernel reaches the strip; the shift rounds towards minus infinity.
    const int leftmost = p.column + d.padding - (K - 1), first = STRIDE == 1 ? leftmost : (leftmost + 1) >> 1;
    for (int i = 0; i < K; ++i) {
      const int below = p.row + d.padding - i;
      if (below < 0 || below % STRIDE != 0 || below / STRIDE >= d.out_height) continue;
      constexpr int kPlaces = (kStrip + K - 2) / STRIDE + 1;
      Pack<T, V> g[kPlaces];
      load_row(dy + (p.image * d.out_height + below / STRIDE) * d.out_width * d.channels + channel, first, d.out_width,
               d.channels, g);
#pragma unroll
      for (int m = 0; m < kPlaces; ++m)
#pragma unroll
        for (int q = 0; q < kStrip; ++q) {
          const int j = p.column + q + d.padding - STRIDE * (first + m);
          if (j < 0 || j >= K) continue;
          for (int v = 0; v < V; ++v) sums[q][v] += widen(g[m].v[v]) * shared[i * K + j][c + v];
        }
    }
    store_strip(sums, dx + (p.image * d.height + p.row) * d.width * d.channels + channel, p, d.width, d.channels);
  });
}

// Where the sums of a position and a channel over the blocks begin.
__device__ inline float* sums_of(float* partial, int position, int channel, int channels, int blocks) {
  return partial + (int64_t(position) * channels + channel) * blocks;
}

// The products of x and dy at ROWS rows of the kernel, which blockIdx.z says, summed over a block's strips.
template <typename T, int V, int K, int STRIDE, int ROWS>
__global__ void weight_sums(Shape d, const T* x, const T* dy, float* partial) {
  const int c = threadIdx.x * V, channel = blockIdx.y * kTile + c, top = blockIdx.z * ROWS;
  float sums[ROWS * K][V] = {};
  if (channel < d.channels)
    each_strip(d, d.out_height, [&](const Strip& p) {
      Pack<T, V> g[kStrip];
      load_row(dy + (p.image * d.out_height + p.row) * d.out_width * d.channels + channel, p.column, d.out_width,
               d.channels, g);
#pragma unroll
      for (int i = 0; i < ROWS; ++i) {
        const int row = p.row * STRIDE - d.padding + top + i;
        if (row < 0 || row >= d.height) continue;
        Pack<T, V> seen[(kStrip - 1) * STRIDE + K];
        load_row(x + (p.image * d.height + row) * d.width * d.channels + channel, p.column * STRIDE - d.padding,
                 d.width, d.channels, seen);
#pragma unroll
        for (int j = 0; j < K; ++j)
#pragma unroll
          for (int q = 0; q < kStrip; ++q)
            for (int v = 0; v < V; ++v)
              sums[i * K + j][v] += widen(seen[q * STRIDE + j].v[v]) * widen(g[q].v[v]);
      }
    });
  __shared__ float shared[kThreads / (kTile / V)][kTile];
  const int thread = threadIdx.y * blockDim.x + threadIdx.x, column = blockIdx.y * kTile + thread;
#pragma unroll
  for (int k = 0; k < ROWS * K; ++k) {
    __syncthreads();
    for (int v = 0; v < V; ++v) shared[threadIdx.y][c + v] = sums[k][v];
    __syncthreads();
    if (thread >= kTile || column >= d.channels) continue;
    float sum = 0;
    for (int s = 0; s < int(blockDim.y); ++s) sum += shared[s][thread];
    sums_of(partial, top * K + k, column, d.channels, gridDim.x)[blockIdx.x] = sum;
  }
}

// A warp a weight.
__global__ void weight_totals(const float* partial, int positions, int channels, int blocks, float* dw) {
  const int64_t k = blockIdx.x * int64_t(kWarps) + threadIdx.y;
  if (k >= int64_t(positions) * channels) return;
  double sum = 0;
  for (int b = threadIdx.x; b < blocks; b += kWarp) sum += partial[k * blocks + b];
  sum = warp_sum(sum);
  if (threadIdx.x == 0) dw[k % channels * positions + k / channels] = float(sum);
}

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t strips_of(const Depthwise& d, int64_t height, int64_t width) { return d.images * height * ceil_div(width, kStrip); }

// The blocks, of strips, that sums of weights are in: at least a strip a thread, where threads have
// the widest loads.
int64_t sum_blocks(const Depthwise& d) {
  int64_t n = ceil_div(strips_of(d, d.out_height, d.out_width), kThreads / (kTile / 8));
  return n < kMaxSums ? n : kMaxSums;
}

template <typename T, int V, int K, int STRIDE>
struct Launch {
  const Depthwise& d;
  dim3 threads{kTile / V, kThreads / (kTile / V)};
  cudaStream_t stream = static_cast<cudaStream_t>(d.stream);
  unsigned tiles = unsigned(ceil_div(d.channels, kTile));

  Shape shape(int64_t height, int64_t width) const {
    return {int(d.height),    int(d.width),
            int(d.channels),  int(d.out_height),
            int(d.out_width), d.padding,
            unsigned(strips_of(d, height, width)), unsigned(ceil_div(width, kStrip))};
  }
  dim3 grid(const Shape& s) const {
    int64_t blocks = ceil_div(s.strips, threads.y);
    return dim3(unsigned(blocks < kMaxBlocks ? blocks : kMaxBlocks), tiles);
  }

  void convolve(const T* x, const float* weights, T* y) const {
    const Shape s = shape(d.out_height, d.out_width);
    launch(convolution<T, V, K, STRIDE>, grid(s), threads, stream, s, x, weights, y);
  }
  void data_gradient(const T* dy, const float* weights, T* dx) const {
    const Shape s = shape(d.height, d.width);
    launch(gather<T, V, K, STRIDE>, grid(s), threads, stream, s, dy, weights, dx);
  }
  void weights_gradient(const T* x, const T* dy, float* partial, float* dw) const {
    constexpr int kRows = K == 3 ? 3 : 1;  // as many sums as registers hold
    const int blocks = int(sum_blocks(d));
    launch(weight_sums<T, V, K, STRIDE, kRows>, dim3(blocks, tiles, K / kRows), threads, stream,
           shape(d.out_height, d.out_width), x, dy, partial);
    launch(weight_totals, unsigned(ceil_div(K * K * d.channels, kWarps)), dim3(kWarp, kWarps), stream, partial, K * K,
           d.channels, blocks, dw);
  }
};

template <typename T, int V, typename F>
void with_kernel(const Depthwise& d, const F& f) {
  if (d.kernel == 3)
    d.stride == 1 ? f(Launch<T, V, 3, 1>{d}) : f(Launch<T, V, 3, 2>{d});
  else
    d.stride == 1 ? f(Launch<T, V, 7, 1>{d}) : f(Launch<T, V, 7, 2>{d});
}

// Calls f(launcher, an element's null pointer), with wide loads where the channels and the memory
// of both tensors allow it.
template <typename T, typename F>
const char* with_loads(const Depthwise& d, bool even, const F& f) {
  auto of = [&](const auto& launcher) { f(launcher, static_cast<T*>(nullptr)); };
  even && d.channels % kWide<T> == 0 ? with_kernel<T, kWide<T>>(d, of) : with_kernel<T, 1>(d, of);
  return message(cudaGetLastError());
}

template <typename F>
const char* with_launch(const Depthwise& d, const void* first, const void* second, const F& f) {
  if (const char* problem = message(cudaSetDevice(d.device))) return problem;
  const bool even = aligned(first) && aligned(second);
  switch (d.element) {
    case Element::bfloat16:
      return with_loads<__nv_bfloat16>(d, even, f);
    case Element::float16:
      return with_loads<__half>(d, even, f);
    case Element::float32:
      return with_loads<float>(d, even, f);
    default:
      return "no kernels for float64";
  }
}

template <typename T>
const T* as(const void* p, const T*) { return static_cast<const T*>(p); }

}  // namespace

bool serves(const Depthwise& d) {
  const int64_t most = int64_t(1) << 31;
  return (d.kernel == 3 || d.kernel == 7) && (d.stride == 1 || d.stride == 2) && d.padding >= 0 &&
         d.padding < d.kernel && d.element != Element::float64 && d.images > 0 && d.out_height > 0 && d.out_width > 0 &&
         d.height < most / 4 && d.width < most / 4 && d.channels < int64_t(65535) * kTile &&
         strips_of(d, d.height, d.width) < most && strips_of(d, d.out_height, d.out_width) < most;
}

const char* convolve(const Depthwise& d, const void* x, const void* weights, void* y) {
  return with_launch(d, x, y, [&](const auto& l, auto* t) {
    l.convolve(as(x, t), static_cast<const float*>(weights), static_cast<decltype(t)>(y));
  });
}

const char* data_gradient(const Depthwise& d, const void* dy, const void* weights, void* dx) {
  return with_launch(d, dy, dx, [&](const auto& l, auto* t) {
    l.data_gradient(as(dy, t), static_cast<const float*>(weights), static_cast<decltype(t)>(dx));
  });
}

int64_t weights_partial_values(const Depthwise& d) { return int64_t(d.kernel) * d.kernel * d.channels * sum_blocks(d); }

const char* weights_gradient(const Depthwise& d, const void* x, const void* dy, void* partial, void* dw) {
  return with_launch(d, x, dy, [&](const auto& l, auto* t) {
    l.weights_gradient(as(x, t), as(dy, t), static_cast<float*>(partial), static_cast<float*>(dw));
  });
}

const char* time(const Depthwise& d, const std::function<void()>& work, float* milliseconds) {
  auto stream = static_cast<cudaStream_t>(d.stream);
  cudaEvent_t events[2] = {};
  cudaError_t e = cudaSetDevice(d.device);
  for (auto& event : events)
    if (e == cudaSuccess) e = cudaEventCreate(&event);
  if (e == cudaSuccess) e = cudaEventRecord(events[0], stream);
  if (e == cudaSuccess) work();
  if (e == cudaSuccess) e = cudaEventRecord(events[1], stream);
  if (e == cudaSuccess) e = cudaEventSynchronize(events[1]);
  if (e == cudaSuccess) e = cudaEventElapsedTime(milliseconds, events[0], events[1]);
  for (auto event : events)
    if (event != nullptr) cudaEventDestroy(event);
  return message(e);
}

}  // namespace cuda
}  // namespace engine
