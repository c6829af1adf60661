#ifndef PIPE_EMULATION_CUDA_FP16_H
#define PIPE_EMULATION_CUDA_FP16_H

#ifdef __aarch64__
typedef __fp16 __half;
#else
typedef _Float16 __half;
#endif
inline float __half2float(__half v) { return static_cast<float>(v); }
inline __half __float2half_rn(float v) { return static_cast<__half>(v); }

#endif
