/* exp and log with the bits of the Rust crate libm, which is a port of the same source. The functions of newlib and of a
 * vendor have other bits.
 *
 * origin: FreeBSD /usr/src/lib/msun/src/e_expf.c and e_logf.c
 *
 * Copyright (C) 1993 by Sun Microsystems, Inc. All rights reserved.
 * Developed at SunPro, a Sun Microsystems, Inc. business.
 * Permission to use, copy, modify, and distribute this software is freely granted, provided that this notice is
 * preserved. */
#include "digits.h"

typedef union {
    float value;
    uint32_t bits;
} number;

static float power_of_two(int exponent) {
    return (number){.bits = (uint32_t)(0x7f + exponent) << 23}.value;
}

/* x * 2^k, rounded once, for k from -150 to 128. */
static float scale(float x, int k) {
    if (k > 127) return x * power_of_two(127) * power_of_two(k - 127);
    if (k >= -126) return x * power_of_two(k);
    /* The first factor keeps the product normal, so that only the second multiplication rounds. */
    return x * power_of_two(-102) * power_of_two(k + 102);
}

float digits_exp(float x) {
    static const float ln2_hi = 6.9314575195e-01f, ln2_lo = 1.4286067653e-06f, inverse_ln2 = 1.4426950216e+00f;
    static const float p1 = 1.6666625440e-1f, p2 = -2.7667332906e-3f;
    number bits = {x};
    int sign = (int)(bits.bits >> 31), k = 0;
    uint32_t size = bits.bits & 0x7fffffff;
    float hi = x, lo = 0.0f;

    if (size > 0x7f800000) return x;                                     /* NaN */
    if (size >= 0x42b17218 && !sign) return x * power_of_two(127);       /* overflow */
    if (size >= 0x42cff1b5 && sign) return 0.0f;                         /* underflow */
    if (size > 0x3eb17218) {                                             /* |x| > 0.5 ln 2 */
        k = size > 0x3f851592 ? (int)(inverse_ln2 * x + (sign ? -0.5f : 0.5f)) : 1 - sign - sign;
        hi = x - (float)k * ln2_hi;
        lo = (float)k * ln2_lo;
        x = hi - lo;
    } else if (size <= 0x39000000) {
        return 1.0f + x;
    }
    float xx = x * x;
    float c = x - xx * (p1 + xx * p2);
    float y = 1.0f + (x * c / (2.0f - c) - lo + hi);
    return k == 0 ? y : scale(y, k);
}

float digits_log(float x) {
    static const float ln2_hi = 6.9313812256e-01f, ln2_lo = 9.0580006145e-06f;
    static const float lg1 = 0.66666662693f, lg2 = 0.40000972152f, lg3 = 0.28498786688f, lg4 = 0.24279078841f;
    number bits = {x};
    int k = 0;

    if (bits.bits < 0x00800000 || bits.bits >> 31 != 0) {
        if (bits.bits << 1 == 0) return -1.0f / (x * x);                 /* log(0) = -inf */
        if (bits.bits >> 31 != 0) return (x - x) / 0.0f;                 /* log(-x) = NaN */
        k = -25;
        bits.value = x * power_of_two(25);                               /* a subnormal number */
    } else if (bits.bits >= 0x7f800000) {
        return x;
    } else if (bits.bits == 0x3f800000) {
        return 0.0f;
    }
    bits.bits += 0x3f800000 - 0x3f3504f3;
    k += (int)(bits.bits >> 23) - 0x7f;
    bits.bits = (bits.bits & 0x007fffff) + 0x3f3504f3;

    float f = bits.value - 1.0f;
    float s = f / (2.0f + f);
    float z = s * s, w = z * z;
    float t1 = w * (lg2 + w * lg4), t2 = z * (lg1 + w * lg3);
    float half = 0.5f * f * f, dk = (float)k;
    return s * (half + (t2 + t1)) + dk * ln2_lo - half + f + dk * ln2_hi;
}
