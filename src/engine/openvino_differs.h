/*
 * openvino_differs.h - ops of Paddle programs that OpenVINO converts without a
 * word, and computes otherwise than Paddle does. A proof cannot see it: the
 * whole and its halves agree. No OpenVINO in here.
 * Threads: pure.
 */
#ifndef KERF_ENGINE_OPENVINO_DIFFERS_H
#define KERF_ENGINE_OPENVINO_DIFFERS_H

#include "kerf/engine.h"

/* The first such op in m: its output and what is wrong with it into *what.
 * False when there is none, or m is no Paddle program. */
bool kerf_openvino_differs(const kerf_model_bytes *m, kerf_detail *what);

#endif
