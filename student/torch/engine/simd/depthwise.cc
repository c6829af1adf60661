// The loops of depthwise convolutions; see DepthwiseKernels in kernels.h.
//
// Rows of the image are widened once, with zeros at both ends for the padding, into
// a ring of as many rows as the kernel has; the weights of some channels stay in
// registers while a row is gone along.
#include "tile.h"

namespace engine {
namespace PIPE_ISA {
namespace {

constexpr int kSide = 3;                           // of the kernel
constexpr int kWide = kRegisters == 32 ? 2 : 1;    // vectors of channels at a time

// A row of an image with its padding: width() positions of the kernel's S.
struct Geometry {
  DepthwiseShape d;
  int64_t width() const { return d.width + 2 * d.padding; }
  int64_t row() const { return width() * d.channels; }
};

// The ring of the rows that the kernel covers.
template <typename T, typename S>
class Rows {
 public:
  Rows(const T* x, const DepthwiseShape& d, S* scratch) : x_(x), g_{d}, ring_(scratch) {
    memset(ring_, 0, kSide * g_.row() * sizeof(S));
  }

  // Makes the rows [top, top + kSide) of the image present, those outside as zeros.
  INLINE void cover(int64_t top) {
    for (int64_t y = next_ > top ? next_ : top; y < top + kSide; ++y) {
      S* to = slot(y);
      if (y < 0 || y >= g_.d.height) {
        memset(to, 0, g_.row() * sizeof(S));
      } else {
        convert(x_ + y * g_.d.width * g_.d.channels, g_.d.width * g_.d.channels, to + g_.d.padding * g_.d.channels);
      }
    }
    next_ = top + kSide;
  }

  INLINE S* slot(int64_t y) const { return ring_ + (y + kSide) % kSide * g_.row(); }

 private:
  const T* x_;
  Geometry g_;
  S* ring_;
  int64_t next_ = -(int64_t(1) << 40);
};

template <typename T, typename S>
void forward(const T* x, const S* w, const DepthwiseShape& d, T* y, S* scratch) {
  Rows<T, S> rows(x, d, scratch);
  const int64_t channels = d.channels, step = d.stride * channels;
  for (int64_t oy = 0; oy < d.out_height; ++oy, y += d.out_width * channels) {
    int64_t top = oy * d.stride - d.padding;
    rows.cover(top);
    const S *r0 = rows.slot(top), *r1 = rows.slot(top + 1), *r2 = rows.slot(top + 2);
    over_channels<typename Computed<T>::V, kWide>(0, channels, [&](auto type, auto count, int64_t c) INLINE_LAMBDA {
      using V = typename decltype(type)::type;
      constexpr int K = decltype(count)::n;
      Tile<V, K> k[kSide][kSide];
      for (int i = 0; i < kSide; ++i)
        for (int j = 0; j < kSide; ++j) k[i][j] = tile<V, K>(w + (i * kSide + j) * channels + c);
      const S* p[kSide] = {r0 + c, r1 + c, r2 + c};
      T* to = y + c;
      for (int64_t ox = 0; ox < d.out_width; ++ox, to += channels) {
        for (int v = 0; v < K; ++v) {
          V acc = {};
          for (int i = 0; i < kSide; ++i)
            for (int j = 0; j < kSide; ++j) acc += read<V>(p[i] + j * channels + v * Traits<V>::n) * k[i][j].v[v];
          write<V>(to + v * Traits<V>::n, acc);
        }
        for (int i = 0; i < kSide; ++i) p[i] += step;
      }
    });
  }
}

// dx of a convolution with any stride: each row of dx gathers the rows of dy that
// saw it.
template <typename T, typename S>
void backward_data(const T* dy, const S* w, const DepthwiseShape& d, T* dx, S* scratch) {
  Geometry g{d};
  const int64_t channels = d.channels, step = d.stride * channels;
  S *row = scratch, *from = scratch + g.row();
  for (int64_t y = 0; y < d.height; ++y) {
    memset(row, 0, g.row() * sizeof(S));
    for (int64_t i = 0; i < kSide; ++i) {
      int64_t at = y + d.padding - i;
      if (at < 0 || at % d.stride != 0 || at / d.stride >= d.out_height) continue;
      convert(dy + at / d.stride * d.out_width * channels, d.out_width * channels, from);
      over_channels<typename Computed<T>::V, kWide>(0, channels, [&](auto type, auto count, int64_t c) INLINE_LAMBDA {
        using V = typename decltype(type)::type;
        constexpr int K = decltype(count)::n;
        Tile<V, K> k[kSide];
        for (int j = 0; j < kSide; ++j) k[j] = tile<V, K>(w + (i * kSide + j) * channels + c);
        const S* p = from + c;
        S* to = row + c;
        for (int64_t ox = 0; ox < d.out_width; ++ox, p += channels, to += step) {
          for (int v = 0; v < K; ++v) {
            V gradient = read<V>(p + v * Traits<V>::n);
            for (int j = 0; j < kSide; ++j) {
              S* place = to + j * channels + v * Traits<V>::n;
              write<V>(place, read<V>(place) + gradient * k[j].v[v]);
            }
          }
        }
      });
    }
    convert(row + d.padding * channels, d.width * channels, dx + y * d.width * channels);
  }
}

template <typename T, typename S>
void backward_weights(const T* x, const T* dy, const DepthwiseShape& d, S* dw, S* scratch) {
  Rows<T, S> rows(x, d, scratch);
  const int64_t channels = d.channels, step = d.stride * channels;
  for (int64_t oy = 0; oy < d.out_height; ++oy, dy += d.out_width * channels) {
    int64_t top = oy * d.stride - d.padding;
    rows.cover(top);
    const S *r0 = rows.slot(top), *r1 = rows.slot(top + 1), *r2 = rows.slot(top + 2);
    over_channels<typename Computed<T>::V, kWide>(0, channels, [&](auto type, auto count, int64_t c) INLINE_LAMBDA {
      using V = typename decltype(type)::type;
      constexpr int K = decltype(count)::n;
      Tile<V, K> sum[kSide][kSide];
      for (int i = 0; i < kSide; ++i)
        for (int j = 0; j < kSide; ++j) sum[i][j] = tile<V, K>(dw + (i * kSide + j) * channels + c);
      const S* p[kSide] = {r0 + c, r1 + c, r2 + c};
      const T* from = dy + c;
      for (int64_t ox = 0; ox < d.out_width; ++ox, from += channels) {
        fetch(from, d.out_width * channels);  // of the next row
        for (int v = 0; v < K; ++v) {
          V gradient = read<V>(from + v * Traits<V>::n);
          for (int i = 0; i < kSide; ++i)
            for (int j = 0; j < kSide; ++j)
              sum[i][j].v[v] += gradient * read<V>(p[i] + j * channels + v * Traits<V>::n);
        }
        for (int i = 0; i < kSide; ++i) p[i] += step;
      }
      for (int i = 0; i < kSide; ++i)
        for (int j = 0; j < kSide; ++j) put(dw + (i * kSide + j) * channels + c, sum[i][j]);
    });
  }
}

// sum[c] = Σ_r a[r][c] · w[r][c]
template <typename T, typename S>
void weighted_sum(const T* a, const S* w, int64_t rows, int64_t channels, T* sum) {
  over_channels<typename Computed<T>::V, 4>(0, channels, [&](auto type, auto count, int64_t c) INLINE_LAMBDA {
    using V = typename decltype(type)::type;
    constexpr int K = decltype(count)::n;
    Tile<V, K> acc = {};
    for (int64_t r = 0; r < rows; ++r)
      for (int v = 0; v < K; ++v) {
        int64_t at = r * channels + c + v * Traits<V>::n;
        acc.v[v] += read<V>(a + at) * read<V>(w + at);
      }
    put(sum + c, acc);
  });
}

// y[r][c] = g[c] · w[r][c]
template <typename T, typename S>
void scaled_rows(const T* g, const S* w, int64_t rows, int64_t channels, T* y) {
  over_channels<typename Computed<T>::V, 4>(0, channels, [&](auto type, auto count, int64_t c) INLINE_LAMBDA {
    using V = typename decltype(type)::type;
    constexpr int K = decltype(count)::n;
    auto scale = tile<V, K>(g + c);
    for (int64_t r = 0; r < rows; ++r)
      for (int v = 0; v < K; ++v) {
        int64_t at = r * channels + c + v * Traits<V>::n;
        write<V>(y + at, scale.v[v] * read<V>(w + at));
      }
  });
}

// sum[c] = Σ_n a[n·stride + c] · g[n·channels + c]
template <typename T, typename S>
void product_sum(const T* a, int64_t stride, const T* g, int64_t images, int64_t channels, S* sum) {
  over_channels<typename Computed<T>::V, 4>(0, channels, [&](auto type, auto count, int64_t c) INLINE_LAMBDA {
    using V = typename decltype(type)::type;
    constexpr int K = decltype(count)::n;
    Tile<V, K> acc = {};
    for (int64_t n = 0; n < images; ++n)
      for (int v = 0; v < K; ++v) {
        int64_t at = c + v * Traits<V>::n;
        acc.v[v] += read<V>(a + n * stride + at) * read<V>(g + n * channels + at);
      }
    put(sum + c, acc);
  });
}

template <typename T, typename S>
constexpr DepthwiseKernels<T, S> table() {
  return {forward<T, S>,      backward_data<T, S>, backward_weights<T, S>,
          weighted_sum<T, S>, scaled_rows<T, S>,   product_sum<T, S>};
}

}  // namespace

extern const DepthwiseKernels<Bfloat16, float> depthwise_bfloat16;
extern const DepthwiseKernels<float, float> depthwise_float;
extern const DepthwiseKernels<double, double> depthwise_double;
const DepthwiseKernels<Bfloat16, float> depthwise_bfloat16 = table<Bfloat16, float>();
const DepthwiseKernels<float, float> depthwise_float = table<float, float>();
const DepthwiseKernels<double, double> depthwise_double = table<double, double>();

}  // namespace PIPE_ISA
}  // namespace engine
