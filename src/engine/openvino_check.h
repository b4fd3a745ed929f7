/*
 * openvino_check.h - looks at a model's bytes before OpenVINO does, and says
 * what is wrong with them when it refuses. No OpenVINO in here.
 * Threads: pure.
 */
#ifndef KERF_ENGINE_OPENVINO_CHECK_H
#define KERF_ENGINE_OPENVINO_CHECK_H

#include "kerf/engine.h"

/* Foreign, truncated or incomplete files.
 * Errors: KERF_ECORRUPT, KERF_ENOTSUP, KERF_ETOOBIG, KERF_ENOMEM. */
kerf_err kerf_openvino_check(const kerf_model_bytes *m, kerf_detail *why);

/* OpenVINO has refused to read m and said `said`: our words for it. */
kerf_err kerf_openvino_explain(const kerf_model_bytes *m, kerf_err err,
                               const kerf_detail *said, kerf_detail *why);

#endif
