/*
 * source.h - inputs one by one: image files, folders, .npy files, random.
 *
 *     kerf_source_new() -> kerf_source_next() ... -> kerf_source_free()
 *
 * A spec is a file, a folder (its images and .npy files, and those of its
 * subfolders, sorted by name; links to folders are left out), `a.npy,b.npy`
 * (one file per network input), `random` or `random:SEED`. Threads:
 * kerf_source_next() on one thread at a time; kerf_source_stop() from any.
 */
#ifndef KERF_SOURCE_SOURCE_H
#define KERF_SOURCE_SOURCE_H

#include "base/fs.h"
#include "kerf/card.h"
#include "kerf/model.h"

#define KERF_RANDOM_PERIOD_MS 5000 /* the reference's pace */
#define KERF_SOURCE_FILES_MAX 1000000

typedef struct kerf_source kerf_source;

typedef struct kerf_source_opts {
    const char *const *spec; /* borrowed for the call */
    size_t spec_count;
    /* What each input of the network takes, static; copied. With prep, port
     * image_port is [1, height, width, channels] u8. */
    const kerf_port *port;
    size_t port_count;
    /* NULL, or the settled card: images are taken, for port image_port;
     * borrowed until kerf_source_free(). */
    const kerf_card *card;
    size_t image_port;
    uint64_t repeat;      /* times over the specs; 0: for ever */
    double rate_hz;       /* 0: as fast as taken */
    int random_period_ms; /* between random inputs when rate_hz is 0 */
    bool watch; /* after that, go on with files that arrive in the folders */
    /* On the thread of kerf_source_next(), before it waits for time or files,
     * or reads one that is not kept; or NULL. */
    void (*waits)(void *ctx);
    void *ctx;
} kerf_source_opts;

typedef struct kerf_item {
    uint64_t index;
    kerf_err err;    /* this item failed, the source goes on; *why says it */
    kerf_detail why; /* safe to print */
    char name[KERF_NAME_MAX]; /* base name; not safe to print */
    char path[KERF_PATH_MAX]; /* "" for random */
    bool is_image;            /* decoded from an image file */
    int width, height;        /* of the original image, upright; else 0 */
    uint64_t capture_ns;      /* reading the file */
    uint64_t preprocess_ns;   /* decoding and resizing */
} kerf_item;

/* Whether the specs are all tensors as the bare network takes them: `random`,
 * .npy files that are not u8 (or cannot be read), folders of those. Then load
 * the network without prep. */
bool kerf_source_is_raw(const char *const *spec, size_t spec_count);

/* Whether every spec is well formed and every file and folder named is there:
 * what kerf_source_new() checks first. Errors: KERF_ENOENT, KERF_EINVAL. */
KERF_NODISCARD kerf_err kerf_source_check(const char *const *spec,
                                          size_t spec_count, kerf_detail *why);

/* Checks that every file and folder named is there.
 * Errors: KERF_ENOENT, KERF_EINVAL, KERF_ENOMEM, KERF_EIO. */
KERF_NODISCARD kerf_err kerf_source_new(kerf_source **out,
                                        const kerf_source_opts *opts,
                                        kerf_detail *why);
void kerf_source_free(kerf_source *source); /* accepts NULL */

/* Between two kerf_source_next(): from now on for another network. Only ports,
 * card and image port of opts count; the place in the inputs stays. */
KERF_NODISCARD kerf_err kerf_source_refit(kerf_source *source,
                                          const kerf_source_opts *opts,
                                          kerf_detail *why);

/*
 * Waits for the next item and writes it into dest: one tensor for each port,
 * with its port's bytes. With a card and several ports, an image fills
 * dest[image_port], and by PaddleDetection's names im_shape and scale_factor.
 * KERF_OK: look at item->err. KERF_ECLOSED: no more, or stopped. Else: fatal.
 */
KERF_NODISCARD kerf_err kerf_source_next(kerf_source *source, kerf_tensor *dest,
                                         kerf_item *item, kerf_detail *why);
/* The waiting and every later kerf_source_next() give KERF_ECLOSED. */
void kerf_source_stop(kerf_source *source);

#endif
