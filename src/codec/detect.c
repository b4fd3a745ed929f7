#include "codec/detect.h"

#include <string.h>

#define WORDS 512u /* enough to tell noise from exponents */

_Static_assert(WORDS * 8 + 8 <= KERF_DETECT_LEN, "all phases are inside");

/* How even the bytes of one place in the words are: 256 times the chance that
 * two of them are equal, about 1 for noise and 30 to 80 for exponents. */
static double
evenness(const uint8_t *at, unsigned width, bool exponent)
{
    uint16_t count[256] = {0};
    uint32_t pairs = 0;

    for (size_t i = 0; i < WORDS; i++, at += width) {
        /* The byte as it is once the word is turned left by one bit. */
        uint8_t byte = (uint8_t)(exponent ? at[0] << 1 | at[-1] >> 7 : at[0]);

        count[byte]++;
    }
    for (size_t s = 0; s < 256; s++)
        pairs += (uint32_t)count[s] * (uint32_t)(count[s] - (count[s] > 0));
    return 256.0 * pairs / (WORDS * (WORDS - 1.0));
}

struct look {
    kerf_dtype dtype;
    unsigned width, noisy; /* its lowest bytes are noise */
    double least;          /* evenness of the top byte, turned */
};

static bool
looks(const uint8_t *data, const struct look *l)
{
    for (unsigned k = 0; k < l->noisy; k++) {
        if (evenness(data + k, l->width, false) > 1.5)
            return false;
    }
    return evenness(data + l->width - 1, l->width, true) >= l->least;
}

bool
kerf_detect(const uint8_t *data, kerf_dtype *dtype, unsigned *phase)
{
    static const struct look kinds[] = {
        {KERF_F64, 8, 5, 16},
        {KERF_F32, 4, 2, 16},
        {KERF_BF16, 2, 1, 16},
        {KERF_F16, 2, 1, 4},
    };

    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        for (unsigned p = 0; p < kinds[k].width; p++) {
            if (looks(data + p, &kinds[k])) {
                *dtype = kinds[k].dtype;
                *phase = p;
                return true;
            }
        }
    }
    return false;
}
