#include "pack/stream.h"

#include <bzlib.h>
#include <lzma.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#define MEMORY_MOST ((uint64_t)512 << 20) /* of an unpacker */
#define PIECE (1u << 30) /* lengths are 32-bit in two of them */

/* A step of one library: moves flow, sets *at_end when a stream ended. */
typedef kerf_err run_step(kerf_stream *s, kerf_flow *flow, bool *at_end);

struct kerf_stream {
    kerf_stream_kind kind;
    bool unpacks;
    bool is_open;  /* the library's state is to be ended */
    bool in_frame; /* unpacking: bytes of a stream were taken, not its end */
    bool any;      /* a stream ended */
    run_step *step;
    z_stream gz;
    bz_stream bz;
    lzma_stream xz;
    ZSTD_CCtx *zip;
    ZSTD_DCtx *unzip;
};

static run_step step_gzip, step_bz2, step_xz, step_zst;

static kerf_stream *
make(kerf_stream_kind kind, bool unpacks)
{
    static run_step *const steps[] = {step_gzip, step_bz2, step_xz, step_zst};
    kerf_stream *s = calloc(1, sizeof *s);

    if (s != NULL) {
        s->kind = kind;
        s->unpacks = unpacks;
        s->step = steps[kind];
        s->xz = (lzma_stream)LZMA_STREAM_INIT;
    }
    return s;
}

static void
end_library(kerf_stream *s)
{
    if (!s->is_open)
        return;
    s->is_open = false;
    if (s->kind == KERF_STREAM_GZIP)
        (void)(s->unpacks ? inflateEnd(&s->gz) : deflateEnd(&s->gz));
    else if (s->kind == KERF_STREAM_BZ2)
        (void)(s->unpacks ? BZ2_bzDecompressEnd(&s->bz)
                          : BZ2_bzCompressEnd(&s->bz));
}

void
kerf_stream_free(kerf_stream *s)
{
    if (s == NULL)
        return;
    end_library(s);
    lzma_end(&s->xz);
    (void)ZSTD_freeCCtx(s->zip);
    (void)ZSTD_freeDCtx(s->unzip);
    free(s);
}

static kerf_err
open_xz_packer(kerf_stream *s, int level, int threads)
{
    lzma_mt mt = {.threads = (uint32_t)threads,
                  .preset = (uint32_t)level,
                  .check = LZMA_CHECK_CRC64};
    lzma_ret rc = threads > 1 ? lzma_stream_encoder_mt(&s->xz, &mt)
                              : lzma_easy_encoder(&s->xz, mt.preset, mt.check);

    if (rc == LZMA_OK)
        return KERF_OK;
    return rc == LZMA_MEM_ERROR ? KERF_ENOMEM : KERF_EINVAL;
}

static kerf_err
open_zst_packer(kerf_stream *s, int level, int threads)
{
    s->zip = ZSTD_createCCtx();
    if (s->zip == NULL)
        return KERF_ENOMEM;
    if (ZSTD_isError(
            ZSTD_CCtx_setParameter(s->zip, ZSTD_c_compressionLevel, level)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(s->zip, ZSTD_c_checksumFlag, 1)))
        return KERF_EINVAL;
    if (threads > 1) /* a build without threads uses one */
        (void)ZSTD_CCtx_setParameter(s->zip, ZSTD_c_nbWorkers, threads);
    return KERF_OK;
}

kerf_err
kerf_stream_packer(kerf_stream **out, kerf_stream_kind kind, int level,
                   int threads)
{
    static const int usual[] = {9, 9, 6, 3};
    kerf_stream *s = make(kind, false);
    kerf_err err = KERF_OK;

    if (s == NULL)
        return KERF_ENOMEM;
    level = level > 0 ? level : usual[kind];
    switch (kind) {
    case KERF_STREAM_GZIP: /* 16: with gzip's head and check */
        s->is_open = deflateInit2(&s->gz, level, Z_DEFLATED, MAX_WBITS + 16, 8,
                                  Z_DEFAULT_STRATEGY) == Z_OK;
        err = s->is_open ? KERF_OK : KERF_ENOMEM;
        break;
    case KERF_STREAM_BZ2:
        s->is_open = BZ2_bzCompressInit(&s->bz, level, 0, 0) == BZ_OK;
        err = s->is_open ? KERF_OK : KERF_ENOMEM;
        break;
    case KERF_STREAM_XZ:
        err = open_xz_packer(s, level, threads);
        break;
    case KERF_STREAM_ZST:
        err = open_zst_packer(s, level, threads);
        break;
    }
    if (err != KERF_OK) {
        kerf_stream_free(s);
        return err;
    }
    *out = s;
    return KERF_OK;
}

kerf_err
kerf_stream_unpacker(kerf_stream **out, kerf_stream_kind kind)
{
    kerf_stream *s = make(kind, true);
    bool ok = s != NULL;

    if (ok && kind == KERF_STREAM_GZIP)
        ok = s->is_open = inflateInit2(&s->gz, MAX_WBITS + 16) == Z_OK;
    else if (ok && kind == KERF_STREAM_BZ2)
        ok = s->is_open = BZ2_bzDecompressInit(&s->bz, 0, 0) == BZ_OK;
    else if (ok && kind == KERF_STREAM_XZ)
        ok = lzma_stream_decoder(&s->xz, MEMORY_MOST, LZMA_CONCATENATED) ==
             LZMA_OK;
    else if (ok)
        ok = (s->unzip = ZSTD_createDCtx()) != NULL;
    if (!ok) {
        kerf_stream_free(s);
        return KERF_ENOMEM;
    }
    *out = s;
    return KERF_OK;
}

static unsigned
piece(size_t n)
{
    return n < PIECE ? (unsigned)n : PIECE;
}

static void
move(kerf_flow *flow, size_t taken, size_t given)
{
    flow->in += taken;
    flow->in_left -= taken;
    flow->out += given;
    flow->out_left -= given;
}

static kerf_err
step_gzip(kerf_stream *s, kerf_flow *flow, bool *at_end)
{
    unsigned in = piece(flow->in_left);
    unsigned out = piece(flow->out_left);
    bool last = flow->is_end && in == flow->in_left;
    int rc;

    s->gz.next_in = (z_const Bytef *)(uintptr_t)flow->in;
    s->gz.avail_in = in;
    s->gz.next_out = flow->out;
    s->gz.avail_out = out;
    rc = s->unpacks ? inflate(&s->gz, Z_NO_FLUSH)
                    : deflate(&s->gz, last ? Z_FINISH : Z_NO_FLUSH);
    move(flow, in - s->gz.avail_in, out - s->gz.avail_out);
    *at_end = rc == Z_STREAM_END;
    if (*at_end && s->unpacks)
        rc = inflateReset(&s->gz);
    if (rc == Z_MEM_ERROR)
        return KERF_ENOMEM;
    return rc >= 0 || rc == Z_BUF_ERROR ? KERF_OK : KERF_ECORRUPT;
}

static kerf_err
step_bz2(kerf_stream *s, kerf_flow *flow, bool *at_end)
{
    unsigned in = piece(flow->in_left);
    unsigned out = piece(flow->out_left);
    bool last = flow->is_end && in == flow->in_left;
    int rc;

    s->bz.next_in = (char *)(uintptr_t)flow->in;
    s->bz.avail_in = in;
    s->bz.next_out = (char *)flow->out;
    s->bz.avail_out = out;
    rc = s->unpacks ? BZ2_bzDecompress(&s->bz)
                    : BZ2_bzCompress(&s->bz, last ? BZ_FINISH : BZ_RUN);
    move(flow, in - s->bz.avail_in, out - s->bz.avail_out);
    *at_end = rc == BZ_STREAM_END;
    if (*at_end && s->unpacks) { /* another may follow */
        end_library(s);
        s->bz = (bz_stream){0};
        s->is_open = BZ2_bzDecompressInit(&s->bz, 0, 0) == BZ_OK;
        return s->is_open ? KERF_OK : KERF_ENOMEM;
    }
    if (rc == BZ_MEM_ERROR)
        return KERF_ENOMEM;
    /* Nothing to take, as yet. */
    return rc >= 0 || (!s->unpacks && rc == BZ_PARAM_ERROR && in == 0)
               ? KERF_OK
               : KERF_ECORRUPT;
}

static kerf_err
step_xz(kerf_stream *s, kerf_flow *flow, bool *at_end)
{
    size_t in = flow->in_left;
    size_t out = flow->out_left;
    lzma_ret rc;

    s->xz.next_in = flow->in;
    s->xz.avail_in = in;
    s->xz.next_out = flow->out;
    s->xz.avail_out = out;
    rc = lzma_code(&s->xz, flow->is_end ? LZMA_FINISH : LZMA_RUN);
    move(flow, in - s->xz.avail_in, out - s->xz.avail_out);
    *at_end = rc == LZMA_STREAM_END;
    switch (rc) {
    case LZMA_OK:
    case LZMA_STREAM_END:
    case LZMA_BUF_ERROR:
        return KERF_OK;
    case LZMA_MEM_ERROR:
        return KERF_ENOMEM;
    case LZMA_MEMLIMIT_ERROR:
        return KERF_ETOOBIG;
    default:
        return KERF_ECORRUPT;
    }
}

static kerf_err
step_zst(kerf_stream *s, kerf_flow *flow, bool *at_end)
{
    ZSTD_inBuffer in = {.src = flow->in, .size = flow->in_left};
    ZSTD_outBuffer out = {.dst = flow->out, .size = flow->out_left};
    size_t left =
        s->unpacks
            ? ZSTD_decompressStream(s->unzip, &out, &in)
            : ZSTD_compressStream2(s->zip, &out, &in,
                                   flow->is_end ? ZSTD_e_end : ZSTD_e_continue);

    move(flow, in.pos, out.pos);
    if (ZSTD_isError(left))
        return KERF_ECORRUPT;
    *at_end = left == 0 && (s->unpacks || flow->is_end);
    return KERF_OK;
}

static kerf_err
say(kerf_err err, const kerf_stream *s, kerf_detail *why)
{
    static const char *const names[] = {"gzip", "bzip2", "xz", "zstd"};

    if (err == KERF_ECORRUPT)
        return kerf_fail(why, err, "damaged: not whole %s data",
                         names[s->kind]);
    return kerf_fail(why, err, "%s: %s", names[s->kind], kerf_err_text(err));
}

kerf_err
kerf_stream_run(kerf_stream *s, kerf_flow *flow, bool *done, kerf_detail *why)
{
    bool at_end = false;
    size_t in_before = flow->in_left;
    size_t out_before = flow->out_left;
    kerf_err err;

    *done = false;
    if (s->unpacks && flow->is_end && flow->in_left == 0 && !s->in_frame &&
        s->any) {
        *done = true;
        return KERF_OK;
    }
    err = s->step(s, flow, &at_end);
    if (err != KERF_OK)
        return say(err, s, why);
    if (!s->unpacks) {
        *done = at_end;
        return KERF_OK;
    }
    if (at_end)
        s->any = true;
    if (at_end || flow->in_left < in_before)
        s->in_frame = !at_end;
    if (at_end && s->kind == KERF_STREAM_XZ)
        *done = true; /* it looks at what follows itself */
    else if (at_end)
        *done = flow->is_end && flow->in_left == 0;
    else if (flow->is_end && flow->in_left == in_before &&
             flow->out_left == out_before && out_before > 0)
        return kerf_fail(why, KERF_ECORRUPT, "it is cut short");
    return KERF_OK;
}
