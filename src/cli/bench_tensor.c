/*
 * bench_tensor.c - `kerf bench tensor`: each codec on tensors from files, or on
 * those that cross a cut (bench_agree.c).
 */
#include "bench/tensor.h"
#include "cli/bench_agree.h"
#include "cli/bench_ui.h"
#include "cli/cmd.h"
#include "cli/json_line.h"
#include "cli/opts.h"
#include "source/npy.h"

#include <stdio.h>

static const char *files[KERF_LIST_MAX];
static int rounds = 9;
static const char *only;
static kerf_bench_ui ui;
static kerf_agree_flags agree = {.rules = KERF_RULES_DEFAULTS};

static const kerf_opt table[] = {
    {.name = "rounds",
     .kind = KERF_OPT_INT,
     .to = &rounds,
     .min = 1,
     .max = 10000,
     .help = "times that each is measured, in turns; medians count"},
    {.name = "codec",
     .kind = KERF_OPT_TEXT,
     .to = &only,
     .value = "NAME",
     .no_default = true,
     .help = "only this one; default: all"},
    {.name = "check",
     .kind = KERF_OPT_FLAG,
     .to = &ui.check,
     .help = "q8 and exact against their bars; exit status 1: one is not met"},
    {.name = "json",
     .kind = KERF_OPT_FLAG,
     .to = &agree.json,
     .help = "one JSON object per codec on stdout"},
    {.kind = KERF_OPT_GROUP, .help = "What a cut network answers"},
    {.name = "at",
     .kind = KERF_OPT_TEXT,
     .to = &agree.at,
     .value = "NAME[,NAME...]",
     .help = "where MODEL is cut, as for kerf cut"},
    {.name = "input",
     .kind = KERF_OPT_LIST,
     .to = &agree.input,
     .help = "images, folders, or one .npy of u8 [N,height,width,3]"},
    {.name = "truth",
     .kind = KERF_OPT_TEXT,
     .to = &agree.truth,
     .value = "FILE.npy",
     .help = "the class of each picture"},
    {.name = "boxes",
     .kind = KERF_OPT_FLAG,
     .to = &agree.boxes,
     .help = "output 0 is FastestDet's: F1 of boxes instead of classes"},
    {.name = "plot",
     .kind = KERF_OPT_TEXT,
     .to = &agree.plot,
     .value = "FILE",
     .help = "draw bytes against agreement: .svg or .png (gnuplot)"},
    KERF_RULES_ROWS(&agree.rules),
    KERF_CMD_ENGINE_OPTS(&agree.engine, &agree.common),
    KERF_CMD_LOG_OPT(&agree.common),
};

static kerf_err
measure(kerf_tensor_score *score, kerf_codec *codec, kerf_codec_id id,
        kerf_detail *why)
{
    kerf_err err = KERF_OK;

    for (size_t i = 0; err == KERF_OK && files[i] != NULL; i++) {
        kerf_tensor t = {0};

        err = kerf_npy_read(&t, files[i], why);
        if (err == KERF_OK && t.dtype != KERF_F32)
            err = kerf_fail(why, KERF_ENOTSUP, "not f32");
        if (err == KERF_OK)
            err = kerf_bench_tensor(score, codec, id, &t, rounds, why);
        kerf_tensor_free(&t);
        if (err != KERF_OK)
            return kerf_fail_in(why, err, "%s", files[i]);
    }
    return err;
}

static size_t
count_files(void)
{
    size_t n = 0;

    while (files[n] != NULL)
        n++;
    return n;
}

static void
show(kerf_codec_id id, const kerf_tensor_score *s)
{
    const char *name = kerf_codec_name((uint8_t)id);

    if (agree.json) {
        kerf_json_line(json_pack(
            "{s:s, s:s, s:I, s:I, s:f, s:f, s:f, s:f, s:I, s:f, s:f, s:f}",
            "event", "codec", "codec", name, "raw_bytes", (json_int_t)s->raw,
            "coded_bytes", (json_int_t)s->coded, "encode_us", s->encode_us,
            "decode_us", s->decode_us, "alone_us", s->alone_us, "max_error",
            s->max_error, "zlib_bytes", (json_int_t)s->zlib, "zlib_encode_us",
            s->zlib_encode_us, "zlib_decode_us", s->zlib_decode_us,
            "entropy_bytes", s->entropy));
        return;
    }
    (void)printf("%-6s %9zu %6.3f %9.1f %9.1f %8.1e  %7.3f %6.1fx %5.1fx", name,
                 s->coded, (double)s->coded / (double)s->raw, s->encode_us,
                 s->decode_us, s->max_error, (double)s->coded / (double)s->zlib,
                 s->zlib_encode_us / s->encode_us,
                 s->zlib_decode_us / s->decode_us);
    if (s->entropy > 0)
        (void)printf("  %7.3f", (double)s->coded / s->entropy);
    (void)fputc('\n', stdout);
}

struct bars {
    double entropy, zlib;  /* bytes are at most this part; 0: none */
    double encode, decode; /* times as fast as zlib -6 at least */
};

/* Both ways, of a tensor of so many bytes. */
#define SMALL_BYTES 16384
#define SMALL_MOST_US 12.0

static void
judge_most(kerf_codec_id id, const char *what, double value, double bar,
           const char *unit)
{
    char text[64];

    (void)snprintf(text, sizeof text, "%s: %s", kerf_codec_name((uint8_t)id),
                   what);
    kerf_bench_ui_judge(&ui, value <= bar, text, value, bar, unit);
}

static void
judge_least(kerf_codec_id id, const char *what, double value, double bar)
{
    char text[64];

    (void)snprintf(text, sizeof text, "%s: %s", kerf_codec_name((uint8_t)id),
                   what);
    kerf_bench_ui_judge(&ui, value >= bar, text, value, bar, "x");
}

/* What docs/BENCHMARKS.md promises of real activations. */
static void
judge(kerf_codec_id id, const kerf_tensor_score *s, size_t tensors)
{
    static const struct bars q8 = {1.02, 1.05, 20, 4};
    static const struct bars exact = {0, 0.95, 50, 10};
    const struct bars *b = id == KERF_CODEC_Q8 ? &q8 : &exact;

    if (id != KERF_CODEC_Q8 && id != KERF_CODEC_EXACT)
        return;
    if (b->entropy > 0)
        judge_most(id, "bytes / order-0 entropy", (double)s->coded / s->entropy,
                   b->entropy, "x");
    judge_most(id, "bytes / zlib -6", (double)s->coded / (double)s->zlib,
               b->zlib, "x");
    judge_least(id, "encoding, faster than zlib -6",
                s->zlib_encode_us / s->encode_us, b->encode);
    judge_least(id, "decoding, faster than zlib -6",
                s->zlib_decode_us / s->decode_us, b->decode);
    if (s->raw == tensors * SMALL_BYTES)
        judge_most(id, "16 KB, encoding and decoding",
                   s->alone_us / (double)tensors, SMALL_MOST_US, " us");
}

static int
cut_network(void)
{
    if (agree.input.count == 0 || files[1] != NULL || only != NULL)
        return kerf_usage_error(
            "bench tensor", "--at takes one MODEL, --input, and all codecs");
    agree.model = files[0];
    return kerf_bench_agree(&agree);
}

int
kerf_bench_tensor_main(int argc, char **argv)
{
    const kerf_command command = {
        .name = "bench tensor",
        .usage = "FILE.npy... [flags]\n"
                 "       kerf bench tensor MODEL --at NAME --input SRC... "
                 "[flags]",
        .about =
            "What each tensor codec makes of f32 tensors: bytes, CPU time "
            "of one thread,\nerror in parts of the greatest value; beside "
            "zlib -6 on the steps (of the f32\nbytes where there are "
            "none), and the steps' order-0 entropy. With --at: what MODEL "
            "still answers when it\nis cut there and the tensors are packed, "
            "beside JPEG and WebP of the picture at\nthe network's size.",
        .opt = table,
        .opt_count = sizeof table / sizeof *table,
        .arg = files,
        .arg_least = 1,
        .arg_most = KERF_LIST_MAX - 1,
        .arg_name = "FILE.npy or MODEL"};
    int status = kerf_opts_parse(&command, argc, argv);
    kerf_codec_id wanted = KERF_CODEC_RAW;
    kerf_codec *codec = NULL;
    kerf_detail why = {{0}};
    kerf_err err;

    if (status >= 0)
        return status;
    kerf_cmd_apply(&agree.common, &agree.engine);
    kerf_bench_ui_begin(&ui);
    ui.json = agree.json;
    if (agree.at != NULL)
        return cut_network();
    if (agree.input.count > 0 || agree.truth != NULL || agree.plot != NULL ||
        agree.boxes)
        return kerf_usage_error("bench tensor", "--at is missing");
    if (only != NULL &&
        (!kerf_codec_from_name(only, &wanted) || wanted == KERF_CODEC_RAW))
        return kerf_usage_error("bench tensor", "unknown codec %s", only);
    err = kerf_codec_new(&codec);
    if (!agree.json)
        (void)printf("%-6s %9s %6s %9s %9s %8s  %7s %7s %6s  %7s\n", "codec",
                     "bytes", "/f32", "encode us", "decode us", "error",
                     "/zlib", "faster", "", "/order0");
    for (int id = 1; err == KERF_OK && id < KERF_CODEC_COUNT; id++) {
        kerf_tensor_score score = {0};

        if (wanted != KERF_CODEC_RAW && id != (int)wanted)
            continue;
        err = measure(&score, codec, (kerf_codec_id)id, &why);
        if (err == KERF_OK)
            show((kerf_codec_id)id, &score);
        if (err == KERF_OK && ui.check)
            judge((kerf_codec_id)id, &score, count_files());
    }
    kerf_codec_free(codec);
    return err == KERF_OK ? kerf_bench_ui_status(&ui)
                          : kerf_cmd_failed(err, &why);
}
