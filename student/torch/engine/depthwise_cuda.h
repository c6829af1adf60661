// Depthwise convolutions on CUDA devices, of memory with the channels innermost. Nothing of
// libtorch or CUDA is in this file, so that either side compiles without the other.
#ifndef PIPE_DEPTHWISE_CUDA_H
#define PIPE_DEPTHWISE_CUDA_H

#include <stdint.h>

#include <functional>

#include "element.h"

namespace engine {
namespace cuda {

// Weights and their gradient are float32, channels × kernel × kernel; weights are rounded to the
// element type before they are used, and sums run in float32.
struct Depthwise {
  int device;  // its number, of which stream is
  Element element;
  int kernel, stride, padding;
  int64_t images, height, width, channels, out_height, out_width;
  void* stream;  // cudaStream_t
};

// Whether there is a kernel for it: 3×3 and 7×7, strides 1 and 2, all elements but float64.
bool serves(const Depthwise& d);

// Each returns null or what went wrong.
const char* convolve(const Depthwise& d, const void* x, const void* weights, void* y);
const char* data_gradient(const Depthwise& d, const void* dy, const void* weights, void* dx);
// partial has room for weights_partial_values() float32.
const char* weights_gradient(const Depthwise& d, const void* x, const void* dy, void* partial, void* dw);
int64_t weights_partial_values(const Depthwise& d);

// How long a device takes for what work starts on the stream, in milliseconds. Waits for it.
const char* time(const Depthwise& d, const std::function<void()>& work, float* milliseconds);

}  // namespace cuda
}  // namespace engine

#endif
