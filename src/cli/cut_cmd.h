/*
 * cut_cmd.h - what the parts of `kerf cut` share: its flags, and a model opened
 * by them.
 * Threads: one.
 */
#ifndef KERF_CLI_CUT_CMD_H
#define KERF_CLI_CUT_CMD_H

#include "cli/cmd.h"
#include "cli/rules.h"
#include "cut/make.h"
#include "kerf/cloud_opts.h"

typedef struct kerf_cut_flags {
    const char *arg[2]; /* MODEL, or HEAD and TAIL */
    const char *at, *out, *name, *svg;
    bool json, prove, no_proof, force, info, join;
    bool has_tolerance;
    double tolerance;
    kerf_list input, shape;
    kerf_rules rules;
    kerf_engine_opts engine;
    kerf_cmd_common common;
} kerf_cut_flags;

/* Maps (read: reads) the model f->arg[0], its card with the flags over it, and
 * settles its inputs. *m must be zeroed, and is closed by the caller also after
 * an error. */
KERF_NODISCARD kerf_err kerf_cut_cmd_open(const kerf_cut_flags *f, bool read,
                                          kerf_cut_model *m, kerf_detail *why);
/* Opens the engine and types the model's tensors with it. */
KERF_NODISCARD kerf_err kerf_cut_cmd_type(const kerf_cut_flags *f,
                                          kerf_cut_model *m,
                                          kerf_engine **engine,
                                          kerf_detail *why);
/* The cut that --at names; *cut is finished first. Errors: kerf_cut_at()'s. */
KERF_NODISCARD kerf_err kerf_cut_cmd_find(const kerf_cut_flags *f,
                                          const kerf_cut_model *m,
                                          kerf_cut *cut, kerf_detail *why);
/* The model's note, if any, as one line on stderr. */
void kerf_cut_cmd_note(const kerf_cut_model *m);
kerf_proof_opts kerf_cut_cmd_proof(const kerf_cut_flags *f);

/* cut_pair.c: f->arg[0] cut at f->at and proved, in memory, for a cloud. */
typedef struct kerf_cut_served {
    kerf_cloud_maker maker;
    const kerf_cut_flags *flags; /* borrowed */
    char name[KERF_NAME_MAX];    /* of the pair */
    char dir[KERF_CLOUD_MAKER_DIRS][KERF_PATH_MAX];
} kerf_cut_served;

/* Finds the model; s->maker points into *s, which stays where it is. Its make()
 * has the errors of cut/make.h and cut/prove.h, and KERF_EAGAIN when files
 * change meanwhile. Errors: those of kerf_model_file_find(). */
KERF_NODISCARD kerf_err kerf_cut_served_init(kerf_cut_served *s,
                                             const kerf_cut_flags *f,
                                             kerf_detail *why);

/* Each does one thing of `kerf cut` and returns the exit status. */
int kerf_cut_cmd_at(const kerf_cut_flags *f);    /* cut_make.c */
int kerf_cut_cmd_join(const kerf_cut_flags *f);  /* cut_make.c */
int kerf_cut_cmd_prove(const kerf_cut_flags *f); /* cut_prove.c */
int kerf_cut_cmd_info(const kerf_cut_flags *f);  /* cut_info.c */

#endif
