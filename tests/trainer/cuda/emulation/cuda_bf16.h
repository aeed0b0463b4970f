// cuda_bf16 - bfloat16 on the host, rounded to nearest even as the device does; see
// cuda_runtime_api.h.
#ifndef CUDA_BF16_H
#define CUDA_BF16_H

#include "trainer/cuda/emulation/cuda_runtime.h"

// The upper half of a float.
struct __nv_bfloat16 {
    unsigned short bits;
};
struct __align__(4) __nv_bfloat162 {
    __nv_bfloat16 x, y;
};

// To nearest even: adds just under half of the last bit, and the last bit itself.
static inline __nv_bfloat16 __float2bfloat16_rn(float f) {
    unsigned bits = __float_as_uint(f);
    __nv_bfloat16 r;

    if ((bits & 0x7fffffffu) > 0x7f800000u)
        r.bits = 0x7fff; // NaN, as the device writes it
    else
        r.bits = (unsigned short)((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
    return r;
}
static inline float __bfloat162float(__nv_bfloat16 x) {
    return __uint_as_float((unsigned)x.bits << 16);
}
static inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) {
    __nv_bfloat162 r = {__float2bfloat16_rn(x), __float2bfloat16_rn(y)};
    return r;
}

#endif
