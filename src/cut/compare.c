#include "cut/compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool
is_real(kerf_dtype dtype)
{
    return dtype == KERF_F32 || dtype == KERF_F16 || dtype == KERF_BF16 ||
           dtype == KERF_F64;
}

static size_t
count_of(const kerf_tensor *t)
{
    return t->bytes / kerf_dtype_size(t->dtype);
}

void
kerf_span_add(kerf_span *span, const kerf_tensor *t)
{
    for (size_t i = 0; i < count_of(t); i++) {
        double v = kerf_tensor_at(t, i);

        if (!isfinite(v))
            continue;
        span->least = span->any ? fmin(span->least, v) : v;
        span->most = span->any ? fmax(span->most, v) : v;
        span->any = true;
    }
}

double
kerf_span_range(const kerf_span *span)
{
    return fmax(span->most - span->least,
                fmax(fabs(span->least), fabs(span->most)));
}

/* |a - b|; infinite when one is not finite and the other not the same. */
static double
distance(double a, double b)
{
    if (isfinite(a) && isfinite(b))
        return fabs(a - b);
    if (isnan(a) || isnan(b))
        return isnan(a) && isnan(b) ? 0.0 : INFINITY;
    return a > b || a < b ? INFINITY : 0.0;
}

static double
part_of(double abs, double range, kerf_dtype dtype)
{
    if (abs <= 0.0)
        return 0.0;
    return range > 0.0 && is_real(dtype) ? abs / range : INFINITY;
}

static kerf_err
fail_kind(kerf_detail *why, size_t at, double got, double want)
{
    return kerf_fail(why, KERF_EMISMATCH, "element %zu is %.6g, expected %.6g",
                     at, got, want);
}

static kerf_err
compare_in_place(const kerf_tensor *want, const kerf_tensor *got, double range,
                 kerf_diff *diff, kerf_detail *why)
{
    double abs = 0.0;

    for (size_t i = 0; i < count_of(want); i++) {
        double a = kerf_tensor_at(want, i);
        double b = kerf_tensor_at(got, i);
        double d = distance(a, b);

        if (isinf(d))
            return fail_kind(why, i, b, a);
        abs = fmax(abs, d);
    }
    *diff = (kerf_diff){.abs = abs};
    diff->rel = part_of(abs, range, want->dtype);
    return KERF_OK;
}

/* The greatest distance of two rows; stops when it is over `most`. */
static double
row_distance(const kerf_tensor *want, size_t a, const kerf_tensor *got,
             size_t b, size_t columns, double most)
{
    double far = 0.0;

    for (size_t i = 0; i < columns && far <= most; i++)
        far = fmax(far, distance(kerf_tensor_at(want, a * columns + i),
                                 kerf_tensor_at(got, b * columns + i)));
    return far;
}

/* The row of got, not taken yet, that is nearest to row `at` of want: the one
 * in the same place when it is the same. */
static size_t
nearest_row(const kerf_tensor *want, size_t at, const kerf_tensor *got,
            size_t columns, const bool *taken, double *distance_out)
{
    size_t rows = (size_t)want->shape.dims[0];
    size_t best = rows;
    double least = INFINITY;

    if (!taken[at]) {
        best = at;
        least = row_distance(want, at, got, at, columns, INFINITY);
    }
    for (size_t i = 0; i < rows && least > 0.0; i++) {
        double d;

        if (taken[i])
            continue;
        d = row_distance(want, at, got, i, columns, least);
        if (best == rows || d < least) {
            least = d;
            best = i;
        }
    }
    *distance_out = least;
    return best;
}

static kerf_err
compare_rows(const kerf_tensor *want, const kerf_tensor *got, double range,
             kerf_diff *diff, kerf_detail *why)
{
    size_t rows = (size_t)want->shape.dims[0];
    size_t columns = rows == 0 ? 0 : count_of(want) / rows;
    size_t bytes = columns * kerf_dtype_size(want->dtype);
    bool *taken = calloc(rows + 1, sizeof *taken);
    kerf_diff d = {.bit_equal = true};
    kerf_err err = KERF_OK;

    if (taken == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory for %zu rows", rows);
    for (size_t i = 0; i < rows && err == KERF_OK; i++) {
        double far;
        size_t at = nearest_row(want, i, got, columns, taken, &far);

        taken[at] = true;
        if (isinf(far))
            err =
                kerf_fail(why, KERF_EMISMATCH, "row %zu has no counterpart", i);
        d.abs = fmax(d.abs, far);
        d.bit_equal &= memcmp((const char *)want->data + i * bytes,
                              (const char *)got->data + at * bytes, bytes) == 0;
    }
    free(taken);
    if (err != KERF_OK)
        return err;
    d.rel = part_of(d.abs, range, want->dtype);
    *diff = d;
    return KERF_OK;
}

kerf_err
kerf_compare(const kerf_tensor *want, const kerf_tensor *got, bool as_rows,
             double range, double tolerance, kerf_diff *diff, kerf_detail *why)
{
    char a[KERF_SHAPE_TEXT];
    char b[KERF_SHAPE_TEXT];
    kerf_err err;

    if (want->dtype != got->dtype ||
        !kerf_shape_equal(&want->shape, &got->shape)) {
        return kerf_fail(
            why, KERF_EMISMATCH, "it is %s %s, expected %s %s",
            kerf_dtype_name(got->dtype), kerf_shape_text(a, &got->shape),
            kerf_dtype_name(want->dtype), kerf_shape_text(b, &want->shape));
    }
    if (want->bytes == 0 || memcmp(want->data, got->data, want->bytes) == 0) {
        *diff = (kerf_diff){.bit_equal = true};
        return KERF_OK;
    }
    err = compare_in_place(want, got, range, diff, why);
    if (!as_rows || want->shape.rank == 0 ||
        want->shape.dims[0] > KERF_COMPARE_ROWS_MAX ||
        (err == KERF_OK && diff->rel <= tolerance))
        return err;
    return compare_rows(want, got, range, diff, why);
}
