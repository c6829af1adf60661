// The kernels of pipe::norm_act on CUDA devices, for memory with the channels
// innermost. Nothing of libtorch or CUDA is in this file, so that either side compiles
// without the other.
#ifndef PIPE_NORM_ACT_CUDA_H
#define PIPE_NORM_ACT_CUDA_H

#include <stdint.h>

#include "element.h"
#include "kernels.h"

namespace engine {
namespace cuda {

// What all kernels take. Parameters, sums and statistics are float32 (float64 for
// float64 elements).
struct Batch {
  int device;  // its number, of which stream is
  Element element;
  Activation act;
  int64_t rows, channels;
  const void* x;
  const void *weight, *bias, *slope;  // slope: of a PReLU only
  void *mean, *inv_std;               // statistics: written forward, read backward
  void* partial;                      // partial_values() values
  void* stream;                       // cudaStream_t
};

// Room for the sums of all blocks of rows.
int64_t partial_values(int64_t rows, int64_t channels);

// Null if a device can run the kernels, which are compiled for some kinds of devices, or why
// it cannot.
const char* unusable(int device);

// y = act(norm(x)) + residual (or null), moving the running statistics. Returns null
// or what went wrong.
const char* forward(const Batch& b, const void* residual, void* y, void* running_mean, void* running_var,
                    double momentum, double eps);

// The gradients; d_slope for a PReLU only. constants has room for 3·channels values.
const char* backward(const Batch& b, const void* dy, void* dx, void* d_weight, void* d_bias, void* d_slope,
                     void* constants);

}  // namespace cuda
}  // namespace engine

#endif
