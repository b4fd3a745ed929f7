/*
 * bundle.h - what is deployed for one cut: card, head and tail; and the
 * manifest that lists it for an edge. docs/PROTOCOL.md, "Manifest".
 *
 *     client_infer_NAME.pdmodel + .pdiparams | .onnx      the head
 *     server_infer_NAME.pdmodel + .pdiparams | .onnx      the tail
 *     NAME.kerf.json                                      the card, optional
 *     NAME.kerf.sig.json                                  who signed it,
 * optional
 *
 * The bundle's id is SHA-256 over its parts' roles, names, sizes and hashes, so
 * it names the content. Buffers, but for kerf_pair_read().
 * Threads: values.
 */
#ifndef KERF_MODEL_BUNDLE_H
#define KERF_MODEL_BUNDLE_H

#include "base/fs.h"
#include "base/hash.h"
#include "kerf/card.h"
#include "kerf/model.h"
#include "proto/frame.h"
#include "trust/statement.h"

typedef enum kerf_role {
    KERF_ROLE_CARD = 0,
    KERF_ROLE_HEAD_GRAPH = 1,
    KERF_ROLE_HEAD_WEIGHTS = 2,
    KERF_ROLE_TAIL_GRAPH = 3, /* stays on the cloud, as a rule */
    KERF_ROLE_TAIL_WEIGHTS = 4,
    KERF_ROLE_COUNT
} kerf_role;

#define KERF_PARTS_MAX KERF_ROLE_COUNT
#define KERF_PART_NAME 256        /* of a file, with the end */
#define KERF_PROBE_TOLERANCE 1e-3 /* another CPU sums in another order */

/* Whether the edge gets it: card and head; tails too, where the cloud shares
 * them. */
bool kerf_role_is_shipped(kerf_role role, bool tails);
/* The only name that a model's file of this role may have. False, and "", when
 * the format has no such role. name: kerf_text_is_name(), < KERF_NAME_MAX. */
bool kerf_role_file(char out[KERF_PART_NAME], kerf_role role,
                    kerf_format format, const char *name);

typedef struct kerf_unit { /* model/units.h */
    uint32_t len;          /* bytes */
    uint8_t sha256[KERF_SHA256_LEN];
} kerf_unit;

typedef struct kerf_file { /* one part */
    kerf_role role;
    char name[KERF_PART_NAME]; /* base name, kerf_text_is_name() */
    uint64_t size;
    uint8_t sha256[KERF_SHA256_LEN];
    size_t unit_count; /* 0: not known, it is shipped as one */
    kerf_unit *unit;   /* owned by the manifest; they cover it in order */
} kerf_file;

/* What the head must answer on the edge, computed on the cloud. */
typedef struct kerf_manifest {
    char name[KERF_NAME_MAX]; /* of the model: NAME */
    uint8_t id[KERF_BUNDLE_ID_LEN];
    kerf_format format;
    size_t file_count;
    kerf_file file[KERF_PARTS_MAX]; /* by role, tails included */
    size_t probe_count;
    kerf_probe *probe;      /* owned; of the head: seed -> sampled outputs */
    double probe_tolerance; /* of each output's range */
    kerf_signed sig;        /* as it came: nothing of it is checked */
} kerf_manifest;

void kerf_manifest_fini(kerf_manifest *m);
/* Sets id from the files. Canonical bytes: see PROTOCOL.md. */
KERF_NODISCARD kerf_err kerf_manifest_seal(kerf_manifest *m);
/* New JSON text -> free(). KERF_ENOMEM, also when a probe's value is not
 * finite. */
KERF_NODISCARD kerf_err kerf_manifest_format(const kerf_manifest *m,
                                             char **out);
/* From a peer or a file: every name, size (<= KERF_MODEL_BYTES_MAX), role and
 * count is checked, names must be the pair pattern of m->name, units must cover
 * their file, and the id must be that of the files, which stand in order of
 * role (the index of a part is the same on both sides). *m is overwritten;
 * untouched on error. Errors: KERF_ECORRUPT, KERF_EMISMATCH (id),
 * KERF_EVERSION, KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_manifest_parse(kerf_manifest *m, const void *json,
                                            size_t len, kerf_detail *why);
/* The file of that role, or NULL. */
const kerf_file *kerf_manifest_file(const kerf_manifest *m, kerf_role role);

/* A pair in memory. */
typedef struct kerf_pair {
    kerf_manifest manifest; /* sealed; without probes, units */
    kerf_card card;
    bool has_card;
    kerf_statement says; /* manifest.sig, which fits; version 0: not signed */
    kerf_detail sig_why; /* a signature is there, and why it is not used */
    uint8_t *data[KERF_ROLE_COUNT]; /* owned; NULL: no such part */
    size_t len[KERF_ROLE_COUNT];
} kerf_pair;

void kerf_pair_fini(kerf_pair *pair); /* accepts a zeroed one */
void kerf_pair_drop(kerf_pair *pair,
                    kerf_role role); /* frees one part's data */

/* head: the head's bytes as the engine takes them; else the tail's. */
kerf_model_bytes kerf_pair_bytes(const kerf_pair *pair, bool head);

/* Parses the card's bytes, if there are any, into pair->card; else defaults.
 * For who fills data[] himself. */
KERF_NODISCARD kerf_err kerf_pair_card(kerf_pair *pair, kerf_detail *why);

/* Whether a file of that name may be a part of a pair, or its signature. */
bool kerf_pair_has_name(const char *file);
/* Names of the models in dir of which any half is there (a card alone is not
 * one), sorted; KERF_ETOOBIG over KERF_MODELS_MAX. */
#define KERF_MODELS_MAX 256
KERF_NODISCARD kerf_err kerf_pair_names(const char *dir, kerf_names *out,
                                        kerf_detail *why);
/* NAME.kerf.sig.json into out. name: as kerf_role_file() takes it. */
void kerf_pair_sig_file(char out[KERF_PART_NAME], const char *name);
/* Reads that file of dir, whether it fits the pair or not. Errors: the file's
 * (KERF_ENOENT: there is none), kerf_signed_parse()'s. */
KERF_NODISCARD kerf_err kerf_pair_sig_read(kerf_signed *sig,
                                           kerf_statement *says,
                                           const char *dir, const char *name,
                                           kerf_detail *why);
/* Reads and hashes the pair NAME. KERF_ENOENT with "waiting for FILE" in *why
 * when a file is missing (a .pdmodel needs its .pdiparams; an empty one is
 * fine), KERF_EAGAIN when files changed meanwhile, KERF_EMISMATCH for halves of
 * different formats. A signature that is damaged, or of other files, is no
 * error: sig_why. Other errors: those of the files and of the card. */
KERF_NODISCARD kerf_err kerf_pair_read(kerf_pair *pair, const char *dir,
                                       const char *name, kerf_detail *why);

/*
 * Cheap identity of the pair's files as they are now (names, sizes, mtimes,
 * inodes), to see whether anything changed; 0 when there are none. newest_ns:
 * the latest mtime of a part: to sign is no change.
 */
uint64_t kerf_pair_stamp(const char *dir, const char *name, int64_t *newest_ns);

#endif
