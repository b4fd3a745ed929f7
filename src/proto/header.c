#include "base/bytes.h"
#include "base/hash.h"
#include "proto/frame.h"

#include <string.h>

static const uint8_t magic[4] = {'K', 'E', 'R', 'F'};

enum {
    HASHED_LEN = 56 /* bytes of the header that its hash covers */
};

const char *
kerf_frame_name(uint8_t type)
{
    static const char *const names[] = {
        [KERF_FRAME_HELLO] = "HELLO",   [KERF_FRAME_WELCOME] = "WELCOME",
        [KERF_FRAME_ATTACH] = "ATTACH", [KERF_FRAME_ATTACHED] = "ATTACHED",
        [KERF_FRAME_ERROR] = "ERROR",   [KERF_FRAME_PING] = "PING",
        [KERF_FRAME_PONG] = "PONG",     [KERF_FRAME_OFFER] = "OFFER",
        [KERF_FRAME_FETCH] = "FETCH",   [KERF_FRAME_PART] = "PART",
        [KERF_FRAME_READY] = "READY",   [KERF_FRAME_TENSOR] = "TENSOR",
        [KERF_FRAME_RESULT] = "RESULT", [KERF_FRAME_BUSY] = "BUSY",
        [KERF_FRAME_FAILED] = "FAILED", [KERF_FRAME_BYE] = "BYE",
        [KERF_FRAME_BLOCK] = "BLOCK",   [KERF_FRAME_LOADING] = "LOADING",
    };

    if (type >= sizeof names / sizeof *names || names[type] == NULL)
        return "?";
    return names[type];
}

size_t
kerf_head_len(size_t meta_len)
{
    return kerf_align_up(KERF_HEADER_LEN + meta_len, KERF_HEAD_STEP);
}

void
kerf_header_put(uint8_t out[KERF_HEADER_LEN], const kerf_header *h)
{
    kerf_wr w = {.at = out, .left = KERF_HEADER_LEN};

    kerf_wr_bytes(&w, magic, sizeof magic);
    kerf_wr_u8(&w, h->version);
    kerf_wr_u8(&w, h->type);
    kerf_wr_u16(&w, h->flags);
    kerf_wr_u64(&w, h->id);
    kerf_wr_u32(&w, h->meta_len);
    kerf_wr_u32(&w, 0);
    kerf_wr_u64(&w, h->payload_len);
    kerf_wr_u64(&w, h->sent_ns);
    kerf_wr_u64(&w, h->body_hash);
    kerf_wr_u64(&w, 0);
    kerf_wr_u64(&w, kerf_xxh3(out, HASHED_LEN));
}

/* False when the hash differs. */
static bool
read_fields(kerf_header *h, const uint8_t in[KERF_HEADER_LEN])
{
    kerf_rd r = {.at = in + sizeof magic,
                 .left = KERF_HEADER_LEN - sizeof magic};

    h->version = kerf_rd_u8(&r);
    h->type = kerf_rd_u8(&r);
    h->flags = kerf_rd_u16(&r);
    h->id = kerf_rd_u64(&r);
    h->meta_len = kerf_rd_u32(&r);
    (void)kerf_rd_u32(&r);
    h->payload_len = kerf_rd_u64(&r);
    h->sent_ns = kerf_rd_u64(&r);
    h->body_hash = kerf_rd_u64(&r);
    (void)kerf_rd_u64(&r);
    return kerf_rd_u64(&r) == kerf_xxh3(in, HASHED_LEN);
}

/* A peer of another version says why it leaves in a frame whose layout is the
 * same in every version: only that may be read. */
static kerf_err
refuse_version(kerf_header *h, bool whole, kerf_detail *why)
{
    unsigned theirs = h->version;

    if (!whole || h->type != KERF_FRAME_ERROR || h->meta_len > KERF_META_MAX ||
        h->payload_len != 0)
        *h = (kerf_header){.version = h->version};
    return kerf_fail(why, KERF_EVERSION,
                     "the peer speaks wire version %u, this kerf speaks "
                     "version %d: update the older one",
                     theirs, KERF_WIRE_VERSION);
}

kerf_err
kerf_header_get(kerf_header *h, const uint8_t in[KERF_HEADER_LEN],
                uint64_t max_payload, kerf_detail *why)
{
    bool whole;

    *h = (kerf_header){0};
    if (memcmp(in, magic, sizeof magic) != 0)
        return kerf_fail(why, KERF_EPROTO,
                         "not a kerf frame (starts with %02x %02x %02x %02x)",
                         in[0], in[1], in[2], in[3]);
    whole = read_fields(h, in);
    if (h->version != KERF_WIRE_VERSION)
        return refuse_version(h, whole, why);
    if (!whole)
        return kerf_fail(why, KERF_EPROTO, "damaged frame header (hash)");
    if (h->meta_len > KERF_META_MAX) {
        return kerf_fail(why, KERF_ETOOBIG,
                         "%s frame: meta of %lu bytes, the limit is %zu",
                         kerf_frame_name(h->type), (unsigned long)h->meta_len,
                         KERF_META_MAX);
    }
    if (h->payload_len > max_payload || h->payload_len > KERF_PAYLOAD_MAX) {
        return kerf_fail(why, KERF_ETOOBIG,
                         "%s frame: payload of %llu bytes, the limit is %llu",
                         kerf_frame_name(h->type),
                         (unsigned long long)h->payload_len,
                         (unsigned long long)(max_payload < KERF_PAYLOAD_MAX
                                                  ? max_payload
                                                  : KERF_PAYLOAD_MAX));
    }
    if (h->payload_len % KERF_PIECE_ALIGN != 0) {
        return kerf_fail(why, KERF_EPROTO,
                         "%s frame: payload of %llu bytes is not padded to %d",
                         kerf_frame_name(h->type),
                         (unsigned long long)h->payload_len, KERF_PIECE_ALIGN);
    }
    return KERF_OK;
}

uint64_t
kerf_body_hash(uint64_t seed, const void *data, size_t len)
{
    return kerf_xxh3_seed(data, len, seed);
}

size_t
kerf_head_seal(uint8_t *head, kerf_header *h, size_t meta_len)
{
    size_t len = kerf_head_len(meta_len);

    h->version = KERF_WIRE_VERSION;
    h->meta_len = (uint32_t)meta_len;
    kerf_header_put(head, h);
    memset(head + KERF_HEADER_LEN + meta_len, 0,
           len - KERF_HEADER_LEN - meta_len);
    return len;
}
