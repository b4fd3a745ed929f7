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
/* Whether the labels are as many as output 0 has classes, when the task is to
 * classify and the network says how many that are. Errors: KERF_EINVAL. */
KERF_NODISCARD kerf_err kerf_whole_check_labels(const kerf_card *card,
                                                const kerf_net *net,
                                                kerf_detail *why);
/* Opens the engine, loads the network (image: the input is an image, prepared
 * by the card's rules), makes memory, and runs once to warm up. */
KERF_NODISCARD kerf_err kerf_whole_load(kerf_whole *w,
                                        const kerf_engine_opts *engine,
                                        bool image, kerf_detail *why);
void kerf_whole_close(kerf_whole *w);

#endif
