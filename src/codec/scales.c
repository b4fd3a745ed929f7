#include "codec/scales.h"

#include "base/bytes.h"

#include <math.h>
#include <string.h>

#define NUMBERS 254.0 /* steps of one range; one more by rounding */

float
kerf_step_short(float x)
{
    return kerf_float_of((kerf_float_bits(x) + 0xffff) & 0xffff0000u);
}

/* With 0. */
static double
range_of(const kerf_span *s)
{
    return fmax((double)kerf_span_float(s->greatest), 0) -
           fmin((double)kerf_span_float(s->least), 0);
}

bool
kerf_scales_choose(kerf_scales *s, float *step, const kerf_span *span,
                   size_t groups, double per_range)
{
    double sum = 0;
    double alone = 0; /* ranges without 0 */
    double below = 0;
    double above = 0;

    for (size_t g = 0; g < groups; g++) {
        double range = range_of(&span[g]);

        if (range != 0 && (range < KERF_RANGE_LEAST || range > KERF_RANGE_MOST))
            return false;
        sum += range;
        alone += (double)kerf_span_float(span[g].greatest) -
                 (double)kerf_span_float(span[g].least);
    }
    if (sum > 2 * alone)
        return false;
    for (size_t g = 0; g < groups; g++) {
        double range = range_of(&span[g]);
        double even = sqrt(range * (sum / (double)groups));
        double to = fmax(even / per_range, range / NUMBERS);

        step[g] = kerf_step_short((float)to);
        if (range == 0)
            continue;
        to = (double)step[g];
        below =
            fmax(below, round(-(double)kerf_span_float(span[g].least) / to));
        above =
            fmax(above, round((double)kerf_span_float(span[g].greatest) / to));
    }
    if (below + above > 255)
        return false;
    s->zero = (uint8_t)below;
    s->most = (uint8_t)(below + above);
    return true;
}
