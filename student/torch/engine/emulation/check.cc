// The kernels for CUDA devices, run by the emulation, against sums written out in float64. Prints a
// line for each case, and ends with status 1 if one is wrong.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "../choice.h"
#include "../depthwise_cuda.h"
#include "../norm_act_cuda.h"

namespace {

using namespace engine;
using cuda::Element;

int wrong = 0, cases = 0;

double widen(double v) { return v; }
double widen(float v) { return v; }
double widen(__half v) { return __half2float(v); }
double widen(__nv_bfloat16 v) { return __bfloat162float(v); }
void narrow(double v, double* to) { *to = v; }
void narrow(double v, float* to) { *to = float(v); }
void narrow(double v, __half* to) { *to = __float2half_rn(float(v)); }
void narrow(double v, __nv_bfloat16* to) { *to = __float2bfloat16_rn(float(v)); }

template <typename T>
constexpr Element kElement = std::is_same_v<T, double>   ? Element::float64
                             : std::is_same_v<T, float>  ? Element::float32
                             : std::is_same_v<T, __half> ? Element::float16
                                                         : Element::bfloat16;
template <typename T>
const char* name() {
  return std::is_same_v<T, double> ? "float64" : std::is_same_v<T, float> ? "float32" : std::is_same_v<T, __half> ? "float16" : "bfloat16";
}
// What rounding once, and sums in float32 or float64, may cost beside a value of 1.
template <typename T>
double tolerance() {
  return std::is_same_v<T, double> ? 1e-11 : std::is_same_v<T, float> ? 1e-4 : std::is_same_v<T, __half> ? 1.0 / 1024 : 1.0 / 200;
}

// Values whose memory ends at a page that nobody may touch, or `away` values before it.
template <typename T>
class Memory {
 public:
  explicit Memory(size_t n, size_t away = 0) : n_(n) {
    const size_t page = 4096, pages = ((n + away) * sizeof(T) + page - 1) / page;
    auto* base = static_cast<char*>(mmap(nullptr, (pages + 2) * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(base + page, pages * page, PROT_READ | PROT_WRITE);
    p_ = reinterpret_cast<T*>(base + (pages + 1) * page) - n - away;
    std::fill(p_, p_ + n, T{});
    for (size_t i = 0; i < n; ++i) narrow(std::nan(""), &p_[i]);  // what nobody writes shows
  }
  T* get() { return p_; }
  T& operator[](size_t i) { return p_[i]; }
  size_t size() const { return n_; }
  std::vector<double> values() const {
    std::vector<double> v(n_);
    for (size_t i = 0; i < n_; ++i) v[i] = widen(p_[i]);
    return v;
  }

 private:
  T* p_;
  size_t n_;
};

std::mt19937 generator(1);

template <typename T>
void draw(Memory<T>& m, double scale = 1, double shift = 0) {
  std::normal_distribution<double> normal(shift, scale);
  for (size_t i = 0; i < m.size(); ++i) narrow(std::round(normal(generator) * 16) / 16, &m[i]);
}

void check(const std::string& what, const std::vector<double>& got, const std::vector<double>& want, double tolerance) {
  for (size_t i = 0; i < want.size(); ++i) {
    if (!std::isfinite(want[i]) && !std::isfinite(got[i])) continue;
    if (std::abs(got[i] - want[i]) <= tolerance * (1 + std::abs(want[i]))) continue;
    std::printf("%s: value %zu is %g, want %g\n", what.c_str(), i, got[i], want[i]);
    ++wrong;
    return;
  }
}

void succeed(const char* problem) {
  if (problem == nullptr) return;
  std::printf("problem: %s\n", problem);
  ++wrong;
}

// What a norm gives, in float64.
struct NormResult {
  std::vector<double> y, running_mean, running_var, dx, d_weight, d_bias, d_slope;
};

struct NormInput {
  Activation act;
  size_t rows, channels;
  std::vector<double> x, residual, dy, weight, bias, slope;
};

NormResult norm(const NormInput& in, double momentum, double eps) {
  NormResult r;
  r.y.resize(in.x.size());
  r.dx.resize(in.x.size());
  for (size_t c = 0; c < in.channels; ++c) {
    const double n = in.rows;
    double mean = 0, variance = 0, d_weight = 0, d_bias = 0, d_slope = 0;
    for (size_t k = 0; k < in.rows; ++k) mean += in.x[k * in.channels + c] / n;
    for (size_t k = 0; k < in.rows; ++k) variance += std::pow(in.x[k * in.channels + c] - mean, 2) / n;
    const double inv_std = 1 / std::sqrt(variance + eps), slope = in.act == Activation::prelu ? in.slope[c] : 0;
    auto hat = [&](size_t at) { return (in.x[at] - mean) * inv_std; };
    auto bent = [&](size_t at) { return in.act != Activation::none && !(hat(at) * in.weight[c] + in.bias[c] > 0); };
    for (size_t k = 0; k < in.rows; ++k) {
      const size_t at = k * in.channels + c;
      const double z = hat(at) * in.weight[c] + in.bias[c], dz = in.dy[at] * (bent(at) ? slope : 1);
      r.y[at] = (bent(at) ? slope * z : z) + (in.residual.empty() ? 0 : in.residual[at]);
      d_bias += dz;
      d_weight += dz * hat(at);
      if (bent(at)) d_slope += in.dy[at] * z;
    }
    for (size_t k = 0; k < in.rows; ++k) {
      const size_t at = k * in.channels + c;
      const double dz = in.dy[at] * (bent(at) ? slope : 1);
      r.dx[at] = in.weight[c] * inv_std * (dz - d_bias / n - hat(at) * d_weight / n);
    }
    r.running_mean.push_back((1 - momentum) * 1 + momentum * mean);
    r.running_var.push_back((1 - momentum) * 2 + momentum * variance * (n > 1 ? n / (n - 1) : 1));
    r.d_weight.push_back(d_weight);
    r.d_bias.push_back(d_bias);
    r.d_slope.push_back(d_slope);
  }
  return r;
}

// far is added to the value at spoilt, if there is such a one.
template <typename T, typename S>
void norm_case(Activation act, bool with_residual, size_t rows, size_t channels, size_t away, double shift = 3,
               size_t spoilt = SIZE_MAX, double far = 0) {
  ++cases;
  const size_t n = rows * channels;
  Memory<T> x(n, away), residual(n, away), dy(n, away), y(n, away), dx(n, away);
  Memory<S> weight(channels), bias(channels), slope(channels), mean(channels), inv_std(channels), running_mean(channels),
      running_var(channels), d_weight(channels), d_bias(channels), d_slope(channels), constants(3 * channels),
      partial(cuda::partial_values(rows, channels));
  draw(x, 1, shift), draw(residual), draw(dy), draw(weight), draw(bias), draw(slope, 0.3);
  if (spoilt < n) narrow(widen(x[spoilt]) + far, &x[spoilt]);
  for (size_t c = 0; c < channels; ++c) running_mean[c] = 1, running_var[c] = 2;
  const double momentum = 0.1, eps = 1e-5;
  NormInput in{act, rows, channels, x.values(), with_residual ? residual.values() : std::vector<double>(), dy.values(),
               weight.values(), bias.values(), slope.values()};
  const auto want = norm(in, momentum, eps);
  const bool prelu = act == Activation::prelu;
  cuda::Batch b{0, kElement<T>, act, int64_t(rows), int64_t(channels), x.get(), weight.get(), bias.get(),
                prelu ? slope.get() : nullptr, mean.get(), inv_std.get(), partial.get(), nullptr};
  succeed(cuda::forward(b, with_residual ? residual.get() : nullptr, y.get(), running_mean.get(), running_var.get(),
                        momentum, eps));
  succeed(cuda::backward(b, dy.get(), dx.get(), d_weight.get(), d_bias.get(), prelu ? d_slope.get() : nullptr,
                         constants.get()));
  const std::string what = std::string("norm ") + name<T>() + " act " + std::to_string(int(act)) + " residual " +
                           std::to_string(with_residual) + " rows " + std::to_string(rows) + " channels " +
                           std::to_string(channels) + " away " + std::to_string(away) + " far " + std::to_string(far);
  std::printf("%s\n", what.c_str());
  const double own = tolerance<T>(), sums = std::max(tolerance<S>(), 1e-11);
  // A far value's distance to the others takes float32's digits: what is lost is a small part of the spread.
  check(what + ": running mean", running_mean.values(), want.running_mean, far > 0 ? 5e-3 : sums);
  check(what + ": running variance", running_var.values(), want.running_var, far > 0 ? 5e-3 : sums);
  if (far > 1) return;  // of values that are millions of spreads away float32 says no more
  check(what + ": y", y.values(), want.y, own);
  check(what + ": d_weight", d_weight.values(), want.d_weight, sums);
  check(what + ": d_bias", d_bias.values(), want.d_bias, sums);
  if (prelu) check(what + ": d_slope", d_slope.values(), want.d_slope, sums);
  check(what + ": dx", dx.values(), want.dx, own);
}

template <typename T, typename S>
void norms() {
  const struct {
    size_t rows, channels, away;
  } shapes[] = {{2, 1, 0}, {2, 3, 0}, {37, 8, 0}, {65, 16, 0}, {131, 24, 0}, {131, 24, 1}, {700, 64, 0}, {70, 300, 0}, {41, 264, 0}, {4700, 5, 0}, {5000, 8, 0}};
  // Each activation with some of the shapes in each type, and with all of them in all types.
  static int turn = 0;
  for (const auto& s : shapes) {
    const Activation acts[] = {Activation::none, Activation::prelu, Activation::relu};
    norm_case<T, S>(acts[turn++ % 3], s.rows % 2 == 1, s.rows, s.channels, s.away);
  }
  ++turn;
  norm_case<T, S>(Activation::none, false, 700, 8, 0, 3, 699 * 8 + 2, std::numeric_limits<double>::infinity());
}

template <typename T>
void depthwise_case(int kernel, int stride, int padding, int64_t images, int64_t height, int64_t width, int64_t channels,
                    size_t away = 0) {
  ++cases;
  const int64_t high = (height + 2 * padding - kernel) / stride + 1, wide = (width + 2 * padding - kernel) / stride + 1;
  cuda::Depthwise d{0, kElement<T>, kernel, stride, padding, images, height, width, channels, high, wide, nullptr};
  const std::string what = std::string("depthwise ") + name<T>() + " kernel " + std::to_string(kernel) + " stride " +
                           std::to_string(stride) + " padding " + std::to_string(padding) + " of " + std::to_string(images) +
                           "x" + std::to_string(height) + "x" + std::to_string(width) + "x" + std::to_string(channels) +
                           " away " + std::to_string(away);
  std::printf("%s\n", what.c_str());
  if (!cuda::serves(d)) return succeed("no kernel serves it");
  const int64_t positions = kernel * kernel;
  Memory<T> x(images * height * width * channels, away), y(images * high * wide * channels, away), dy(y.size(), away),
      dx(x.size(), away);
  Memory<float> weights(channels * positions), dw(weights.size()), partial(cuda::weights_partial_values(d));
  draw(x), draw(dy), draw(weights);
  for (size_t i = 0; i < weights.size(); ++i) weights[i] *= 1.001f;  // to be rounded
  std::vector<double> want_y(y.size()), want_dx(x.size()), want_dw(weights.size()), size_dw(weights.size(), 1);
  const auto px = x.values(), pg = dy.values();
  for (int64_t n = 0; n < images; ++n)
    for (int64_t r = 0; r < high; ++r)
      for (int64_t k = 0; k < wide; ++k)
        for (int64_t c = 0; c < channels; ++c)
          for (int64_t p = 0; p < positions; ++p) {
            const int64_t row = r * stride - padding + p / kernel, column = k * stride - padding + p % kernel;
            if (row < 0 || row >= height || column < 0 || column >= width) continue;
            const int64_t in = ((n * height + row) * width + column) * channels + c, out = ((n * high + r) * wide + k) * channels + c;
            T rounded;
            narrow(weights[c * positions + p], &rounded);
            want_y[out] += px[in] * widen(rounded);
            want_dx[in] += pg[out] * widen(rounded);
            want_dw[c * positions + p] += px[in] * pg[out];
          }
  succeed(cuda::convolve(d, x.get(), weights.get(), y.get()));
  succeed(cuda::data_gradient(d, dy.get(), weights.get(), dx.get()));
  succeed(cuda::weights_gradient(d, x.get(), dy.get(), partial.get(), dw.get()));
  check(what + ": y", y.values(), want_y, tolerance<T>());
  check(what + ": dx", dx.values(), want_dx, tolerance<T>());
  check(what + ": dw", dw.values(), want_dw, 1e-4);
}

template <typename T>
void depthwise() {
  for (int kernel : {3, 7})
    for (int stride : {1, 2})
      for (int padding : {kernel / 2, kernel == 3 ? stride - 1 : (stride - 1) * 6}) {
        depthwise_case<T>(kernel, stride, padding, 2, 9, 7, 5);
        depthwise_case<T>(kernel, stride, padding, 1, 8, 13, 72);
        depthwise_case<T>(kernel, stride, padding, 2, 7, 10, 16, padding % 2);
      }
  depthwise_case<T>(3, 1, 1, 1, 1, 1, 8);
  depthwise_case<T>(7, 1, 0, 5, 7, 7, 136);
  depthwise_case<T>(3, 1, 1, 150, 8, 9, 8);
  depthwise_case<T>(3, 2, 1, 150, 15, 9, 8);
}

void refusals() {
  auto served = [](Element e, int kernel, int stride, int padding, int64_t images) {
    return cuda::serves({0, e, kernel, stride, padding, images, 64, 64, 8, 64, 64, nullptr});
  };
  if (served(Element::float32, 5, 1, 2, 1) || served(Element::float32, 3, 3, 1, 1) || served(Element::float64, 3, 1, 1, 1) ||
      served(Element::float32, 3, 1, 3, 1) || served(Element::float32, 3, 1, 1, 0) ||
      served(Element::float32, 3, 1, 1, int64_t(1) << 21) || !served(Element::float32, 3, 1, 1, 1 << 20))
    succeed("a kernel serves what it does not know, or refuses what it knows");
}

// Each is measured once, and the answer stays.
void choices() {
  int asked = 0;
  auto times = [&](double own, double other) { return [&asked, own, other] { return ++asked, Timing{own, other}; }; };
  const bool first = own_is_faster("b", times(1, 2)), second = own_is_faster("a", times(2.5, 2)), again = own_is_faster("b", times(3, 2));
  if (!first || second || !again || asked != 2 ||
      measured() != "a: own 2.500 ms, libtorch 2.000 ms, takes libtorch\nb: own 1.000 ms, libtorch 2.000 ms, takes own\n")
    succeed(("choices are not those of the times: " + measured()).c_str());
}

}  // namespace

int main() {
  norms<double, double>();
  norms<float, float>();
  norms<__half, float>();
  norms<__nv_bfloat16, float>();
  for (size_t at : {size_t(0), size_t(2999)})
    for (double shift : {0.0, 1e3})
      for (double far : {1e3, 1e6}) norm_case<float, float>(Activation::none, false, 3000, 1, 0, shift, at, far);
  depthwise<float>();
  depthwise<__half>();
  depthwise<__nv_bfloat16>();
  refusals();
  choices();
  std::printf("%d cases, %d wrong\n", cases, wrong);
  return wrong == 0 ? 0 : 1;
}
