/*
 * openvino_ops.h - what OpenVINO's Paddle frontend converts. Threads: pure.
 */
#ifndef KERF_ENGINE_OPENVINO_OPS_H
#define KERF_ENGINE_OPENVINO_OPS_H

#include "graph/pdmodel.h"

bool kerf_openvino_has_op(const kerf_pd_text *type);

#endif
