#include "bench/codec.h"

#include "base/clock.h"
#include "base/map.h"
#include "base/stats.h"
#include "bench/child.h"
#include "bench/fork.h"
#include "pack/pack.h"
#include "pack/stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* In memory a quick one is repeated in a round: so often, or so long. */
#define REPEATS 15
#define REPEAT_NS 100000000u
#define IN_MEMORY_MOST (KERF_MEASURED_SECONDS / 2) /* methods */

struct method {
    const char *name;
    kerf_pack_format format;
    int level;
    bool in_memory; /* measured there too */
    bool crowd;     /* one thread per core */
    bool reads;     /* packing: read(), where the others map the file */
};

/* The reference's five at the default levels of Python's modules. */
static const struct method methods[] = {
    {.name = "gzip", .format = KERF_PACK_GZIP, .level = 9, .in_memory = true},
    {.name = "bz2", .format = KERF_PACK_BZ2, .level = 9},
    {.name = "xz", .format = KERF_PACK_XZ, .level = 6},
    {.name = "zip", .format = KERF_PACK_ZIP, .level = 6, .reads = true},
    {.name = "tar.gz", .format = KERF_PACK_TAR_GZ, .level = 9, .reads = true},
    {.name = "zstd-3", .format = KERF_PACK_ZST, .level = 3, .in_memory = true},
    {.name = "zstd-19", .format = KERF_PACK_ZST, .level = 19},
    {.name = "kwz", .format = KERF_PACK_KWZ, .in_memory = true},
    {.name = "kwz-N",
     .format = KERF_PACK_KWZ,
     .in_memory = true,
     .crowd = true},
};

#define METHODS (sizeof methods / sizeof *methods)

enum what { PACK, UNPACK, MEMORY_PACK, MEMORY_UNPACK, WHATS };

/* One method on one file. */
struct trial {
    const struct method *method;
    int threads;
    kerf_stats seconds[WHATS], kib[2];
    uint64_t bytes;
    bool is_slow; /* not again */
};

struct bench {
    const kerf_codec_opts *opts;
    const char *path;
    kerf_map map;
    /* The packed file and the one that comes back, both temporary. */
    char packed[KERF_PATH_MAX], back[KERF_PATH_MAX];
    kerf_stats memcpy_s;
    struct trial trial[METHODS];
    size_t count;
    const struct trial *at;                  /* for the child */
    struct trial *in_memory[IN_MEMORY_MOST]; /* of this round, for the child */
    size_t memory_count;
};

size_t
kerf_codec_methods(void)
{
    return METHODS;
}

const char *
kerf_codec_method(size_t i)
{
    return i < METHODS ? methods[i].name : NULL;
}

static double
since(uint64_t start_ns)
{
    return (double)(kerf_now_ns() - start_ns) * 1e-9;
}

/* ---- in the child: from file to file ---------------------------------- */

/* The files of a folder that zip and tar.gz are unpacked to. */
static kerf_err
compare(const struct bench *b, const char *path, kerf_detail *why)
{
    kerf_map back = {0};
    kerf_err err = kerf_map_open(&back, path, SIZE_MAX, why);

    if (err != KERF_OK)
        return err;
    if (back.len != b->map.len || memcmp(back.data, b->map.data, back.len) != 0)
        err = kerf_fail(why, KERF_EMISMATCH, "%s: %s gives back another file",
                        b->path, b->at->method->name);
    kerf_map_close(&back);
    return err;
}

static void
pack_file(void *ctx, kerf_measured *out)
{
    const struct bench *b = ctx;
    const struct trial *t = b->at;
    const kerf_pack_job job = {.format = t->method->format,
                               .level = t->method->level,
                               .threads = t->threads,
                               .force = true,
                               .to = b->packed};
    double mapped = t->method->reads ? 0 : (double)b->map.len / 1024;
    kerf_pack_result result;
    uint64_t start;

    kerf_peak_begin();
    start = kerf_now_ns();
    out->err = kerf_pack(&job, b->path, &result, &out->why);
    out->seconds[0] = since(start);
    out->kib = kerf_peak_kib() - mapped;
    out->bytes = result.out;
}

static void
unpack_file(void *ctx, kerf_measured *out)
{
    const struct bench *b = ctx;
    const struct trial *t = b->at;
    bool is_archive = t->method->format == KERF_PACK_ZIP ||
                      t->method->format == KERF_PACK_TAR_GZ;
    const kerf_pack_job job = {.threads = t->threads,
                               .force = true,
                               .most = UINT64_MAX,
                               .to = b->opts->work};
    char named[KERF_PATH_MAX];
    kerf_pack_result result;
    uint64_t start;

    kerf_peak_begin();
    start = kerf_now_ns();
    out->err = kerf_unpack(&job, b->packed, &result, &out->why);
    out->seconds[0] = since(start);
    out->kib = kerf_peak_kib() - (double)t->bytes / 1024;
    if (out->err == KERF_OK && is_archive) { /* it kept its own name */
        out->err =
            kerf_path_join(named, b->opts->work, kerf_path_base(b->path));
        if (out->err == KERF_OK)
            (void)rename(named, b->back);
    }
    if (out->err == KERF_OK)
        out->err = compare(b, b->back, &out->why);
}

/* ---- in the child: from memory to memory ------------------------------ */

struct buffers {
    uint8_t *in, *packed, *back; /* owned; touched, so that no page is new */
    size_t len, room, packed_len;
};

static kerf_err
touch(uint8_t **out, size_t len)
{
    /* NOLINTNEXTLINE(clang-analyzer-optin.portability.UnixAPI): over 0 */
    *out = malloc(len + 1);
    if (*out == NULL)
        return KERF_ENOMEM;
    memset(*out, 1, len + 1);
    return KERF_OK;
}

static void
drop(struct buffers *m)
{
    free(m->in);
    free(m->packed);
    free(m->back);
}

static kerf_err
fill(struct buffers *m, const kerf_map *map)
{
    kerf_err err = touch(&m->in, map->len);

    m->len = map->len;
    m->room = map->len + map->len / 64 + 65536;
    if (err == KERF_OK)
        err = touch(&m->packed, m->room);
    if (err == KERF_OK)
        err = touch(&m->back, map->len);
    if (err == KERF_OK)
        memcpy(m->in, map->data, map->len);
    return err;
}

static kerf_err
run_stream(kerf_stream *s, kerf_flow flow, size_t *len, kerf_detail *why)
{
    size_t room = flow.out_left;
    bool done = false;
    kerf_err err = KERF_OK;

    flow.is_end = true;
    while (err == KERF_OK && !done)
        err = kerf_stream_run(s, &flow, &done, why);
    *len = room - flow.out_left;
    return err;
}

static kerf_err
pack_memory(const struct trial *t, struct buffers *m, kerf_detail *why)
{
    const kerf_pack_job job = {.level = t->method->level,
                               .threads = t->threads};
    kerf_stream *s = NULL;
    kerf_err err;

    if (t->method->format == KERF_PACK_KWZ)
        return kerf_kwz_pack_bytes(&job, m->in, m->len, m->packed, m->room,
                                   &m->packed_len, why);
    err = kerf_stream_packer(&s,
                             t->method->format == KERF_PACK_GZIP
                                 ? KERF_STREAM_GZIP
                                 : KERF_STREAM_ZST,
                             t->method->level, 1);
    if (err == KERF_OK) {
        err = run_stream(s,
                         (kerf_flow){.in = m->in,
                                     .in_left = m->len,
                                     .out = m->packed,
                                     .out_left = m->room},
                         &m->packed_len, why);
    }
    kerf_stream_free(s);
    return err;
}

static kerf_err
unpack_memory(const struct trial *t, struct buffers *m, kerf_detail *why)
{
    const kerf_pack_job job = {.threads = t->threads, .most = m->len};
    kerf_stream *s = NULL;
    size_t len = 0;
    kerf_err err;

    if (t->method->format == KERF_PACK_KWZ)
        return kerf_kwz_unpack_bytes(&job, m->packed, m->packed_len, m->back,
                                     m->len, &len, why);
    err = kerf_stream_unpacker(&s, t->method->format == KERF_PACK_GZIP
                                       ? KERF_STREAM_GZIP
                                       : KERF_STREAM_ZST);
    if (err == KERF_OK) {
        err = run_stream(s,
                         (kerf_flow){.in = m->packed,
                                     .in_left = m->packed_len,
                                     .out = m->back,
                                     .out_left = m->len + 1},
                         &len, why);
    }
    kerf_stream_free(s);
    return err;
}

static kerf_err
run_memory(const struct bench *b, const struct trial *t, struct buffers *m,
           double seconds[2], kerf_detail *why)
{
    uint64_t start = kerf_now_ns();
    kerf_err err = pack_memory(t, m, why);

    seconds[0] = since(start);
    start = kerf_now_ns();
    if (err == KERF_OK)
        err = unpack_memory(t, m, why);
    seconds[1] = since(start);
    if (err == KERF_OK && memcmp(m->in, m->back, m->len) != 0)
        err = kerf_fail(why, KERF_EMISMATCH, "%s: %s gives back other bytes",
                        b->path, t->method->name);
    return err;
}

/* Medians of one method's runs. The first does not count: its code and memory
 * are new to the process. */
static kerf_err
repeat(const struct bench *b, const struct trial *t, struct buffers *m,
       double out[2], kerf_detail *why)
{
    kerf_stats seconds[2] = {{0}};
    uint64_t begin;
    double s[2];
    kerf_err err = run_memory(b, t, m, s, why);

    for (int i = 0; i < 2 && err == KERF_OK; i++)
        err = kerf_stats_init(&seconds[i], REPEATS);
    begin = kerf_now_ns();
    for (int i = 0; i < REPEATS && err == KERF_OK; i++) {
        err = run_memory(b, t, m, s, why);
        kerf_stats_add(&seconds[0], s[0]);
        kerf_stats_add(&seconds[1], s[1]);
        if (kerf_now_ns() - begin > REPEAT_NS)
            break;
    }
    for (int i = 0; i < 2; i++) {
        if (err == KERF_OK)
            out[i] = kerf_stats_quantile(&seconds[i], 0.5);
        kerf_stats_fini(&seconds[i]);
    }
    return err;
}

/* All methods in turn, on the same buffers: seconds[2 * i] and the one behind
 * are of trial i of those in memory. */
static void
in_memory(void *ctx, kerf_measured *out)
{
    const struct bench *b = ctx;
    struct buffers m = {0};

    out->err = fill(&m, &b->map);
    for (size_t i = 0; i < b->memory_count && out->err == KERF_OK; i++)
        out->err =
            repeat(b, b->in_memory[i], &m, out->seconds + 2 * i, &out->why);
    drop(&m);
}

static void
copy_memory(void *ctx, kerf_measured *out)
{
    const struct bench *b = ctx;
    struct buffers m = {0};
    kerf_stats seconds = {0};

    out->err = fill(&m, &b->map);
    if (out->err == KERF_OK)
        out->err = kerf_stats_init(&seconds, REPEATS);
    for (int i = 0; i < REPEATS && out->err == KERF_OK; i++) {
        uint64_t start = kerf_now_ns();

        memcpy(m.back, m.in, m.len);
        kerf_stats_add(&seconds, since(start));
        m.in[0] ^= m.back[m.len / 2]; /* so that each copy is made */
    }
    if (out->err == KERF_OK)
        out->seconds[0] = kerf_stats_quantile(&seconds, 0.5);
    kerf_stats_fini(&seconds);
    drop(&m);
}

/* ---- in turns --------------------------------------------------------- */

static kerf_err
do_trial(struct bench *b, struct trial *t, kerf_detail *why)
{
    kerf_measured m;
    double took;
    kerf_err err;

    b->at = t;
    (void)unlink(b->packed);
    (void)unlink(b->back);
    (void)snprintf(b->packed, sizeof b->packed, "%s/back%s", b->opts->work,
                   kerf_pack_suffixes[t->method->format]);
    err = kerf_measure(&m, pack_file, b, why);
    if (err != KERF_OK)
        return err;
    t->bytes = m.bytes;
    took = m.seconds[0];
    kerf_stats_add(&t->seconds[PACK], m.seconds[0]);
    kerf_stats_add(&t->kib[PACK], m.kib);
    err = kerf_measure(&m, unpack_file, b, why);
    if (err != KERF_OK)
        return err;
    took += m.seconds[0];
    kerf_stats_add(&t->seconds[UNPACK], m.seconds[0]);
    kerf_stats_add(&t->kib[UNPACK], m.kib);
    t->is_slow = took > b->opts->once_s;
    return KERF_OK;
}

static kerf_err
do_memory(struct bench *b, kerf_detail *why)
{
    kerf_measured m;
    kerf_err err;

    if (b->memory_count == 0)
        return KERF_OK;
    err = kerf_measure(&m, in_memory, b, why);
    for (size_t i = 0; i < b->memory_count && err == KERF_OK; i++) {
        struct trial *t = b->in_memory[i];

        kerf_stats_add(&t->seconds[MEMORY_PACK], m.seconds[2 * i]);
        kerf_stats_add(&t->seconds[MEMORY_UNPACK], m.seconds[2 * i + 1]);
    }
    return err;
}

static kerf_err
do_round(struct bench *b, int round, kerf_detail *why)
{
    kerf_measured m;
    kerf_err err = kerf_measure(&m, copy_memory, b, why);

    kerf_stats_add(&b->memcpy_s, m.seconds[0]);
    b->memory_count = 0;
    for (size_t i = 0; i < b->count && err == KERF_OK; i++) {
        struct trial *t = &b->trial[i];

        if (t->is_slow)
            continue;
        if (t->method->in_memory && b->memory_count < IN_MEMORY_MOST)
            b->in_memory[b->memory_count++] = t;
        kerf_progress_say(&b->opts->progress, "round %d of %d: %s: %s",
                          round + 1, b->opts->rounds, kerf_path_base(b->path),
                          t->method->name);
        err = do_trial(b, t, why);
    }
    if (err != KERF_OK)
        return err;
    kerf_progress_say(&b->opts->progress, "round %d of %d: %s: in memory",
                      round + 1, b->opts->rounds, kerf_path_base(b->path));
    return do_memory(b, why);
}

static bool
is_wanted(const kerf_codec_opts *opts, const char *name)
{
    for (size_t i = 0; i < opts->only_count; i++) {
        if (strcmp(opts->only[i], name) == 0)
            return true;
    }
    return opts->only_count == 0;
}

static kerf_err
choose(struct bench *b)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    kerf_err err = KERF_OK;

    for (size_t i = 0; i < METHODS; i++) {
        struct trial *t = &b->trial[b->count];

        if (!is_wanted(b->opts, methods[i].name) ||
            (methods[i].crowd && cores < 2))
            continue;
        t->method = &methods[i];
        t->threads = !methods[i].crowd ? 1 : cores > 64 ? 64 : (int)cores;
        b->count++;
        for (int k = 0; k < WHATS && err == KERF_OK; k++)
            err = kerf_stats_init(&t->seconds[k], (size_t)b->opts->rounds);
        for (int k = 0; k < 2 && err == KERF_OK; k++)
            err = kerf_stats_init(&t->kib[k], (size_t)b->opts->rounds);
        if (err != KERF_OK)
            break;
    }
    return err;
}

static double
median(kerf_stats *s)
{
    double v = kerf_stats_quantile(s, 0.5);

    return v > 0 ? v : 0;
}

static void
fill_row(kerf_codec_row *row, struct trial *t)
{
    *row = (kerf_codec_row){
        .threads = t->threads,
        .rounds = (int)t->seconds[PACK].count,
        .bytes = t->bytes,
        .pack_s = median(&t->seconds[PACK]),
        .unpack_s = median(&t->seconds[UNPACK]),
        .memory_pack_s = median(&t->seconds[MEMORY_PACK]),
        .memory_unpack_s = median(&t->seconds[MEMORY_UNPACK]),
        .pack_kib = median(&t->kib[PACK]),
        .unpack_kib = median(&t->kib[UNPACK]),
    };
    if (t->method->crowd)
        (void)snprintf(row->method, sizeof row->method, "kwz-%d", t->threads);
    else
        (void)snprintf(row->method, sizeof row->method, "%s", t->method->name);
}

/* FOLDER/FILE: many files are called inference.pdiparams. */
static void
name_file(char *out, size_t cap, const char *path)
{
    const char *from = kerf_path_base(path);

    if (from > path + 1) {
        from--;
        while (from > path && from[-1] != '/')
            from--;
    }
    if (strncmp(from, "./", 2) == 0)
        from += 2;
    (void)snprintf(out, cap, "%s", from);
}

kerf_err
kerf_bench_codec(kerf_codec_file *out, const char *path,
                 const kerf_codec_opts *opts, kerf_detail *why)
{
    struct bench *b = calloc(1, sizeof *b);
    kerf_err err;

    *out = (kerf_codec_file){.row_count = 0};
    name_file(out->name, sizeof out->name, path);
    if (b == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory");
    b->opts = opts;
    b->path = path;
    err = kerf_map_open(&b->map, path, SIZE_MAX, why);
    if (err == KERF_OK)
        err = kerf_path_join(b->back, opts->work, "back");
    if (err == KERF_OK) {
        err = kerf_stats_init(&b->memcpy_s, (size_t)opts->rounds);
        if (err == KERF_OK)
            err = choose(b);
        if (err == KERF_OK)
            err = kerf_floor_of(&out->floor, b->map.data, b->map.len);
        if (err != KERF_OK)
            err = kerf_fail(why, err, "no memory");
    }
    for (int i = 0; i < opts->rounds && err == KERF_OK; i++)
        err = do_round(b, i, why);
    out->bytes = b->map.len;
    out->memcpy_s = median(&b->memcpy_s);
    for (size_t i = 0; i < b->count; i++) {
        struct trial *t = &b->trial[i];

        if (err == KERF_OK)
            fill_row(&out->row[out->row_count++], t);
        for (int k = 0; k < WHATS; k++)
            kerf_stats_fini(&t->seconds[k]);
        for (int k = 0; k < 2; k++)
            kerf_stats_fini(&t->kib[k]);
    }
    (void)unlink(b->packed);
    (void)unlink(b->back);
    kerf_stats_fini(&b->memcpy_s);
    kerf_map_close(&b->map);
    free(b);
    return err;
}
