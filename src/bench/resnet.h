/*
 * resnet.h - a cut ResNet18 at 1x3x32x32 with seeded weights, as ONNX files: a
 * network of the size that people split, where no trained one is at hand.
 * Threads: any, on different folders.
 */
#ifndef KERF_BENCH_RESNET_H
#define KERF_BENCH_RESNET_H

#include "kerf/err.h"

#define KERF_RESNET_NAME "resnet18_32"

/* Writes client_infer_resnet18_32.onnx (to layer 1: 64x8x8 crosses) and
 * server_infer_resnet18_32.onnx (the rest, 10 classes) into dir.
 * Errors: KERF_ENOMEM, and those of kerf_fs_write(). */
KERF_NODISCARD kerf_err kerf_resnet_write(const char *dir, kerf_detail *why);

#endif
