/*
 * boxes.h - the boxes that FastestDet (YOLO without anchors, one scale) says,
 * and how alike two sets of them are. Threads: pure.
 */
#ifndef KERF_BENCH_BOXES_H
#define KERF_BENCH_BOXES_H

#include "kerf/tensor.h"

#define KERF_BOXES_MAX 512

typedef struct kerf_box {
    double left, top, right, bottom; /* parts of the picture */
    double score;
    int64_t class;
} kerf_box;

typedef struct kerf_boxes {
    size_t count;
    kerf_box box[KERF_BOXES_MAX];
} kerf_boxes;

/*
 * From f32 [1, 5 + classes, rows, columns]: objectness, four box values, scores
 * of classes. Boxes of a score over 0.5, the best first, none over another of
 * 0.45 IoU. False: the tensor is not of that form.
 */
bool kerf_boxes_read(kerf_boxes *out, const kerf_tensor *t);

/* Of boxes that have one of the same class and 0.5 IoU in the other set; 1 when
 * both are empty. */
double kerf_boxes_f1(const kerf_boxes *a, const kerf_boxes *b);

#endif
