/*
 * rules.h - the flags that say how an image becomes the network's input, and
 * what its output means: one set for run, card and whoever loads a model.
 * Threads: one.
 */
#ifndef KERF_CLI_RULES_H
#define KERF_CLI_RULES_H

#include "cli/opts.h"
#include "kerf/card.h"

typedef struct kerf_rules {
    const char *card;   /* file; NULL: the one beside the model */
    const char *labels; /* file */
    bool own_card;      /* a card beside the model counts only by its name */
    int size[2];        /* height, width */
    int resize, colour, layout, task, scores, pad;
    kerf_reals mean, std;
    double scale;
    bool has_size, has_resize, has_colour, has_layout, has_mean, has_std;
    bool has_scale, has_task, has_scores, has_pad;
} kerf_rules;

#define KERF_RULES_DEFAULTS      \
    {                            \
        .pad = 114, .scale = 1.0 \
    }

/* Rows for an option table. */
/* clang-format off */
#define KERF_RULES_ROWS(r) \
    {.kind = KERF_OPT_GROUP, .help = "how an image becomes the input:  " \
        "value = (pixel * scale - mean) / std"}, \
    {.name = "card", .kind = KERF_OPT_TEXT, .to = &(r)->card, \
        .value = "FILE", \
        .help = "rules and labels (default NAME.kerf.json beside the model)"}, \
    {.name = "size", .kind = KERF_OPT_SIZE, .to = (r)->size, \
        .given = &(r)->has_size, \
        .help = "height and width, where the model leaves them open"}, \
    {.name = "resize", .kind = KERF_OPT_CHOICE, .to = &(r)->resize, \
        .given = &(r)->has_resize, .choices = "stretch|letterbox|crop", \
        .help = "how an image gets that size", .no_default = true}, \
    {.name = "colour", .also = "color", .kind = KERF_OPT_CHOICE, \
        .to = &(r)->colour, .given = &(r)->has_colour, \
        .choices = "rgb|bgr|gray", .help = "channel order", \
        .no_default = true}, \
    {.name = "layout", .kind = KERF_OPT_CHOICE, .to = &(r)->layout, \
        .given = &(r)->has_layout, .choices = "nchw|nhwc", \
        .help = "order of the dims, where the model leaves it open", \
        .no_default = true}, \
    {.name = "scale", .kind = KERF_OPT_REAL, .to = &(r)->scale, \
        .given = &(r)->has_scale, .min = -1e9, .max = 1e9, \
        .help = "a number or a fraction, as 1/255", .no_default = true}, \
    {.name = "mean", .kind = KERF_OPT_REALS, .to = &(r)->mean, \
        .given = &(r)->has_mean, \
        .help = "for all channels, or one each in the order of --colour"}, \
    {.name = "std", .kind = KERF_OPT_REALS, .to = &(r)->std, \
        .given = &(r)->has_std, .help = "the same"}, \
    {.name = "pad", .kind = KERF_OPT_INT, .to = &(r)->pad, \
        .given = &(r)->has_pad, .min = 0, .max = 255, \
        .help = "grey of the bars of --resize letterbox"}, \
    {.kind = KERF_OPT_GROUP, .help = "what the output means"}, \
    {.name = "labels", .kind = KERF_OPT_TEXT, .to = &(r)->labels, \
        .value = "FILE", .help = "one label per line"}, \
    {.name = "task", .kind = KERF_OPT_CHOICE, .to = &(r)->task, \
        .given = &(r)->has_task, .choices = "raw|classify", \
        .help = "(default classify when there are labels, else raw)", \
        .no_default = true}, \
    {.name = "scores", .kind = KERF_OPT_CHOICE, .to = &(r)->scores, \
        .given = &(r)->has_scores, .choices = "probabilities|logits", \
        .help = "what the scores are (default: looked at)", \
        .no_default = true}
/* clang-format on */

/* Puts the flags that were given over the card's rules, reads the labels.
 * Errors: those of kerf_card_read_labels(). */
KERF_NODISCARD kerf_err kerf_rules_apply(const kerf_rules *rules,
                                         kerf_card *card, kerf_detail *why);

/* The name of the first rule given that only an image can have; NULL: none. */
const char *kerf_rules_image(const kerf_rules *rules);

/* Whether any was given, a card or labels too. */
bool kerf_rules_given(const kerf_rules *rules);

#endif
