/*
 * whole.h - a whole model on this machine: found, loaded with its rules, with
 * memory for its inputs.
 * Threads: one.
 */
#ifndef KERF_CLI_WHOLE_H
#define KERF_CLI_WHOLE_H

#include "cli/rules.h"
#include "kerf/engine.h"
#include "model/model_file.h"

typedef struct kerf_engine_flags {
    const char *kind;
    int precision, threads;
} kerf_engine_flags;

#define KERF_ENGINE_DEFAULTS \
    {                        \
        .threads = 1         \
    }

/* clang-format off */
#define KERF_ENGINE_ROWS(e) \
    {.kind = KERF_OPT_GROUP, .help = "engine"}, \
    {.name = "engine", .kind = KERF_OPT_TEXT, .to = &(e)->kind, \
        .value = "openvino|fake", .help = "fake: for tests (default openvino)"}, \
    {.name = "precision", .kind = KERF_OPT_CHOICE, .to = &(e)->precision, \
        .choices = "f32|bf16", .help = "bf16: faster, less exact"}, \
    {.name = "threads", .kind = KERF_OPT_INT, .to = &(e)->threads, \
        .min = 1, .max = 256, .help = "per inference"}
/* clang-format on */

/* The flags as kerf/engine.h has them. */
kerf_engine_opts kerf_engine_flags_opts(const kerf_engine_flags *flags);

typedef struct kerf_whole {
    kerf_model_file file;
    kerf_card card; /* settled when is_image */
    bool is_image;  /* inputs are u8 images */
    size_t image_port;
    kerf_engine *engine;
    kerf_net *net;
    kerf_request *request;
    size_t in_count, out_count;
    kerf_port in_port[KERF_PORTS_MAX], out_port[KERF_PORTS_MAX];
    kerf_tensor in[KERF_PORTS_MAX]; /* bound to the request */
} kerf_whole;

/* The model's files and its card with the flags over it; nothing loaded yet.
 * *w must be zeroed, and closed also after an error. */
KERF_NODISCARD kerf_err kerf_whole_find(kerf_whole *w, const char *path,
                                        const kerf_rules *rules,
                                        kerf_detail *why);
/* Opens the engine, loads the network (image: the input is an image, prepared
 * by the card's rules), makes memory, and runs once to warm up. */
KERF_NODISCARD kerf_err kerf_whole_load(kerf_whole *w,
                                        const kerf_engine_flags *flags,
                                        bool image, kerf_detail *why);
void kerf_whole_close(kerf_whole *w);

#endif
