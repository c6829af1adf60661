// pipe::pixels — bytes N×H×W×3 as they come from a decoder, mirrored where asked for and
// normalised to (x - mean) / std, as N×3×H×W with the channels last, in one pass.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <vector>

#include "kernels.h"

namespace engine {
namespace {

// A byte has 256 normalised values. They are computed where they are looked up.
at::Tensor table(double mean, double std, at::ScalarType dtype, at::Device device) {
  return at::arange(256, at::TensorOptions().dtype(at::kFloat).device(device)).sub(mean).mul(1 / std).to(dtype);
}

template <typename T>
void look_up(const uint8_t* x, const T* values, bool mirrored, int64_t width, T* y) {
  const int64_t step = mirrored ? -3 : 3;
  if (mirrored) x += 3 * (width - 1);
  for (int64_t i = 0; i < width; ++i, x += step, y += 3)
    for (int c = 0; c < 3; ++c) y[c] = values[x[c]];
}

// Copies rows of pixels; elements of size T are only moved.
template <typename T>
void look_up_rows(const at::Tensor& bytes, const at::Tensor& mirrored, const at::Tensor& values, at::Tensor& y) {
  int64_t height = bytes.size(1), width = bytes.size(2);
  const auto* x = bytes.data_ptr<uint8_t>();
  const auto* flags = mirrored.defined() ? mirrored.data_ptr<uint8_t>() : nullptr;
  const auto* v = static_cast<const T*>(values.data_ptr());
  auto* out = static_cast<T*>(y.data_ptr());
  at::parallel_for(0, bytes.size(0) * height, 64, [&](int64_t from, int64_t to) {
    for (int64_t r = from; r < to; ++r)
      look_up(x + r * width * 3, v, flags && flags[r / height], width, out + r * width * 3);
  });
}

// The same in libtorch's operators, for other devices.
at::Tensor separate(const at::Tensor& bytes, const at::Tensor& mirrored, const at::Tensor& values) {
  auto x = bytes;
  if (mirrored.defined()) x = at::where(mirrored.to(at::kBool).view({-1, 1, 1, 1}), x.flip({2}), x);
  return values.index_select(0, x.reshape(-1).to(at::kInt)).view(x.sizes()).permute({0, 3, 1, 2});
}

at::Tensor pixels(const at::Tensor& bytes, const c10::optional<at::Tensor>& mirrored, double mean, double std,
                  int64_t dtype) {
  TORCH_CHECK(bytes.dim() == 4 && bytes.size(3) == 3 && bytes.scalar_type() == at::kByte && bytes.is_contiguous(),
              "pixels takes bytes N×H×W×3, got ", bytes.sizes(), " ", bytes.scalar_type());
  at::Tensor flags = mirrored.has_value() ? *mirrored : at::Tensor();
  TORCH_CHECK(!flags.defined() || (flags.numel() == bytes.size(0) && flags.scalar_type() == at::kByte &&
                                   flags.is_contiguous() && flags.device() == bytes.device()),
              "pixels takes one flag for each of ", bytes.size(0), " images");
  auto type = static_cast<at::ScalarType>(dtype);
  auto values = table(mean, std, type, bytes.device());
  if (!bytes.is_cpu()) return separate(bytes, flags, values);
  auto y = at::empty({bytes.size(0), 3, bytes.size(1), bytes.size(2)}, type, c10::nullopt, c10::nullopt, c10::nullopt,
                     at::MemoryFormat::ChannelsLast);
  switch (y.element_size()) {
    case 2:
      look_up_rows<uint16_t>(bytes, flags, values, y);
      break;
    case 4:
      look_up_rows<uint32_t>(bytes, flags, values, y);
      break;
    case 8:
      look_up_rows<uint64_t>(bytes, flags, values, y);
      break;
    default:
      TORCH_CHECK(false, "pixels does not make ", type);
  }
  return y;
}

}  // namespace
}  // namespace engine

TORCH_LIBRARY_FRAGMENT(pipe, m) {
  m.def("pixels(Tensor bytes, Tensor? mirrored, float mean, float std, int dtype) -> Tensor", &engine::pixels);
}
