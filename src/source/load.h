/*
 * load.h - one input file, or random values, into the network's input memory.
 * Threads: one owner per context.
 */
#ifndef KERF_SOURCE_LOAD_H
#define KERF_SOURCE_LOAD_H

#include "source/fit.h"
#include "source/source.h"

/* A file as it was last read: an input that repeats is not read again. */
typedef struct kerf_kept {
    char path[KERF_PATH_MAX];
    uint64_t stamp;     /* kerf_fs_stamp(); 0: nothing kept */
    uint64_t looked_ns; /* when the file had that stamp */
    uint8_t *data;      /* owned */
    size_t len;
    kerf_tensor tensor; /* in data; its data is NULL: not looked at yet */
} kerf_kept;

typedef struct kerf_load_ctx {
    const kerf_port *port;
    size_t port_count;
    const kerf_card *card; /* NULL: no images */
    size_t image_port;
    kerf_gst *gst; /* made at the first image */
    kerf_fit fit;
    kerf_kept kept;
} kerf_load_ctx;

void kerf_load_fini(kerf_load_ctx *ctx);

/* Reads path (or `a.npy,b.npy`) into dest, one tensor per port; fills times,
 * size and item->why. */
KERF_NODISCARD kerf_err kerf_load_file(kerf_load_ctx *ctx, const char *path,
                                       kerf_tensor *dest, kerf_item *item);
/* It was read before, and is not read again unless it has changed. */
bool kerf_load_is_kept(const kerf_load_ctx *ctx, const char *path);
/* Fills dest from the seed; an image port gets bytes 0..255. */
void kerf_load_random(kerf_load_ctx *ctx, kerf_tensor *dest, uint64_t seed);
/* Is it an .npy file (or a list of them) whose first is not u8? *known: false
 * when that file cannot be read, which counts as yes. */
bool kerf_load_is_raw(const char *spec, bool *known);

#endif
