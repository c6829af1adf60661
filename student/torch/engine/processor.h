// What the processor can do, as far as libtorch makes use of it.
#ifndef PIPE_PROCESSOR_H
#define PIPE_PROCESSOR_H

namespace engine {

// What oneDNN, which multiplies matrices for libtorch, does so in bfloat16 with.
enum class Bfloat16Unit {
  none,         // float32's instructions: several times slower than in float32
  dot_product,  // AVX512-BF16: about as fast, and half the memory
  matrix,       // AMX: several times faster
};
Bfloat16Unit bfloat16_unit();

// Whether convolutions in bfloat16 are left to oneDNN; see convolution.cc. Where
// $PIPE_SIMD is set they are not: it chooses among loops that are to be seen at work.
bool bfloat16_is_onednns();

// Whether libtorch has bfloat16 multiplied by oneDNN at all, which takes AVX-512. Elsewhere
// it has loops of its own that round a sum to bfloat16 at every step: some ten times slower
// than float32, and wrong in the second digit. $PIPE_SIMD counts as for bfloat16_is_onednns.
bool onednn_takes_bfloat16();

}  // namespace engine

#endif
