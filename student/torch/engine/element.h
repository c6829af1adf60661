// The element types of the kernels for CUDA devices.
#ifndef PIPE_ELEMENT_H
#define PIPE_ELEMENT_H

namespace engine {
namespace cuda {

enum class Element { bfloat16, float16, float32, float64 };

}  // namespace cuda
}  // namespace engine

#endif
