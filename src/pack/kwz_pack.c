/* Files to a .kwz: blocks are encoded by a crew, written in order. */
#include "pack/pack_own.h"

#include "codec/kwz.h"
#include "graph/weights.h"
#include "pack/crew.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A block on its way. */
struct slot {
    size_t block; /* of the plan */
    uint8_t *own; /* memory for one block */
    size_t room;
    uint8_t *out; /* what is packed: in own, or in the sink's memory */
    size_t len;
    kerf_block_kind kind;
    uint64_t hash;
};

struct packing {
    const kerf_pack_job *job;
    kerf_kwz_writer *kw;
    kerf_sink *sink;
    const char *name; /* of the file at work */
    const uint8_t *data;
    kerf_plan plan;
    size_t taken;
    int threads;
    uint64_t begin;    /* of the blocks, in the sink */
    uint64_t got, all; /* bytes, for the progress */
    kerf_block_coder *coder[KERF_CREW_MOST];
    struct slot slot[KERF_CREW_SLOTS(KERF_CREW_MOST)];
};

static kerf_err
take(void *ctx, size_t slot, bool *more, kerf_detail *why)
{
    struct packing *p = ctx;

    (void)why;
    *more = p->taken < p->plan.block_count;
    p->slot[slot].block = p->taken;
    p->taken += *more;
    return KERF_OK;
}

/* Where the slot's block is to be packed. On the way to memory that is there:
 * by one thread just behind what its record begins with, by several so far
 * behind that all blocks before it have room, whatever they pack to; they move
 * to their places in order. NULL: no memory. */
static uint8_t *
make_room(struct packing *p, struct slot *s)
{
    size_t room = kerf_block_room(&p->plan, s->block);
    uint64_t at = p->begin + kerf_block_room_before(&p->plan, s->block) +
                  (s->block + 1) * (uint64_t)KERF_KWZ_RECORD_HEAD;
    uint8_t *there;

    if (p->threads == 1)
        at = p->sink->len +
             kerf_kwz_block_head_most(p->plan.block[s->block].len);
    there = kerf_sink_place(p->sink, at, room);
    if (there != NULL)
        return there;
    if (s->room < room) {
        free(s->own);
        s->own = malloc(room);
        s->room = s->own != NULL ? room : 0;
    }
    return s->own;
}

static kerf_err
work(void *ctx, size_t slot, size_t worker, kerf_detail *why)
{
    struct packing *p = ctx;
    struct slot *s = &p->slot[slot];
    const kerf_block *b = &p->plan.block[s->block];
    int level = p->job->level > 0 ? p->job->level : 6;
    kerf_err err = KERF_OK;

    if (p->coder[worker] == NULL)
        err = kerf_block_coder_new(&p->coder[worker]);
    s->out = make_room(p, s);
    if (s->out == NULL)
        err = KERF_ENOMEM;
    if (err != KERF_OK)
        return kerf_fail(why, err, "no memory");
    s->hash = kerf_kwz_check(p->data + b->offset, b->len, b->offset);
    s->len = kerf_block_encode(p->coder[worker], s->out, &p->plan, s->block,
                               p->data, level, &s->kind);
    return KERF_OK;
}

static kerf_err
give(void *ctx, size_t slot, kerf_detail *why)
{
    struct packing *p = ctx;
    const struct slot *s = &p->slot[slot];
    size_t len = p->plan.block[s->block].len;
    kerf_kwz_block block = {.kind = s->kind,
                            .is_last = s->block + 1 == p->plan.block_count,
                            .len = len,
                            .data_len = s->len};
    kerf_kwz_bytes head;
    kerf_err err = kerf_kwz_put_block(p->kw, &block, s->hash, &head);

    if (err != KERF_OK)
        return kerf_fail(why, err, "no memory");
    err = kerf_sink_write(p->sink, head.data, head.len, why);
    if (err == KERF_OK)
        err = kerf_sink_write(p->sink, s->out, s->len, why);
    p->got += len;
    return err == KERF_OK ? pack_tell(p->job, p->name, p->got, p->all, why)
                          : err;
}

static kerf_err
write_bytes(struct packing *p, kerf_err err, const kerf_kwz_bytes *bytes,
            kerf_detail *why)
{
    if (err == KERF_ETOOBIG)
        return kerf_fail(why, err, "%s: too much for one .kwz", p->name);
    if (err != KERF_OK)
        return kerf_fail(why, err, "%s: %s", p->name, kerf_err_text(err));
    return kerf_sink_write(p->sink, bytes->data, bytes->len, why);
}

static kerf_err
pack_blocks(struct packing *p, const kerf_map *map, kerf_detail *why)
{
    const kerf_crew crew = {.ctx = p, .take = take, .work = work, .give = give};
    kerf_segment *segment = NULL;
    size_t segment_count = 0;
    kerf_kwz_bytes sum = {0};
    kerf_err err =
        kerf_weights_find(map->data, map->len, &segment, &segment_count);

    p->data = map->data;
    p->taken = 0;
    if (err == KERF_OK)
        err = kerf_plan_make(&p->plan, map->data, map->len, segment,
                             segment_count);
    if (err != KERF_OK)
        err = kerf_fail(why, err, "no memory");
    p->threads = kerf_crew_threads(p->job->threads, map->len);
    p->begin = p->sink->len;
    if (err == KERF_OK)
        err = kerf_crew_run(&crew, p->threads, why);
    if (err == KERF_OK) {
        err = kerf_kwz_end_file(p->kw, segment, segment_count, &sum);
        err = write_bytes(p, err, &sum, why);
    }
    kerf_plan_fini(&p->plan);
    free(segment);
    return err;
}

static kerf_err
pack_item(struct packing *p, const kerf_tree_item *item, bool named,
          kerf_detail *why)
{
    kerf_map map = {.data = (const uint8_t *)"", .len = 0};
    bool is_dir = S_ISDIR(item->mode);
    kerf_err err = KERF_OK;

    p->name = item->name;
    if (!is_dir)
        err = kerf_map_open(&map, item->path, KERF_KWZ_BYTES_MOST, why);
    if (err != KERF_OK)
        return err;
    if (named) {
        kerf_kwz_bytes bytes = {0};
        kerf_kwz_file file = {.mode = (uint32_t)item->mode,
                              .mtime = item->mtime};

        if (strlen(item->name) < sizeof file.name) {
            memcpy(file.name, item->name, strlen(item->name) + 1);
            err = kerf_kwz_put_file(p->kw, &file, &bytes);
            err = write_bytes(p, err, &bytes, why);
        } else {
            err = kerf_fail(why, KERF_ETOOBIG, "%s: the name is too long",
                            item->name);
        }
    }
    if (err == KERF_OK)
        err = pack_blocks(p, &map, why);
    if (!is_dir)
        kerf_map_close(&map);
    return err;
}

static kerf_err
begin(struct packing **out, const kerf_pack_job *job, kerf_sink *sink,
      uint64_t all, bool named, kerf_detail *why)
{
    struct packing *p = calloc(1, sizeof *p);
    kerf_kwz_bytes bytes = {0};
    kerf_err err;

    *out = p;
    if (p == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory");
    p->job = job;
    p->sink = sink;
    p->all = all;
    p->name = "";
    err = kerf_kwz_writer_new(&p->kw, named);
    if (err == KERF_OK)
        bytes = kerf_kwz_put_head(p->kw);
    return write_bytes(p, err, &bytes, why);
}

/* Frees p, which may be NULL; gives err, or what the end of the container
 * said. */
static kerf_err
end(struct packing *p, kerf_err err, kerf_detail *why)
{
    kerf_kwz_bytes bytes = {0};

    if (p == NULL)
        return err;
    if (err == KERF_OK) {
        err = kerf_kwz_end(p->kw, &bytes);
        err = write_bytes(p, err, &bytes, why);
    }
    for (size_t i = 0; i < KERF_CREW_MOST; i++)
        kerf_block_coder_free(p->coder[i]);
    for (size_t i = 0; i < KERF_CREW_SLOTS(KERF_CREW_MOST); i++)
        free(p->slot[i].own);
    kerf_kwz_writer_free(p->kw);
    free(p);
    return err;
}

kerf_err
kerf_kwz_pack_tree(const kerf_pack_job *job, const kerf_tree *tree, bool named,
                   kerf_sink *sink, kerf_detail *why)
{
    struct packing *p = NULL;
    kerf_err err = begin(&p, job, sink, tree->bytes, named, why);

    for (size_t i = 0; i < tree->count && err == KERF_OK; i++)
        err = pack_item(p, &tree->item[i], named, why);
    return end(p, err, why);
}

kerf_err
kerf_kwz_pack_bytes(const kerf_pack_job *job, const uint8_t *data, size_t len,
                    uint8_t *out, size_t room, size_t *out_len,
                    kerf_detail *why)
{
    const kerf_map map = {.data = data, .len = len};
    kerf_sink sink;
    struct packing *p = NULL;
    kerf_err err;

    kerf_sink_open_memory(&sink, out, room);
    err = begin(&p, job, &sink, len, false, why);
    if (err == KERF_OK)
        err = pack_blocks(p, &map, why);
    err = end(p, err, why);
    *out_len = (size_t)sink.len;
    return err;
}
