/* Files out of a .kwz: records are read in order, blocks decoded by a crew,
 * written in order. */
#include "pack/pack_own.h"

#include "codec/kwz.h"
#include "pack/crew.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A block on its way. */
struct slot {
    kerf_kwz_block block;
    uint8_t *own; /* memory for one block */
    size_t room;
    uint8_t *out;  /* what is unpacked: own, or the sink's memory */
    uint64_t hash; /* of what came out */
    bool waits;    /* for earlier blocks: it is the same as one */
};

struct unpacking {
    const kerf_pack_job *job;
    const kerf_map *map;
    kerf_rd r;
    kerf_kwz_reader *kr;
    kerf_sink *sink;
    kerf_nest *nest;
    kerf_pack_result *result;
    kerf_kwz_record record;
    bool has_record; /* a block, to be taken first */
    bool file_ended; /* its last block was taken */
    bool is_dir;
    kerf_block_coder *coder[KERF_CREW_MOST + 1]; /* the last: the caller's */
    struct slot slot[KERF_CREW_SLOTS(KERF_CREW_MOST)];
};

/* The next record; *more is false at the end. */
static kerf_err
next(struct unpacking *u, bool *more, kerf_detail *why)
{
    size_t need = 0;
    kerf_err err = kerf_kwz_next(u->kr, &u->r, &u->record, &need, why);

    *more = err == KERF_OK;
    if (err != KERF_EAGAIN)
        return err;
    if (u->r.left == 0 && kerf_kwz_is_whole(u->kr))
        return KERF_OK;
    return kerf_fail(why, KERF_ECORRUPT, "it is cut short");
}

/* Where the slot's block is to be unpacked: in memory where it is to stay.
 * NULL: no memory. */
static uint8_t *
make_room(const struct unpacking *u, struct slot *s)
{
    size_t len = s->block.len;
    uint8_t *there = kerf_sink_place(u->sink, s->block.offset, len);

    if (there != NULL)
        return there;
    if (s->room < len || s->own == NULL) {
        free(s->own);
        s->own = malloc(len + 1); /* an empty file has an empty block */
        s->room = s->own != NULL ? len : 0;
    }
    return s->own;
}

static kerf_err
take(void *ctx, size_t slot, bool *more, kerf_detail *why)
{
    struct unpacking *u = ctx;
    struct slot *s = &u->slot[slot];
    kerf_err err = KERF_OK;

    *more = !u->file_ended;
    if (*more && !u->has_record)
        err = next(u, more, why);
    u->has_record = false;
    if (err != KERF_OK || !*more)
        return err;
    if (u->record.kind != KERF_KWZ_BLOCK)
        return kerf_fail(why, KERF_ECORRUPT, "a file without a last block");
    s->block = u->record.block;
    u->file_ended = s->block.is_last;
    if (s->block.len > u->job->most - u->result->out) {
        return kerf_fail(why, KERF_ETOOBIG,
                         "it unpacks to more than %llu bytes: --max-size for "
                         "more",
                         (unsigned long long)u->job->most);
    }
    u->result->out += s->block.len;
    if (s->block.len > 0 && u->is_dir)
        return kerf_fail(why, KERF_ECORRUPT, "a folder with bytes");
    s->out = make_room(u, s);
    return s->out != NULL ? KERF_OK : kerf_fail(why, KERF_ENOMEM, "no memory");
}

static kerf_err
decode(struct unpacking *u, struct slot *s, size_t worker, kerf_recall *recall,
       kerf_detail *why)
{
    const kerf_kwz_block *b = &s->block;
    kerf_err err = KERF_OK;

    if (u->coder[worker] == NULL)
        err = kerf_block_coder_new(&u->coder[worker]);
    if (err == KERF_OK)
        err =
            kerf_block_decode(u->coder[worker], s->out, b->len, b->kind,
                              b->data, b->data_len, b->offset, recall, u->sink);
    if (err != KERF_OK)
        return kerf_fail(why, err, "the block at byte %llu of the file: %s",
                         (unsigned long long)b->offset, kerf_err_text(err));
    s->hash = kerf_kwz_check(s->out, b->len, b->offset);
    return KERF_OK;
}

static kerf_err
work(void *ctx, size_t slot, size_t worker, kerf_detail *why)
{
    struct unpacking *u = ctx;
    struct slot *s = &u->slot[slot];

    s->waits =
        kerf_block_is_same(s->block.kind, s->block.data, s->block.data_len);
    return s->waits ? KERF_OK : decode(u, s, worker, NULL, why);
}

static kerf_err
give(void *ctx, size_t slot, kerf_detail *why)
{
    struct unpacking *u = ctx;
    struct slot *s = &u->slot[slot];
    const kerf_kwz_block *b = &s->block;
    kerf_err err = KERF_OK;

    if (s->waits)
        err = decode(u, s, KERF_CREW_MOST, kerf_sink_recall, why);
    if (err == KERF_OK)
        err = kerf_kwz_checked(u->kr, b, s->hash, why);
    if (err == KERF_OK && !u->is_dir)
        err = kerf_sink_write(u->sink, s->out, b->len, why);
    /* Not by what is left of u->r: a later block may be being taken from it. */
    if (err == KERF_OK)
        err = pack_tell(u->job, u->sink->path,
                        (uint64_t)(b->data + b->data_len - u->map->data),
                        u->map->len, why);
    return err;
}

/* The blocks of one file, behind its FILE record if it has a name. */
static kerf_err
unpack_blocks(struct unpacking *u, kerf_detail *why)
{
    const kerf_crew crew = {.ctx = u, .take = take, .work = work, .give = give};

    u->file_ended = false;
    u->result->files += !u->is_dir;
    if (!u->has_record) {
        kerf_err err = next(u, &u->has_record, why);

        if (err != KERF_OK)
            return err;
    }
    /* What is left may be of many small files: a thread is soon out of work. */
    return kerf_crew_run(&crew,
                         u->record.kind == KERF_KWZ_BLOCK &&
                                 u->record.block.is_last
                             ? 1
                             : kerf_crew_threads(u->job->threads, u->r.left),
                         why);
}

static kerf_err
unpack_named(struct unpacking *u, kerf_detail *why)
{
    const kerf_kwz_file *f = u->record.file;
    mode_t mode = f->mode;
    int64_t mtime = f->mtime;
    char path[KERF_PATH_MAX];
    kerf_err err;

    u->is_dir = S_ISDIR(mode);
    if (!u->is_dir && !S_ISREG(mode))
        return kerf_fail(why, KERF_ECORRUPT,
                         "it holds what is neither a file nor a folder");
    if (u->nest->temp[0] == '\0') {
        char dir[KERF_PATH_MAX];

        memcpy(dir, u->nest->dir, sizeof dir);
        err = kerf_nest_open(u->nest, dir, u->job->force, why);
        if (err != KERF_OK)
            return err;
    }
    if (u->is_dir) {
        err = kerf_nest_dir(u->nest, f->name, why);
        return err == KERF_OK ? unpack_blocks(u, why) : err;
    }
    err = kerf_nest_path(u->nest, f->name, path, why);
    if (err == KERF_OK)
        err = kerf_sink_open(u->sink, path, true, u->job->most, why);
    if (err == KERF_OK)
        err = unpack_blocks(u, why);
    if (err == KERF_OK)
        err = kerf_sink_commit(u->sink, mode | S_IRUSR | S_IWUSR, mtime, why);
    return err;
}

static kerf_err
unpack_all(struct unpacking *u, kerf_detail *why)
{
    for (;;) {
        bool more = true;
        kerf_err err = next(u, &more, why);

        if (err != KERF_OK || !more)
            return err;
        switch (u->record.kind) {
        case KERF_KWZ_FILE:
            err = unpack_named(u, why);
            break;
        case KERF_KWZ_BLOCK:
            u->has_record = true;
            u->is_dir = false;
            err = unpack_blocks(u, why);
            break;
        case KERF_KWZ_SUM:
        case KERF_KWZ_INDEX:
            break;
        }
        if (err != KERF_OK)
            return err;
    }
}

kerf_err
kerf_kwz_unpack_map(const kerf_pack_job *job, const kerf_map *map,
                    kerf_sink *sink, kerf_nest *nest, kerf_pack_result *result,
                    kerf_detail *why)
{
    struct unpacking *u = calloc(1, sizeof *u);
    kerf_err err;

    if (u == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory");
    u->job = job;
    u->map = map;
    u->r = (kerf_rd){.at = map->data, .left = map->len};
    u->sink = sink;
    u->nest = nest;
    u->result = result;
    err = kerf_kwz_reader_new(&u->kr);
    if (err == KERF_OK)
        err = unpack_all(u, why);
    for (size_t i = 0; i <= KERF_CREW_MOST; i++)
        kerf_block_coder_free(u->coder[i]);
    for (size_t i = 0; i < KERF_CREW_SLOTS(KERF_CREW_MOST); i++)
        free(u->slot[i].own);
    kerf_kwz_reader_free(u->kr);
    free(u);
    return err;
}

kerf_err
kerf_kwz_unpack_bytes(const kerf_pack_job *job, const uint8_t *data, size_t len,
                      uint8_t *out, size_t room, size_t *out_len,
                      kerf_detail *why)
{
    const kerf_map map = {.data = data, .len = len};
    kerf_pack_result result = {.format = KERF_PACK_KWZ};
    kerf_sink sink;
    kerf_err err;

    *out_len = 0;
    if (kerf_kwz_is_named(data, len))
        return kerf_fail(why, KERF_ECORRUPT, "it holds files with names");
    kerf_sink_open_memory(&sink, out, room);
    err = kerf_kwz_unpack_map(job, &map, &sink, NULL, &result, why);
    *out_len = (size_t)sink.len;
    return err;
}
