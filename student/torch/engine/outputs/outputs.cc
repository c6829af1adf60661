// Prints what the loops of simd/ make of drawn numbers, one JSON object a line: its Name,
// its DType (of c10::ScalarType) and its Values. Neither this nor the loops need libtorch,
// so that an emulator can run those of another kind of processor; see emulated_test.go.
#include <stdint.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "kernels.h"

namespace engine {
namespace {

template <typename T>
struct Type;
template <>
struct Type<Bfloat16> {
  static constexpr int dtype = 15;
  // Exact: no number here has more than six bits.
  static Bfloat16 from(double v) {
    float f = static_cast<float>(v);
    uint32_t bits;
    std::memcpy(&bits, &f, sizeof bits);
    return {static_cast<uint16_t>(bits >> 16)};
  }
  static double widened(Bfloat16 v) {
    uint32_t bits = static_cast<uint32_t>(v.bits) << 16;
    float f;
    std::memcpy(&f, &bits, sizeof f);
    return f;
  }
};
template <>
struct Type<float> {
  static constexpr int dtype = 6;
  static float from(double v) { return static_cast<float>(v); }
  static double widened(float v) { return v; }
};
template <>
struct Type<double> {
  static constexpr int dtype = 7;
  static double from(double v) { return v; }
  static double widened(double v) { return v; }
};

// Numbers that every type holds, from -2 to 2 in steps of a sixteenth.
template <typename T>
std::vector<T> drawn(int64_t n) {
  static uint64_t state = 1;
  std::vector<T> v(n);
  for (auto& x : v) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    x = Type<T>::from((static_cast<int>(state >> 58) - 32) / 16.0);
  }
  return v;
}

// dtype is that of the elements that the values were made of.
template <typename T>
void print(const std::string& name, int dtype, const std::vector<T>& values) {
  std::printf("{\"Name\":\"%s\",\"DType\":%d,\"Values\":[", name.c_str(), dtype);
  for (size_t i = 0; i < values.size(); ++i) std::printf("%s%.17g", i ? "," : "", Type<T>::widened(values[i]));
  std::printf("]}\n");
}

template <typename T, typename S>
class Outputs {
 public:
  explicit Outputs(const KernelsOf<T, S>& k) : k_(k) {}

  void norm(int64_t rows, int64_t channels) {
    auto x = drawn<T>(rows * channels), add = drawn<T>(rows * channels), dy = drawn<T>(rows * channels);
    auto mean = drawn<S>(channels), scale = drawn<S>(channels), bias = drawn<S>(channels), slope = drawn<S>(channels);
    NormChannels<S> c{mean.data(), scale.data(), bias.data(), slope.data()};
    std::vector<S> sums(3 * channels);
    k_.norm.moments(x.data(), rows, channels, sums.data());
    say("moments", channels, sums);
    for (auto act : {Activation::none, Activation::prelu, Activation::relu}) {
      std::vector<T> y(x.size());
      k_.norm.apply(act, x.data(), nullptr, y.data(), rows, channels, c);
      say("apply", channels, y);
      k_.norm.apply(act, x.data(), add.data(), y.data(), rows, channels, c);
      say("apply and add", channels, y);
      sums.assign(3 * channels, S(0));
      k_.norm.reduce(act, x.data(), dy.data(), rows, channels, c, sums.data());
      say("reduce", channels, sums);
      k_.norm.gradient(act, x.data(), dy.data(), y.data(), rows, channels, c, {scale.data(), bias.data(), mean.data()});
      say("gradient", channels, y);
    }
  }

  void pointwise(int64_t rows, int64_t in, int64_t out) {
    const auto& p = k_.pointwise;
    auto x = drawn<T>(rows * in), dy = drawn<T>(rows * out);
    auto w = drawn<S>(out * in);
    std::vector<S> packed((out + p.panel - 1) / p.panel * p.panel * in);
    p.pack(w.data(), out, in, in, 1, packed.data());
    int64_t each = in + out + 2 * p.padding;
    std::vector<S> scratch(each * (p.strip > kPointwiseBlock ? p.strip : kPointwiseBlock)), dw(out * in);
    std::vector<T> y(rows * out);
    for (int64_t r = 0; r < rows; r += p.strip)
      p.multiply(x.data() + r * in, rows - r < p.strip ? rows - r : p.strip, in, packed.data(), out,
                 y.data() + r * out, scratch.data());
    say("multiply", in, y);
    p.outer(x.data(), dy.data(), rows, in, out, dw.data(), in, scratch.data());
    say("outer", in, dw);
  }

  void depthwise(int64_t channels, int64_t stride, int64_t padding) {
    const auto& l = k_.depthwise;
    DepthwiseShape d{5, 6, channels, stride, padding, (5 + 2 * padding - 3) / stride + 1, (6 + 2 * padding - 3) / stride + 1};
    auto x = drawn<T>(d.height * d.width * channels), dy = drawn<T>(d.out_height * d.out_width * channels);
    auto w = drawn<S>(9 * channels);
    std::vector<S> scratch(4 * (d.width + 2 * padding) * channels), dw(9 * channels);
    std::vector<T> y(dy.size()), dx(x.size());
    l.forward(x.data(), w.data(), d, y.data(), scratch.data());
    say("depthwise", channels, y);
    l.backward_data(dy.data(), w.data(), d, dx.data(), scratch.data());
    say("depthwise dx", channels, dx);
    l.backward_weights(x.data(), dy.data(), d, dw.data(), scratch.data());
    say("depthwise dw", channels, dw);
  }

  void global(int64_t positions, int64_t channels) {
    const auto& l = k_.depthwise;
    auto a = drawn<T>(positions * channels), g = drawn<T>(positions * channels);
    auto w = drawn<S>(positions * channels);
    std::vector<T> sum(channels), y(a.size());
    std::vector<S> products(channels);
    l.weighted_sum(a.data(), w.data(), positions, channels, sum.data());
    say("weighted sum", channels, sum);
    l.scaled_rows(g.data(), w.data(), positions, channels, y.data());
    say("scaled rows", channels, y);
    l.product_sum(a.data(), channels, g.data(), positions, channels, products.data());
    say("product sum", channels, products);
  }

 private:
  template <typename V>
  void say(const std::string& what, int64_t channels, const std::vector<V>& values) const {
    print(what + " of " + std::to_string(channels) + " channels", Type<T>::dtype, values);
  }

  const KernelsOf<T, S>& k_;
};

template <typename T, typename S>
void all(const KernelsOf<T, S>& k, int64_t channels) {
  Outputs<T, S> o(k);
  o.norm(19, channels);
  o.pointwise(45, channels, 130 / channels + 1);
  for (int64_t stride : {1, 2})
    for (int64_t padding : {0, 1, 2}) o.depthwise(channels, stride, padding);
  o.global(6, channels);
}

void optimizer(const OptimizerKernels& k, int64_t n) {
  for (bool nesterov : {false, true}) {
    auto g = drawn<float>(n), p = drawn<float>(n), v = drawn<float>(n);
    print("squares", Type<float>::dtype, std::vector<double>{k.squares(g.data(), n)});
    k.sgd({0.5f, 0.1f, 0.9f, 0.2f, nesterov}, g.data(), p.data(), v.data(), n);
    print("parameters", Type<float>::dtype, p);
    print("velocities", Type<float>::dtype, v);
  }
  auto g = drawn<float>(n), p = drawn<float>(n), m = drawn<float>(n), v = drawn<float>(n);
  for (auto& square : v) square *= square;
  k.adamw({0.5f, 0.99f, 0.9f, 0.999f, 0.2f, 1.5f, 1e-3f}, g.data(), p.data(), m.data(), v.data(), n);
  print("parameters of AdamW", Type<float>::dtype, p);
  print("first moments", Type<float>::dtype, m);
  print("second moments", Type<float>::dtype, v);
}

}  // namespace
}  // namespace engine

int main() {
  const auto& k = engine::kernels();
  for (int64_t channels : {1, 3, 7, 17, 33, 130}) {
    engine::all(k.of_bfloat16, channels);
    engine::all(k.of_float, channels);
    engine::all(k.of_double, channels);
    engine::optimizer(k.optimizer, channels);
  }
}
