/* The index at the end of a container, and bytes from the midst of a file. */
#include "codec/kwz_own.h"

#include <stdlib.h>

static kerf_err
damaged(kerf_detail *why)
{
    return kerf_fail(why, KERF_ECORRUPT, "the index is damaged");
}

void
kerf_kwz_index_fini(kerf_kwz_index *index)
{
    for (size_t i = 0; i < index->file_count; i++) {
        free(index->file[i].name);
        free(index->file[i].place);
        free(index->file[i].segment);
    }
    free(index->file);
    *index = (kerf_kwz_index){0};
}

/* A number of things that take at least `least` bytes each, and room for them
 * in zeroed memory; false: damaged, or (no memory) *out is NULL. */
static bool
take_array(kerf_rd *r, size_t least, size_t size, void **out, size_t *count)
{
    uint64_t n = kerf_rd_varint(r);

    if (r->bad || n > r->left / least)
        return false;
    *out = calloc((size_t)n + 1, size);
    *count = *out != NULL ? (size_t)n : 0;
    return true;
}

static kerf_err
take_places(kerf_rd *r, kerf_kwz_entry *e, size_t most)
{
    uint64_t at = kerf_rd_varint(r);
    uint64_t offset = 0;
    void *array = NULL;

    if (!take_array(r, 2, sizeof *e->place, &array, &e->place_count))
        return KERF_ECORRUPT;
    e->place = array;
    if (array == NULL)
        return KERF_ENOMEM;
    for (size_t i = 0; i < e->place_count; i++) {
        uint64_t record = kerf_rd_varint(r);
        uint64_t len = kerf_rd_varint(r);

        if (r->bad || at > most || record > most - at ||
            len > KERF_BLOCK_MOST || offset > KERF_KWZ_BYTES_MOST)
            return KERF_ECORRUPT;
        e->place[i] = (kerf_kwz_place){
            .at = (size_t)at, .offset = offset, .len = (size_t)len};
        at += record;
        offset += len;
    }
    e->len = offset;
    return KERF_OK;
}

static kerf_err
take_segments(kerf_rd *r, kerf_kwz_entry *e)
{
    uint64_t at = 0;
    void *array = NULL;

    if (!take_array(r, 3, sizeof *e->segment, &array, &e->segment_count))
        return KERF_ECORRUPT;
    e->segment = array;
    if (array == NULL)
        return KERF_ENOMEM;
    for (size_t i = 0; i < e->segment_count; i++) {
        uint64_t gap = kerf_rd_varint(r);
        uint64_t len = kerf_rd_varint(r);
        uint8_t dtype = kerf_rd_u8(r);

        if (r->bad || gap > e->len - at || len > e->len - at - gap)
            return KERF_ECORRUPT;
        e->segment[i] = (kerf_segment){.offset = (size_t)(at + gap),
                                       .len = (size_t)len,
                                       .dtype = (kerf_dtype)dtype};
        at += gap + len;
    }
    return KERF_OK;
}

static kerf_err
take_entry(kerf_rd *r, kerf_kwz_entry *e, size_t most)
{
    uint64_t name_len = kerf_rd_varint(r);
    const uint8_t *name;
    kerf_err err;

    if (name_len >= KERF_KWZ_NAME_MOST)
        return KERF_ECORRUPT;
    name = kerf_rd_bytes(r, (size_t)name_len);
    if (r->bad || memchr(name, 0, (size_t)name_len) != NULL)
        return KERF_ECORRUPT;
    if (name_len > 0) {
        e->name = strndup((const char *)name, (size_t)name_len);
        if (e->name == NULL)
            return KERF_ENOMEM;
    }
    err = take_places(r, e, most);
    return err == KERF_OK ? take_segments(r, e) : err;
}

/* The payload of the INDEX record. */
static kerf_err
find_index(const uint8_t *data, size_t len, kerf_rd *out, kerf_detail *why)
{
    kerf_rd end = {.at = data + len - KWZ_TRAILER_LEN, .left = 8};
    kerf_rd r;
    uint64_t at = kerf_rd_u64(&end);
    uint64_t payload_len;

    if (memcmp(data + len - 4, KWZ_TRAILER, 4) != 0)
        return kerf_fail(why, KERF_ENOENT, "the .kwz has no index");
    if (at >= len - KWZ_TRAILER_LEN)
        return damaged(why);
    r = (kerf_rd){.at = data + at, .left = len - KWZ_TRAILER_LEN - (size_t)at};
    if (kerf_rd_u8(&r) != KWZ_INDEX)
        return damaged(why);
    payload_len = kerf_rd_varint(&r);
    if (r.bad || payload_len > KERF_BLOCK_MOST ||
        r.left != payload_len + KWZ_CHECK_LEN)
        return damaged(why);
    out->at = kerf_rd_bytes(&r, (size_t)payload_len);
    out->left = (size_t)payload_len;
    out->bad = false;
    if (kerf_rd_u32(&r) != (uint32_t)kerf_xxh3(out->at, out->left))
        return damaged(why);
    return KERF_OK;
}

kerf_err
kerf_kwz_index_read(kerf_kwz_index *out, const uint8_t *data, size_t len,
                    kerf_detail *why)
{
    kerf_kwz_index index = {0};
    void *array = NULL;
    kerf_rd r = {0};
    kerf_err err;

    if (len < KERF_KWZ_HEAD_LEN + KWZ_TRAILER_LEN)
        return kerf_fail(why, KERF_ENOENT, "the .kwz has no index");
    if (memcmp(data, KERF_KWZ_MAGIC, 3) != 0 || data[3] != KERF_KWZ_VERSION)
        return kerf_fail(why, KERF_EVERSION,
                         "not a .kwz of a version that this kerf reads");
    err = find_index(data, len, &r, why);
    if (err != KERF_OK)
        return err;
    if (!take_array(&r, 4, sizeof *index.file, &array, &index.file_count))
        return damaged(why);
    index.file = array;
    if (array == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory");
    for (size_t i = 0; i < index.file_count && err == KERF_OK; i++)
        err = take_entry(&r, &index.file[i], len);
    if (err == KERF_OK && r.left > 0)
        err = KERF_ECORRUPT;
    if (err != KERF_OK) {
        kerf_kwz_index_fini(&index);
        return err == KERF_ENOMEM ? kerf_fail(why, err, "no memory")
                                  : damaged(why);
    }
    *out = index;
    return KERF_OK;
}

/* What a block needs that is the same as an earlier one. */
struct range {
    const kerf_kwz_entry *entry;
    const uint8_t *data;
    size_t len;
    kerf_block_coder *bc;
    bool is_inner; /* fetching what another block is the same as */
};

static bool fetch(void *ctx, uint64_t offset, uint8_t *out, size_t count);

/* Block i to out, checked. */
static kerf_err
decode_place(struct range *g, const kerf_kwz_place *place, uint8_t *out)
{
    kerf_rd r = {.at = g->data + place->at, .left = g->len - place->at};
    kerf_kwz_block b;
    kerf_err err;

    if (!kerf_kwz_block_head(&r, &b) || b.len != place->len ||
        b.data_len > r.left)
        return KERF_ECORRUPT;
    err = kerf_block_decode(g->bc, out, b.len, b.kind, r.at, b.data_len,
                            place->offset, g->is_inner ? NULL : fetch, g);
    if (err == KERF_OK &&
        (uint32_t)kerf_kwz_check(out, b.len, place->offset) != b.check)
        err = KERF_ECORRUPT;
    return err;
}

/* The block that holds the byte at offset. */
static size_t
find_place(const kerf_kwz_entry *e, uint64_t offset)
{
    size_t low = 0;
    size_t high = e->place_count;

    while (high - low > 1) {
        size_t mid = low + (high - low) / 2;

        if (e->place[mid].offset <= offset)
            low = mid;
        else
            high = mid;
    }
    return low;
}

size_t
kerf_kwz_reach(const kerf_kwz_index *index, size_t file, uint64_t offset,
               size_t count)
{
    const kerf_kwz_entry *e = &index->file[file];
    const kerf_kwz_place *p;
    uint64_t left;

    if (offset >= e->len)
        return count;
    p = &e->place[find_place(e, offset)];
    left = p->offset + p->len - offset;
    return left < count ? (size_t)left : count;
}

static kerf_err
copy_range(struct range *g, uint64_t offset, uint8_t *out, size_t count)
{
    const kerf_kwz_entry *e = g->entry;
    uint8_t *block = NULL;
    kerf_err err = KERF_OK;

    if (offset > e->len || count > e->len - offset)
        return KERF_EINVAL;
    for (size_t i = count > 0 ? find_place(e, offset) : 0;
         count > 0 && err == KERF_OK; i++) {
        const kerf_kwz_place *p = &e->place[i];
        size_t from = (size_t)(offset - p->offset);
        size_t part = p->len - from < count ? p->len - from : count;
        uint8_t *grown = realloc(block, p->len + 1);

        if (grown == NULL) {
            err = KERF_ENOMEM;
            break;
        }
        block = grown;
        err = decode_place(g, p, block);
        if (err == KERF_OK)
            memcpy(out, block + from, part);
        out += part;
        offset += part;
        count -= part;
    }
    free(block);
    return err;
}

/* kerf_recall: what a block is the same as is not itself the same as another
 * (plan.h), so that this goes one deep. It has a coder of its own, since the
 * caller's is in use. */
static bool
fetch(void *ctx, uint64_t offset, uint8_t *out, size_t count)
{
    struct range inner = *(struct range *)ctx;
    kerf_err err = kerf_block_coder_new(&inner.bc);

    inner.is_inner = true;
    if (err == KERF_OK) {
        err = copy_range(&inner, offset, out, count);
        kerf_block_coder_free(inner.bc);
    }
    return err == KERF_OK;
}

kerf_err
kerf_kwz_range(const kerf_kwz_index *index, size_t file, const uint8_t *data,
               size_t len, kerf_block_coder *bc, uint64_t offset, size_t count,
               uint8_t *out, kerf_detail *why)
{
    struct range g = {.data = data, .len = len, .bc = bc};
    kerf_err err;

    if (file >= index->file_count)
        return kerf_fail(why, KERF_EINVAL, "there is no such file in the .kwz");
    g.entry = &index->file[file];
    err = copy_range(&g, offset, out, count);
    if (err == KERF_EINVAL)
        return kerf_fail(why, err, "outside the file, which has %llu bytes",
                         (unsigned long long)g.entry->len);
    if (err != KERF_OK)
        return kerf_fail(why, err, "a block of the file is damaged");
    return KERF_OK;
}
