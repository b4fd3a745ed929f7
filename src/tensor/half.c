#include "tensor/half.h"

#include "base/bytes.h"

float
kerf_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    uint32_t exponent = h >> 10 & 31u;
    uint32_t mantissa = h & 0x3FFu;
    float f;

    if (exponent == 31)
        return kerf_float_of(sign | 0x7F800000u | mantissa << 13);
    if (exponent != 0)
        return kerf_float_of(sign | (exponent + 112) << 23 | mantissa << 13);
    f = (float)mantissa * 0x1p-24f; /* zero and denormals */
    return sign ? -f : f;
}

uint16_t
kerf_f32_to_f16(float f)
{
    uint32_t bits = kerf_float_bits(f);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000u);
    uint32_t mag = bits & 0x7FFFFFFFu;
    uint32_t h;

    if (mag > 0x7F800000u)
        return sign | 0x7E00u;
    if (mag >= 0x477FF000u) /* rounds to infinity */
        return sign | 0x7C00u;
    if (mag < 0x38800000u) { /* denormal: adding 0.5 rounds at 2^-24 */
        float shifted = kerf_float_of(mag) + 0.5f;

        return sign |
               (uint16_t)(kerf_float_bits(shifted) - kerf_float_bits(0.5f));
    }
    h = mag + 0xFFFu + (mag >> 13 & 1u);
    return sign | (uint16_t)((h - 0x38000000u) >> 13);
}

float
kerf_bf16_to_f32(uint16_t h)
{
    return kerf_float_of((uint32_t)h << 16);
}

uint16_t
kerf_f32_to_bf16(float f)
{
    uint32_t bits = kerf_float_bits(f);

    if ((bits & 0x7FFFFFFFu) > 0x7F800000u)
        return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}
