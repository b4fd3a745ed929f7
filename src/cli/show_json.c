#include "cli/show_json.h"

#include "cli/json_line.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool
is_integer(kerf_dtype dtype)
{
    return dtype != KERF_F32 && dtype != KERF_F64 && dtype != KERF_F16 &&
           dtype != KERF_BF16;
}

/* Element i of an i64 or u64 tensor. */
static uint64_t
bits_at(const kerf_tensor *t, size_t i)
{
    uint64_t bits;

    memcpy(&bits, (const uint8_t *)t->data + i * sizeof bits, sizeof bits);
    return bits;
}

/* Is element i less than element k? A double cannot tell large integers
 * apart. */
static bool
is_less(const kerf_tensor *t, size_t i, size_t k)
{
    if (t->dtype == KERF_I64)
        return (int64_t)bits_at(t, i) < (int64_t)bits_at(t, k);
    if (t->dtype == KERF_U64)
        return bits_at(t, i) < bits_at(t, k);
    return kerf_tensor_at(t, i) < kerf_tensor_at(t, k);
}

void
kerf_values_of(kerf_values *v, const kerf_tensor *t)
{
    size_t size = kerf_dtype_size(t->dtype);
    size_t n = size == 0 ? 0 : t->bytes / size;
    double mean = 0.0;
    double squares = 0.0; /* of the distances from the mean: Welford */

    *v = (kerf_values){.min = NAN, .max = NAN, .mean = NAN, .std = NAN};
    for (size_t i = 0; i < n; i++) {
        double x = kerf_tensor_at(t, i);
        double off = x - mean;

        if (!isfinite(x)) {
            v->odd++;
            continue;
        }
        v->min_at = v->good == 0 || is_less(t, i, v->min_at) ? i : v->min_at;
        v->max_at = v->good == 0 || is_less(t, v->max_at, i) ? i : v->max_at;
        v->good++;
        mean += off / (double)v->good;
        squares += off * (x - mean);
    }
    if (v->good == 0)
        return;
    v->min = kerf_tensor_at(t, v->min_at);
    v->max = kerf_tensor_at(t, v->max_at);
    v->mean = mean;
    v->std = sqrt(squares / (double)v->good);
}

static json_t *
number(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

/* Element i: an integer stays one. */
static json_t *
element(const kerf_tensor *t, size_t i)
{
    double v = kerf_tensor_at(t, i);

    if (!is_integer(t->dtype))
        return number(v);
    if (t->dtype == KERF_U64 && bits_at(t, i) > INT64_MAX)
        return json_real(v); /* the library's integers end there */
    if (t->dtype == KERF_I64 || t->dtype == KERF_U64)
        return json_integer((json_int_t)bits_at(t, i));
    return json_integer((json_int_t)v);
}

static json_t *
output_json(const kerf_tensor *t, const kerf_port *port)
{
    json_t *o = json_object();
    json_t *shape = json_array();
    size_t size = kerf_dtype_size(t->dtype);
    size_t n = size == 0 ? 0 : t->bytes / size;
    kerf_values v;

    kerf_values_of(&v, t);
    for (uint32_t i = 0; i < t->shape.rank; i++)
        (void)json_array_append_new(shape, json_integer(t->shape.dims[i]));
    if (port != NULL)
        (void)json_object_set_new(o, "name", kerf_json_text(port->name));
    (void)json_object_set_new(o, "dtype",
                              json_string(kerf_dtype_name(t->dtype)));
    (void)json_object_set_new(o, "shape", shape);
    (void)json_object_set_new(o, "min",
                              v.good == 0 ? json_null() : element(t, v.min_at));
    (void)json_object_set_new(o, "max",
                              v.good == 0 ? json_null() : element(t, v.max_at));
    (void)json_object_set_new(o, "mean", number(v.mean));
    (void)json_object_set_new(o, "std", number(v.std));
    if (n <= KERF_SHOW_VALUES_MAX) {
        json_t *values = json_array();

        for (size_t i = 0; i < n; i++)
            (void)json_array_append_new(values, element(t, i));
        (void)json_object_set_new(o, "values", values);
    }
    return o;
}

void
kerf_show_json_answer(const kerf_answer *a, const kerf_judged *j)
{
    json_t *o = json_object();
    json_t *top = json_array();
    json_t *outputs = json_array();
    json_t *stages = json_object();

    for (size_t i = 0; i < j->top_count; i++) {
        json_t *one = json_object();
        char label[4096];

        (void)json_object_set_new(one, "index",
                                  json_integer((json_int_t)j->top[i].index));
        (void)json_object_set_new(
            one, "label",
            json_string(kerf_show_label(label, sizeof label, a->card,
                                        j->top[i].index)));
        (void)json_object_set_new(one, "score", number(j->top[i].score));
        (void)json_array_append_new(top, one);
    }
    for (size_t i = 0; i < a->out_count; i++)
        (void)json_array_append_new(
            outputs,
            output_json(&a->out[i], a->port == NULL ? NULL : &a->port[i]));
    for (int i = 0; i < KERF_STAGE_COUNT; i++)
        (void)json_object_set_new(stages, kerf_stage_name((kerf_stage)i),
                                  json_real((double)a->stages.ns[i] / 1e3));
    (void)json_object_set_new(o, "event", json_string("result"));
    (void)json_object_set_new(o, "index", json_integer((json_int_t)a->index));
    (void)json_object_set_new(o, "input", kerf_json_text(a->input));
    if (a->via != NULL)
        (void)json_object_set_new(o, "via", json_string(a->via));
    (void)json_object_set_new(o, "top", top);
    (void)json_object_set_new(o, "outputs", outputs);
    (void)json_object_set_new(o, "bytes_sent",
                              json_integer((json_int_t)a->bytes_sent));
    if (a->tensor_bytes > 0) {
        (void)json_object_set_new(
            o, "codec", json_string(a->codec == NULL ? "raw" : a->codec));
        (void)json_object_set_new(o, "tensor_bytes",
                                  json_integer((json_int_t)a->tensor_bytes));
        (void)json_object_set_new(o, "coded_bytes",
                                  json_integer((json_int_t)a->coded_bytes));
    }
    if (a->late)
        (void)json_object_set_new(o, "late", json_true());
    if (a->earlier)
        (void)json_object_set_new(o, "earlier", json_true());
    (void)json_object_set_new(o, "stages_us", stages);
    (void)json_object_set_new(
        o, "total_us", json_real((double)kerf_stages_total(&a->stages) / 1e3));
    if (j->has_truth) {
        (void)json_object_set_new(o, "truth", kerf_json_text(j->truth));
        (void)json_object_set_new(o, "right", json_boolean(j->right));
    }
    kerf_json_line(o);
}

void
kerf_show_json_error(const char *event, uint64_t index, const char *input,
                     const char *why, bool earlier)
{
    json_t *o = json_object();

    (void)json_object_set_new(o, "event", json_string(event));
    (void)json_object_set_new(o, "index", json_integer((json_int_t)index));
    (void)json_object_set_new(o, "input", kerf_json_text(input));
    if (why != NULL)
        (void)json_object_set_new(o, "why", kerf_json_text(why));
    if (earlier)
        (void)json_object_set_new(o, "earlier", json_true());
    kerf_json_line(o);
}

void
kerf_show_json_summary(kerf_show *show)
{
    uint64_t asked = show->answered + show->failed + show->skipped + show->left;
    json_t *o = json_object();
    json_t *stages = json_object();
    uint64_t timed = show->answered - show->late;
    double n = timed == 0 ? 1.0 : (double)timed;

    for (int i = 0; i < KERF_STAGE_COUNT; i++)
        (void)json_object_set_new(stages, kerf_stage_name((kerf_stage)i),
                                  json_real(show->stage_sum[i] / n / 1e3));
    (void)json_object_set_new(o, "event", json_string("summary"));
    (void)json_object_set_new(o, "asked", json_integer((json_int_t)asked));
    (void)json_object_set_new(o, "answered",
                              json_integer((json_int_t)show->answered));
    (void)json_object_set_new(o, "failed",
                              json_integer((json_int_t)show->failed));
    (void)json_object_set_new(o, "skipped",
                              json_integer((json_int_t)show->skipped));
    if (show->has_via) {
        uint64_t other = show->local + show->late;

        (void)json_object_set_new(
            o, "via_cloud", json_integer((json_int_t)(show->answered - other)));
        (void)json_object_set_new(o, "via_local",
                                  json_integer((json_int_t)show->local));
        (void)json_object_set_new(o, "via_queued",
                                  json_integer((json_int_t)show->late));
        (void)json_object_set_new(o, "left_queued",
                                  json_integer((json_int_t)show->left));
    }
    if (show->judged > 0) {
        (void)json_object_set_new(o, "judged",
                                  json_integer((json_int_t)show->judged));
        (void)json_object_set_new(o, "right",
                                  json_integer((json_int_t)show->right));
    }
    (void)json_object_set_new(
        o, "p50_us", json_real(kerf_stats_quantile(&show->total_us, 0.5)));
    (void)json_object_set_new(
        o, "p99_us", json_real(kerf_stats_quantile(&show->total_us, 0.99)));
    (void)json_object_set_new(
        o, "split_p50_us",
        json_real(kerf_stats_quantile(&show->split_us, 0.5)));
    (void)json_object_set_new(
        o, "split_p99_us",
        json_real(kerf_stats_quantile(&show->split_us, 0.99)));
    if (show->last_ns > show->first_ns) {
        (void)json_object_set_new(
            o, "throughput_hz",
            json_real((double)(show->answered - 1) * 1e9 /
                      (double)(show->last_ns - show->first_ns)));
    }
    (void)json_object_set_new(o, "bytes_sent",
                              json_integer((json_int_t)show->bytes_sent));
    if (show->tensor_bytes > 0) {
        (void)json_object_set_new(o, "tensor_bytes",
                                  json_integer((json_int_t)show->tensor_bytes));
        (void)json_object_set_new(o, "coded_bytes",
                                  json_integer((json_int_t)show->coded_bytes));
    }
    (void)json_object_set_new(o, "stages_us", stages);
    kerf_json_line(o);
}
