/*
 * model.h - a model opened to be cut: its files, its graph, its card, and the
 * types of its tensors as far as an engine or the file says them.
 *
 *     kerf_cut_open() -> rules over m->card -> kerf_cut_settle()
 *         -> kerf_cut_type() -> kerf_cuts_list(m->graph), kerf_cut_at(), ...
 *
 * Threads: one owner; the bytes and the graph may be read by many.
 */
#ifndef KERF_CUT_MODEL_H
#define KERF_CUT_MODEL_H

#include "graph/cuts.h"
#include "kerf/engine.h"
#include "model/model_file.h"

/* Zeroed: not open. */
typedef struct kerf_cut_model {
    kerf_model_file file;
    kerf_graph *graph;
    kerf_card card; /* of the file beside the model; else defaults */
    bool has_card;  /* there is one, or rules were given ... */
    bool has_rules; /* ... which the caller, who gave them, says here */
    /* Set by kerf_cut_settle(), in the order of the network's inputs: */
    kerf_port in[KERF_PORTS_MAX];
    kerf_shape fixed[KERF_PORTS_MAX]; /* for one sample; -1 where not known */
    bool is_settled;                  /* all of fixed is */
    size_t image_port;    /* of rank 4, 1 or 3 channels; KERF_PORTS_MAX: none */
    uint64_t input_bytes; /* of one sample, an image as u8; 0: not known */
    kerf_detail note;     /* "", or why sizes are not (all) known */
} kerf_cut_model;

/*
 * Finds, maps (read: reads, because the files may change meanwhile) and parses
 * the model and the card beside it. *m must be zeroed, and is closed by the
 * caller also after an error.
 * Errors: those of kerf_model_file_open(), kerf_graph_open(), kerf_card_read().
 */
KERF_NODISCARD kerf_err kerf_cut_open(kerf_cut_model *m, const char *path,
                                      bool read, kerf_detail *why);
void kerf_cut_close(kerf_cut_model *m); /* accepts a zeroed one */

/* The model as the engine takes it; m stays the owner. */
kerf_model_bytes kerf_cut_bytes(const kerf_cut_model *m);

/*
 * Shapes of the inputs for one sample: a free batch is 1; the card gives height
 * and width; shape[] says others, "NAME=1x3x224x224". What stays free is said
 * in m->note.
 * Errors: KERF_ENOENT (an input of that name), KERF_EINVAL (a text that is no
 * shape, or one that does not fit), KERF_ENOTSUP (too many inputs).
 */
KERF_NODISCARD kerf_err kerf_cut_settle(kerf_cut_model *m,
                                        const char *const *shape, size_t count,
                                        kerf_detail *why);

/*
 * Types of all tensors through the engine; where it cannot read the network
 * (m->note says why), or engine is NULL, what the file says.
 * Errors: KERF_ENOMEM, those of kerf_graph_write_probe().
 */
KERF_NODISCARD kerf_err kerf_cut_type(kerf_cut_model *m, kerf_engine *engine,
                                      kerf_detail *why);

#endif
