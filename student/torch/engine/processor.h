// What the processor can do, beyond what kernels.h is concerned with.
#ifndef PIPE_PROCESSOR_H
#define PIPE_PROCESSOR_H

namespace engine {

// Whether it multiplies matrices of bfloat16 in a unit of their own (AMX), many times
// faster than it does anything else.
bool has_matrix_unit();

}  // namespace engine

#endif
