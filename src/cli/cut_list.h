/*
 * cut_list.h - the cuts of a model as `kerf cut` lists them: what stands out,
 * which one to take, and how each is shown: a table, JSON, a picture.
 * Threads: one.
 */
#ifndef KERF_CLI_CUT_LIST_H
#define KERF_CLI_CUT_LIST_H

#include "cli/term.h"
#include "cut/model.h"

#include <jansson.h>

typedef struct kerf_cut_mark {
    bool is_below;    /* crosses fewer bytes than the input itself has */
    bool is_smallest; /* fewer than every cut before it */
} kerf_cut_mark;

/*
 * Cuts to look at first, with work on both sides. What a cut is worth depends
 * on the link and the two machines, which the model does not say; these need
 * neither: less work in the head always costs more bytes than they do.
 */
typedef enum kerf_cut_pick {
    KERF_PICK_LESS,    /* the first that crosses less than the input has */
    KERF_PICK_LESS_Q8, /* the same with floats as 8 bits each */
    KERF_PICK_FEWEST,  /* the fewest bytes */
    KERF_PICK_COUNT
} kerf_cut_pick;

typedef struct kerf_cut_list {
    const kerf_cut_model *model; /* borrowed */
    kerf_cuts cuts;
    kerf_cut_mark *mark; /* owned; one for each */
    size_t refused;
    size_t pick[KERF_PICK_COUNT]; /* indices; cuts.count: none */
} kerf_cut_list;

/* Errors: KERF_ENOMEM, those of kerf_cuts_list(). */
KERF_NODISCARD kerf_err kerf_cut_list_make(kerf_cut_list *list,
                                           const kerf_cut_model *model,
                                           kerf_detail *why);
void kerf_cut_list_fini(kerf_cut_list *list); /* accepts a zeroed one */

/* True when there is no such cut, or one before it in the enum is the same:
 * each is shown once. */
bool kerf_cut_is_repeated(const kerf_cut_list *list, kerf_cut_pick pick);

/* The tensor and the op just before the cut; "" for cut 0. */
const char *kerf_cut_after(const kerf_graph *g, const kerf_cut *cut);
const char *kerf_cut_after_op(const kerf_graph *g, const kerf_cut *cut);
/* What --at takes for this cut: its tensors, or its number where names are too
 * long, or not plain words for a shell. Returns out. */
char *kerf_cut_at_text(char *out, size_t cap, const kerf_graph *g,
                       const kerf_cut *cut);
/* Bytes that cross with floats as 8 bits each (kerf edge --codec q8). */
uint64_t kerf_cut_q8_bytes(const kerf_graph *g, const kerf_cut *cut);
/* The head's part of all FLOPs; negative: not known. */
double kerf_cut_head_share(const kerf_cut *cut);

/* "1x64x56x56", "?" where free, "scalar", "?" when nothing is known. */
char *kerf_cut_shape_text(char out[KERF_SHAPE_TEXT], const kerf_value *v);
/* 4 columns at most: "950", "1.2k", "25M". */
char *kerf_cut_count_text(char out[16], uint64_t n);
/* "803 KB", "1.61 MB": 7 columns at most. */
char *kerf_cut_bytes_text(char out[16], uint64_t bytes);

/* New references: tensors with dtype, shape and bytes; a cut with all its
 * members. */
json_t *kerf_cut_tensors_json(const kerf_graph *g, const uint32_t *value,
                              size_t count);
json_t *kerf_cut_json(const kerf_cut_list *list, size_t i);

/* cut_show.c: the table and the summary below it. */
void kerf_cut_show(const kerf_cut_list *list, const char *path);
/* cut_plot.c: bytes and parameters along the depth, drawn by gnuplot.
 * Errors: KERF_ENOENT (no gnuplot), KERF_EIO, KERF_ENOSPC, KERF_EINVAL (no cut
 * has a size that is known). */
KERF_NODISCARD kerf_err kerf_cut_plot(const kerf_cut_list *list,
                                      const char *path, kerf_detail *why);

#endif
