/*
 * card.h - what a model file does not say: how an image becomes its input and
 * what its output means. `NAME.kerf.json` beside the model; docs/MODELS.md.
 *
 *     value = (pixel * scale - mean[channel]) / std[channel]
 *
 * Threads: values; pure.
 */
#ifndef KERF_CARD_H
#define KERF_CARD_H

#include "kerf/limits.h"
#include "kerf/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

#define KERF_CARD_BYTES_MAX ((size_t)4 << 20)
#define KERF_CARD_LABELS_MAX 65536
#define KERF_CARD_LABEL_BYTES_MAX 4096 /* of one label, UTF-8 */
#define KERF_CARD_PROBES_MAX 16
#define KERF_CARD_SIDE_MAX 16384 /* pixels, width and height */

typedef enum kerf_task {
    KERF_TASK_RAW = 0,      /* shape and statistics of each output */
    KERF_TASK_CLASSIFY = 1, /* top-k of output 0 */
} kerf_task;

typedef enum kerf_resize {
    KERF_RESIZE_STRETCH = 0,   /* to width x height, aspect ratio lost */
    KERF_RESIZE_LETTERBOX = 1, /* fits inside, centred, bars of `pad` */
    KERF_RESIZE_CROP = 2,      /* covers, centre kept */
} kerf_resize;

typedef enum kerf_colour {
    KERF_COLOUR_RGB = 0,
    KERF_COLOUR_BGR = 1,
    KERF_COLOUR_GRAY = 2, /* one channel */
} kerf_colour;

typedef enum kerf_layout {
    KERF_LAYOUT_NCHW = 0,
    KERF_LAYOUT_NHWC = 1,
} kerf_layout;

/* Which rules a card or the flags gave: bits of kerf_card.given. */
enum {
    KERF_GIVEN_SIZE = 1,
    KERF_GIVEN_RESIZE = 2,
    KERF_GIVEN_COLOUR = 4,
    KERF_GIVEN_SCALE = 8,
    KERF_GIVEN_MEAN = 16,
    KERF_GIVEN_STD = 32,
    KERF_GIVEN_LAYOUT = 64,
    KERF_GIVEN_TASK = 128,
    KERF_GIVEN_LABELS = 256,
};

/* Expected values of one output for one seeded input (tensor.h). */
typedef struct kerf_probe_out {
    kerf_shape shape;
    size_t count;  /* of at and value */
    size_t *at;    /* element indices; owned */
    double *value; /* owned */
} kerf_probe_out;

typedef struct kerf_probe {
    uint64_t seed;
    size_t out_count;
    kerf_probe_out *out; /* owned; may be 0 long: only run it */
} kerf_probe;

typedef struct kerf_card {
    char name[KERF_NAME_MAX];
    unsigned given;
    kerf_task task;
    bool is_image; /* false: the input is a tensor as it is */
    kerf_layout layout;
    int width, height; /* of the network's input, pixels */
    kerf_resize resize;
    uint8_t pad; /* letterbox grey, 0..255; default 114 */
    kerf_colour colour;
    float scale, mean[3], std[3];         /* defaults 1, 0, 1 */
    bool scores_given, scores_are_logits; /* softmax needed? else: looked at */
    char **label;                         /* owned */
    size_t label_count;
    kerf_probe *probe; /* owned */
    size_t probe_count;
} kerf_card;

KERF_API void kerf_card_init(kerf_card *card); /* defaults, nothing given */
KERF_API void kerf_card_fini(kerf_card *card);

/* Parses JSON; unknown members are ignored, wrong ones named in *why.
 * *card must be initialised; untouched on error.
 * Errors: KERF_ECORRUPT, KERF_ETOOBIG, KERF_EVERSION, KERF_ENOMEM. */
KERF_API KERF_NODISCARD kerf_err kerf_card_parse(kerf_card *card,
                                                 const void *json, size_t len,
                                                 kerf_detail *why);
/* New 0-terminated JSON text -> free(); what it gives, kerf_card_parse() takes.
 * Errors: KERF_ECORRUPT (a label that is not UTF-8, a number that is not
 * finite), KERF_ETOOBIG (too many or too long labels, the whole over
 * KERF_CARD_BYTES_MAX), KERF_ENOMEM. */
KERF_API KERF_NODISCARD kerf_err kerf_card_format(const kerf_card *card,
                                                  char **out);

/* Channels of the image: 3, or 1 for gray. */
KERF_API int kerf_card_channels(const kerf_card *card);

/*
 * Settles the rules for the model's image port (shape as the model says, -1
 * for free dims): fills size, layout and channels that the shape fixes, and
 * names what is missing ("missing rule: --colour rgb|bgr") or contradictory
 * ("--size 224x224, but the model's input is 32x32").
 * shape becomes static: batch 1 and the card's size. Errors: KERF_EINVAL.
 */
KERF_API KERF_NODISCARD kerf_err kerf_card_settle(kerf_card *card,
                                                  kerf_shape *shape,
                                                  kerf_detail *why);

#ifdef __cplusplus
}
#endif
#endif
