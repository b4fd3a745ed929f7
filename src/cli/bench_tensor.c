/*
 * bench_tensor.c - `kerf bench tensor`: each codec on tensors from files.
 */
#include "bench/tensor.h"
#include "cli/cmd.h"
#include "cli/json_line.h"
#include "cli/opts.h"
#include "source/npy.h"

#include <stdio.h>

static const char *files[KERF_LIST_MAX];
static int rounds = 9;
static const char *only;
static bool json;

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
    {.name = "json",
     .kind = KERF_OPT_FLAG,
     .to = &json,
     .help = "one JSON object per codec on stdout"},
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

static void
show(kerf_codec_id id, const kerf_tensor_score *s)
{
    const char *name = kerf_codec_name((uint8_t)id);

    if (json) {
        kerf_json_line(json_pack(
            "{s:s, s:s, s:I, s:I, s:f, s:f, s:f, s:I, s:f, s:f, s:f}", "event",
            "codec", "codec", name, "raw_bytes", (json_int_t)s->raw,
            "coded_bytes", (json_int_t)s->coded, "encode_us", s->encode_us,
            "decode_us", s->decode_us, "max_error", s->max_error, "zlib_bytes",
            (json_int_t)s->zlib, "zlib_encode_us", s->zlib_encode_us,
            "zlib_decode_us", s->zlib_decode_us, "entropy_bytes", s->entropy));
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

int
kerf_bench_tensor_main(int argc, char **argv)
{
    const kerf_command command = {
        .name = "bench tensor",
        .usage = "FILE.npy... [flags]",
        .about = "What each tensor codec makes of f32 tensors: bytes, CPU time "
                 "of one thread,\nerror in parts of the greatest value; beside "
                 "zlib -6 on the steps (of the f32\nbytes where there are "
                 "none), and the steps' order-0 entropy.",
        .opt = table,
        .opt_count = sizeof table / sizeof *table,
        .arg = files,
        .arg_least = 1,
        .arg_most = KERF_LIST_MAX - 1,
        .arg_name = "FILE.npy"};
    int status = kerf_opts_parse(&command, argc, argv);
    kerf_codec_id wanted = KERF_CODEC_RAW;
    kerf_codec *codec = NULL;
    kerf_detail why = {{0}};
    kerf_err err;

    if (status >= 0)
        return status;
    if (only != NULL &&
        (!kerf_codec_from_name(only, &wanted) || wanted == KERF_CODEC_RAW))
        return kerf_usage_error("bench tensor", "unknown codec %s", only);
    err = kerf_codec_new(&codec);
    if (!json)
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
    }
    kerf_codec_free(codec);
    return err == KERF_OK ? 0 : kerf_cmd_failed(err, &why);
}
