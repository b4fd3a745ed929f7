/*
 * openvino.h - what openvino.c and openvino_load.c share. Only these two
 * include it: OpenVINO's C enumerators are unprefixed (OK, F32, RGB).
 */
#ifndef KERF_ENGINE_OPENVINO_H
#define KERF_ENGINE_OPENVINO_H

#include "engine/engine.h"

#include <openvino/c/openvino.h>

struct ov_engine {
    kerf_engine base;
    ov_core_t *core;
    char device[32];
    char threads[16];
    const char *precision;
    char version[128];
};

struct ov_net {
    kerf_net base;
    ov_compiled_model_t *compiled;
    ov_element_type_e in_type[KERF_PORTS_MAX];
    ov_element_type_e out_type[KERF_PORTS_MAX];
    /* Of each output: 1 + the input that it is, unchanged; 0: none. OpenVINO
     * does not write such an output into memory that was bound to it. */
    size_t passed[KERF_PORTS_MAX];
};

/* kerf_backend.read, .drop, .peek, .reshape, .compile */
kerf_err kerf_openvino_read(kerf_engine *engine, kerf_graph_read *read,
                            const kerf_model_bytes *m, kerf_detail *why);
void kerf_openvino_drop(kerf_graph_read *read);
kerf_err kerf_openvino_peek(const kerf_graph_read *read, size_t i,
                            bool *is_known, kerf_dtype *dtype,
                            kerf_shape *shape, kerf_detail *why);
kerf_err kerf_openvino_reshape(kerf_graph_read *read, const kerf_shape *want,
                               kerf_detail *why);
kerf_err kerf_openvino_compile(kerf_engine *engine, kerf_net **out,
                               kerf_graph_read *read, const kerf_shape *want,
                               const kerf_card *prep, size_t image_port,
                               kerf_detail *why);

/* The real reason of the failure just met on this thread, as one line after
 * "doing: ". Returns err, or KERF_ENOMEM when that was the reason. */
kerf_err kerf_openvino_fail(kerf_detail *why, kerf_err err, const char *doing);

/* False for an element type that no kerf_dtype stands for. */
bool kerf_openvino_dtype(ov_element_type_e type, kerf_dtype *out);
ov_element_type_e kerf_openvino_type(kerf_dtype dtype);

#endif
