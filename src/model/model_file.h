/*
 * model_file.h - find the files of one model and read them.
 *
 * A model is named by its graph file (.pdmodel, .onnx, .xml), by the path
 * without that ending, or by a folder that holds one model (halves of a cut,
 * client_infer_* and server_infer_*, do not count there). Paddle 3's programs
 * (.json; in a folder only with their .pdiparams, or called inference.json) are
 * read as the .pdmodel that graph/pir.h makes of them.
 * Its card is NAME.kerf.json beside it; else the only *.kerf.json there, when
 * the folder holds no other whole model.
 * Threads: values.
 */
#ifndef KERF_MODEL_FILE_H
#define KERF_MODEL_FILE_H

#include "base/fs.h"
#include "base/map.h"
#include "kerf/card.h"
#include "kerf/model.h"

typedef struct kerf_model_file {
    char name[KERF_NAME_MAX]; /* "resnet20"; the folder's for inference.* */
    char graph_path[KERF_PATH_MAX];
    char weights_path[KERF_PATH_MAX]; /* "" when there is no such file */
    char card_path[KERF_PATH_MAX];    /* "" when there is no such file */
    bool card_is_other; /* that card does not have this model's name */
    kerf_format format;
    const uint8_t *graph, *weights; /* weights may be NULL */
    size_t graph_len, weights_len;
    uint8_t *read[2];   /* owned; where they are when they were read */
    kerf_map mapped[2]; /* ... or mapped */
} kerf_model_file;

/* Only the names and paths: nothing is opened, and the data is NULL. *f is
 * untouched on error. Errors: KERF_ENOENT, KERF_EINVAL, KERF_ETOOBIG, as for
 * kerf_model_file_open(). */
KERF_NODISCARD kerf_err kerf_model_file_find(kerf_model_file *f,
                                             const char *path,
                                             kerf_detail *why);
/* Where a card for this model is written: NAME.kerf.json beside the graph. */
KERF_NODISCARD kerf_err kerf_model_file_card(const kerf_model_file *f,
                                             char out[KERF_PATH_MAX]);

/* Finds and reads. *f is untouched on error.
 * Errors: KERF_ENOENT, KERF_ENOTSUP (ops of a .json program), KERF_ECORRUPT (of
 * a .json program), KERF_EINVAL (several models, or none of ours),
 * KERF_ETOOBIG, KERF_EIO, KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_model_file_open(kerf_model_file *f,
                                             const char *path,
                                             kerf_detail *why);
/* The same without reading: the files are mapped (see map.h). */
KERF_NODISCARD kerf_err kerf_model_file_map(kerf_model_file *f,
                                            const char *path, kerf_detail *why);
void kerf_model_file_close(kerf_model_file *f); /* accepts a zeroed one */

/* A view for the engine; f stays the owner. */
kerf_model_bytes kerf_model_file_bytes(const kerf_model_file *f);

/* Reads and parses a card file into *card (initialised). */
KERF_NODISCARD kerf_err kerf_card_read(kerf_card *card, const char *path,
                                       kerf_detail *why);

/* One label per line, UTF-8, into card->label (replaced); a leading index that
 * equals the line's number on every line ("0 tench") is dropped, and so are a
 * byte order mark and blank lines at the end.
 * Errors: KERF_ENOENT, KERF_ECORRUPT (not UTF-8), KERF_ETOOBIG, KERF_EINVAL (no
 * label, or too many), KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_card_read_labels(kerf_card *card, const char *path,
                                              kerf_detail *why);

#endif
