#include "bench/boxes.h"

#include <math.h>
#include <stdlib.h>

#define SCORE_LEAST 0.5
#define IOU_SAME 0.5
#define IOU_OVER 0.45
#define BOX_VALUES 5

static double
sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static double
iou(const kerf_box *a, const kerf_box *b)
{
    double width = fmin(a->right, b->right) - fmax(a->left, b->left);
    double height = fmin(a->bottom, b->bottom) - fmax(a->top, b->top);
    double both = fmax(width, 0) * fmax(height, 0);
    double any = (a->right - a->left) * (a->bottom - a->top) +
                 (b->right - b->left) * (b->bottom - b->top) - both;

    return any > 0 ? both / any : 0;
}

/* One cell; v[k * plane] is its value k. False: under the least score. */
static bool
read_cell(kerf_box *box, const float *v, size_t plane, size_t classes,
          const double at[2], const double size[2])
{
    size_t best = 0;
    double x = (at[0] + tanh((double)v[plane])) / size[0];
    double y = (at[1] + tanh((double)v[2 * plane])) / size[1];
    double half_width = sigmoid((double)v[3 * plane]) / 2;
    double half_height = sigmoid((double)v[4 * plane]) / 2;

    for (size_t c = 1; c < classes; c++) {
        if (v[(BOX_VALUES + c) * plane] > v[(BOX_VALUES + best) * plane])
            best = c;
    }
    *box = (kerf_box){
        .left = x - half_width,
        .right = x + half_width,
        .top = y - half_height,
        .bottom = y + half_height,
        .class = (int64_t)best,
        .score = pow(fmax((double)v[0], 0), 0.6) *
                 pow(fmax((double)v[(BOX_VALUES + best) * plane], 0), 0.4)};
    return box->score > SCORE_LEAST;
}

static int
by_score(const void *a, const void *b)
{
    double x = ((const kerf_box *)a)->score;
    double y = ((const kerf_box *)b)->score;

    return x < y ? 1 : x > y ? -1 : 0;
}

/* Drops boxes over better ones. */
static void
thin_out(kerf_boxes *b)
{
    size_t kept = 0;

    qsort(b->box, b->count, sizeof *b->box, by_score);
    for (size_t i = 0; i < b->count; i++) {
        size_t k = 0;

        while (k < kept && iou(&b->box[i], &b->box[k]) < IOU_OVER)
            k++;
        if (k == kept)
            b->box[kept++] = b->box[i];
    }
    b->count = kept;
}

bool
kerf_boxes_read(kerf_boxes *out, const kerf_tensor *t)
{
    const int64_t *d = t->shape.dims;
    size_t plane;

    out->count = 0;
    if (t->dtype != KERF_F32 || t->shape.rank != 4 || d[0] != 1 ||
        d[1] <= BOX_VALUES || d[2] < 1 || d[3] < 1)
        return false;
    plane = (size_t)(d[2] * d[3]);
    for (size_t i = 0; i < plane && out->count < KERF_BOXES_MAX; i++) {
        size_t row = i / (size_t)d[3];
        size_t column = i % (size_t)d[3];
        const double at[2] = {(double)column, (double)row};
        const double size[2] = {(double)d[3], (double)d[2]};

        out->count +=
            read_cell(&out->box[out->count], (const float *)t->data + i, plane,
                      (size_t)d[1] - BOX_VALUES, at, size);
    }
    thin_out(out);
    return true;
}

double
kerf_boxes_f1(const kerf_boxes *a, const kerf_boxes *b)
{
    bool taken[KERF_BOXES_MAX] = {false};
    size_t matched = 0;

    if (a->count + b->count == 0)
        return 1;
    for (size_t i = 0; i < a->count; i++) {
        size_t best = b->count;
        double most = IOU_SAME;

        for (size_t k = 0; k < b->count; k++) {
            double over = iou(&a->box[i], &b->box[k]);

            if (!taken[k] && a->box[i].class == b->box[k].class &&
                over >= most) {
                most = over;
                best = k;
            }
        }
        if (best < b->count) {
            taken[best] = true;
            matched++;
        }
    }
    return 2.0 * (double)matched / (double)(a->count + b->count);
}
