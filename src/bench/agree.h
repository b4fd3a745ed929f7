/*
 * agree.h - what a cut network still answers when the tensors that cross are
 * packed, beside the whole network on a picture that was packed instead.
 *
 * The picture has the size of the network's input, so that JPEG and WebP are
 * not charged for pixels that nobody looks at. Everything is compared with the
 * whole network in f32 on the picture as it is.
 * Threads: one owner.
 */
#ifndef KERF_BENCH_AGREE_H
#define KERF_BENCH_AGREE_H

#include "cut/model.h"
#include "kerf/codec.h"

#define KERF_AGREE_WAYS 64

typedef enum kerf_agree_family {
    KERF_AGREE_FLOAT = 0, /* f32 + zlib -6, exact, f16, bf16 */
    KERF_AGREE_Q,         /* q8 ... q2, the finest first */
    KERF_AGREE_QC,        /* q8c ... q2c */
    KERF_AGREE_QS,        /* q8s ... q2s */
    KERF_AGREE_JPEG,      /* of falling quality */
    KERF_AGREE_WEBP,
    KERF_AGREE_FAMILIES
} kerf_agree_family;

/* Sums over the pictures. */
typedef struct kerf_agree_way {
    char name[16]; /* "q4c", "jpeg 90" */
    kerf_agree_family family;
    int id; /* codec, or quality; f32 + zlib: KERF_CODEC_RAW */
    double bytes;
    double same;  /* pictures of the same top class, or F1s of the boxes */
    double right; /* pictures of the class that the labels say */
} kerf_agree_way;

typedef struct kerf_agree {
    size_t pictures;
    double raw_bytes, picture_bytes; /* of one: what crosses; u8 pixels */
    double right;                    /* pictures that the whole gets right */
    bool has_labels, is_boxes, has_webp;
    kerf_agree_way way[KERF_AGREE_WAYS];
    size_t count;
    /* Medians over the pictures of the least bytes of each family such that
     * the top class is that of the whole, and is so in all finer ones; what is
     * never the same counts with all its bytes. 0: boxes. */
    double smallest[KERF_AGREE_FAMILIES];
} kerf_agree;

typedef struct kerf_agree_opts {
    kerf_engine *engine;
    kerf_cut_model *model; /* settled; its card becomes that of pictures */
    const kerf_cut *cut;
    const char *const *input; /* as for kerf_source_new(), or one .npy file of
                                 u8 [N, height, width, channels] */
    size_t input_count;
    const char *labels; /* .npy of N integers; NULL: none */
    bool is_boxes;      /* the answer is what bench/boxes.h reads */
} kerf_agree_opts;

/* Errors: KERF_ENOTSUP (several inputs, no colour, other outputs), KERF_EINVAL,
 * KERF_EMISMATCH (sizes), the engine's, the source's, the codecs'. */
KERF_NODISCARD kerf_err kerf_agree_run(kerf_agree *out,
                                       const kerf_agree_opts *opts,
                                       kerf_detail *why);

#endif
