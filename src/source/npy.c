#include "source/npy.h"

#include "base/bytes.h"
#include "base/fs.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The header is a Python dict: {'descr': '<f4', 'fortran_order': False,
 * 'shape': (1, 3), }. We read exactly these keys, in any order. */

static const struct {
    const char *code; /* after the byte order */
    kerf_dtype dtype;
} codes[] = {
    {"f4", KERF_F32}, {"f2", KERF_F16}, {"f8", KERF_F64}, {"u1", KERF_U8},
    {"i1", KERF_I8},  {"u2", KERF_U16}, {"i2", KERF_I16}, {"u4", KERF_U32},
    {"i4", KERF_I32}, {"u8", KERF_U64}, {"i8", KERF_I64}, {"b1", KERF_BOOL},
};

typedef struct text {
    const char *at, *end;
} text;

static void
skip_space(text *t)
{
    while (t->at < t->end && strchr(" \t\r\n", *t->at) != NULL && *t->at != 0)
        t->at++;
}

static bool
take_char(text *t, char c)
{
    skip_space(t);
    if (t->at == t->end || *t->at != c)
        return false;
    t->at++;
    return true;
}

static bool
take_word(text *t, const char *word)
{
    size_t len = strlen(word);

    skip_space(t);
    if ((size_t)(t->end - t->at) < len || memcmp(t->at, word, len) != 0)
        return false;
    t->at += len;
    return true;
}

/* 'text' into out[cap]. */
static bool
take_string(text *t, char *out, size_t cap)
{
    size_t n = 0;
    char quote;

    skip_space(t);
    if (t->at == t->end || (*t->at != '\'' && *t->at != '"'))
        return false;
    quote = *t->at++;
    while (t->at < t->end && *t->at != quote) {
        if (n + 1 >= cap || *t->at == 0)
            return false;
        out[n++] = *t->at++;
    }
    out[n] = '\0';
    return take_char(t, quote);
}

static bool
take_dim(text *t, int64_t *out)
{
    int64_t v = 0;
    const char *start;

    skip_space(t);
    start = t->at;
    for (; t->at < t->end && *t->at >= '0' && *t->at <= '9'; t->at++) {
        if (v > (INT64_MAX - 9) / 10)
            return false;
        v = v * 10 + (*t->at - '0');
    }
    *out = v;
    return t->at != start;
}

static bool
take_shape(text *t, kerf_shape *s)
{
    *s = (kerf_shape){0};
    if (!take_char(t, '('))
        return false;
    while (!take_char(t, ')')) {
        if (s->rank == KERF_RANK_MAX || !take_dim(t, &s->dims[s->rank]))
            return false;
        s->rank++;
        if (!take_char(t, ',') && (skip_space(t), t->at < t->end) &&
            *t->at != ')')
            return false;
    }
    return true;
}

static kerf_err
read_descr(const char *descr, kerf_dtype *out, kerf_detail *why)
{
    if (descr[0] == '>') {
        return kerf_fail(why, KERF_ENOTSUP,
                         "big-endian data (%s): save it with "
                         ".astype('<%s')",
                         descr, descr + 1);
    }
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        if (strchr("<|=", descr[0]) != NULL && descr[0] != '\0' &&
            strcmp(descr + 1, codes[i].code) == 0) {
            *out = codes[i].dtype;
            return KERF_OK;
        }
    }
    return kerf_fail(why, KERF_ENOTSUP,
                     "data of a kind that tensors cannot "
                     "hold: save it as float32");
}

static kerf_err
read_dict(text *t, kerf_tensor *out, kerf_detail *why)
{
    char key[16];
    char descr[16] = "";
    unsigned seen = 0;
    bool good = take_char(t, '{');

    while (good && !take_char(t, '}')) {
        good = take_string(t, key, sizeof key) && take_char(t, ':');
        if (good && strcmp(key, "descr") == 0) {
            /* A list here is a structured dtype. */
            good = take_string(t, descr, sizeof descr);
            seen |= 1;
        } else if (good && strcmp(key, "fortran_order") == 0) {
            if (take_word(t, "True"))
                return kerf_fail(why, KERF_ENOTSUP,
                                 "Fortran order: save it with "
                                 "numpy.ascontiguousarray()");
            good = take_word(t, "False");
            seen |= 2;
        } else if (good && strcmp(key, "shape") == 0) {
            good = take_shape(t, &out->shape);
            seen |= 4;
        } else {
            good = false;
        }
        if (good && !take_char(t, ',')) {
            good = take_char(t, '}');
            break;
        }
    }
    if (!good || seen != 7)
        return kerf_fail(why, KERF_ECORRUPT,
                         "its .npy header is not one of a plain array");
    for (size_t i = 0; descr[i] != '\0'; i++) {
        if (descr[i] < ' ' || descr[i] > '~')
            return kerf_fail(why, KERF_ECORRUPT, "its .npy dtype is no text");
    }
    return read_descr(descr, &out->dtype, why);
}

/* Dtype, shape and bytes into *out; r ends at the data. */
static kerf_err
read_head(kerf_rd *r, kerf_tensor *out, kerf_detail *why)
{
    const uint8_t *magic = kerf_rd_bytes(r, 6);
    unsigned major = kerf_rd_u8(r);
    size_t head_len;
    const char *head;
    kerf_err err;

    if (magic == NULL || memcmp(magic, "\x93NUMPY", 6) != 0)
        return kerf_fail(why, KERF_ECORRUPT, "not an .npy file");
    (void)kerf_rd_u8(r); /* minor */
    if (major < 1 || major > 3)
        return kerf_fail(why, KERF_ENOTSUP, "an .npy file of version %u",
                         major);
    head_len = major == 1 ? kerf_rd_u16(r) : kerf_rd_u32(r);
    head = (const char *)kerf_rd_bytes(r, head_len);
    if (head == NULL || r->bad)
        return kerf_fail(why, KERF_ECORRUPT, "the .npy file is cut short");
    err = read_dict(&(text){head, head + head_len}, out, why);
    if (err != KERF_OK)
        return err;
    if (kerf_shape_bytes(&out->shape, out->dtype, &out->bytes) != KERF_OK)
        return kerf_fail(why, KERF_ETOOBIG, "the array is too big");
    return KERF_OK;
}

kerf_err
kerf_npy_view(kerf_tensor *out, const uint8_t *data, size_t len,
              kerf_detail *why)
{
    kerf_rd r = {.at = data, .left = len};
    kerf_tensor t = {0};
    kerf_err err = read_head(&r, &t, why);

    if (err != KERF_OK)
        return err;
    if (r.left < t.bytes)
        return kerf_fail(why, KERF_ECORRUPT,
                         "the .npy file is cut short: %zu of %zu bytes", r.left,
                         t.bytes);
    t.data = (void *)(uintptr_t)r.at;
    *out = t;
    return KERF_OK;
}

kerf_err
kerf_npy_dtype(kerf_dtype *out, const char *path, kerf_detail *why)
{
    uint8_t head[4096]; /* NumPy writes 128 bytes, or a few more */
    FILE *f = fopen(path, "rbe");
    kerf_rd r = {.at = head};
    kerf_tensor t = {0};
    kerf_err err;

    if (f == NULL)
        return kerf_fail(why, kerf_err_from_errno(errno), "%s: %s", path,
                         strerror(errno));
    r.left = fread(head, 1, sizeof head, f);
    (void)fclose(f);
    err = read_head(&r, &t, why);
    if (err != KERF_OK)
        return kerf_fail_in(why, err, "%s", path);
    *out = t.dtype;
    return KERF_OK;
}

static const char *
find_code(kerf_dtype dtype)
{
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        if (codes[i].dtype == dtype)
            return codes[i].code;
    }
    return NULL;
}

kerf_err
kerf_npy_head(uint8_t out[KERF_NPY_HEAD_MAX], size_t *len, const kerf_tensor *t)
{
    const char *code = find_code(t->dtype);
    char shape[KERF_SHAPE_TEXT];
    char dict[KERF_NPY_HEAD_MAX];
    kerf_wr w = {.at = out, .left = KERF_NPY_HEAD_MAX};
    size_t total;
    int n;

    if (code == NULL)
        return KERF_ENOTSUP;
    n = snprintf(dict, sizeof dict,
                 "{'descr': '%c%s', 'fortran_order': False, 'shape': %s, }",
                 kerf_dtype_size(t->dtype) == 1 ? '|' : '<', code,
                 kerf_shape_text(shape, &t->shape));
    if (n < 0)
        return KERF_EINVAL;
    total = kerf_align_up(10 + (size_t)n + 1, 64);
    kerf_wr_bytes(&w, "\x93NUMPY\x01\x00", 8);
    kerf_wr_u16(&w, (uint16_t)(total - 10));
    kerf_wr_bytes(&w, dict, (size_t)n);
    for (size_t at = 10 + (size_t)n; at + 1 < total; at++)
        kerf_wr_u8(&w, ' ');
    kerf_wr_u8(&w, '\n');
    *len = total;
    return w.bad ? KERF_ETOOBIG : KERF_OK;
}

kerf_err
kerf_npy_read(kerf_tensor *out, const char *path, kerf_detail *why)
{
    uint8_t *data = NULL;
    size_t len = 0;
    kerf_tensor view = {0};
    kerf_tensor t = {0};
    kerf_err err =
        kerf_fs_read(path, KERF_TENSOR_BYTES_MAX + 65536, &data, &len, why);

    if (err != KERF_OK)
        return err;
    err = kerf_npy_view(&view, data, len, why);
    if (err == KERF_OK)
        err = kerf_tensor_alloc(&t, view.dtype, &view.shape);
    if (err == KERF_OK) {
        if (view.bytes > 0)
            memcpy(t.data, view.data, view.bytes);
        *out = t;
    }
    free(data);
    return err == KERF_OK ? err : kerf_fail_in(why, err, "%s", path);
}

/* A tensor that .npy can hold: t itself, or its values as new f32 in *made. */
static kerf_err
make_writable(kerf_tensor *made, const kerf_tensor *t, const kerf_tensor **out)
{
    kerf_err err;

    *out = t;
    if (find_code(t->dtype) != NULL)
        return KERF_OK;
    err = kerf_tensor_alloc(made, KERF_F32, &t->shape);
    if (err != KERF_OK)
        return err;
    for (size_t i = 0; i < made->bytes / sizeof(float); i++)
        ((float *)made->data)[i] = (float)kerf_tensor_at(t, i);
    *out = made;
    return KERF_OK;
}

kerf_err
kerf_npy_write(const char *path, const kerf_tensor *t, kerf_detail *why)
{
    uint8_t head[KERF_NPY_HEAD_MAX];
    kerf_tensor made = {0};
    uint8_t *all = NULL;
    size_t len = 0;
    kerf_err err = make_writable(&made, t, &t);

    if (err == KERF_OK)
        err = kerf_npy_head(head, &len, t);
    if (err != KERF_OK)
        goto out;
    all = malloc(len + t->bytes);
    if (all == NULL) {
        err = kerf_fail(why, KERF_ENOMEM, "%s: no memory", path);
        goto out;
    }
    memcpy(all, head, len);
    memcpy(all + len, t->data, t->bytes);
    err = kerf_fs_write(path, all, len + t->bytes, why);
out:
    free(all);
    kerf_tensor_free(&made);
    return err;
}
