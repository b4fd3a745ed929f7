#include "proto/legacy.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/bytes.h"
#include "base/fs.h"
#include "base/text.h"

#define SEND_FOLDER "data/send/model/"

enum {
    /* The reference states the size of a Python bytes object. */
    BYTES_OBJECT = 33
};

void
kerf_legacy_init(kerf_legacy_reader *r, kerf_legacy_kind kind, uint64_t len_max)
{
    *r = (kerf_legacy_reader){.kind = kind, .len_max = len_max};
}

void
kerf_legacy_fini(kerf_legacy_reader *r)
{
    free(r->json);
    r->json = NULL;
    r->json_len = 0;
    r->got = 0;
}

size_t
kerf_legacy_need(const kerf_legacy_reader *r)
{
    return (r->json == NULL ? sizeof r->start : r->json_len) - r->got;
}

bool
kerf_legacy_idle(const kerf_legacy_reader *r)
{
    return r->json == NULL && r->got == 0;
}

bool
kerf_legacy_is_name(const char *name)
{
    static const char start[] = "client_infer_";
    size_t len = strlen(name);
    size_t end = kerf_path_ends(name, ".pdmodel")     ? strlen(".pdmodel")
                 : kerf_path_ends(name, ".pdiparams") ? strlen(".pdiparams")
                                                      : 0;

    return end > 0 && len > sizeof start - 1 + end &&
           strncmp(name, start, sizeof start - 1) == 0 &&
           kerf_text_is_name(name);
}

/* A path that climbs is an attack, also when its last part is harmless. */
static bool
climbs(const char *path)
{
    for (const char *at = path; at != NULL; at = strchr(at, '/')) {
        at += *at == '/' ? 1 : 0;
        if (strncmp(at, "..", 2) == 0 && (at[2] == '/' || at[2] == '\0'))
            return true;
        if (*at == '\0')
            break;
    }
    return false;
}

static kerf_err
read_file(kerf_legacy_message *m, const json_t *root, uint64_t most,
          kerf_detail *why)
{
    const char *path = json_string_value(json_object_get(root, "filename"));
    const json_t *size = json_object_get(root, "filesize");
    json_int_t bytes = json_is_integer(size) ? json_integer_value(size) : -1;

    if (path == NULL)
        return kerf_fail(why, KERF_EPROTO,
                         "legacy file: \"filename\": expected a text");
    if (climbs(path) || !kerf_legacy_is_name(kerf_path_base(path))) {
        char safe[256];

        return kerf_fail(why, KERF_EPROTO,
                         "legacy file: refused the name \"%s\": expected "
                         "client_infer_NAME.pdmodel or .pdiparams, without "
                         "\"..\"",
                         kerf_text_safe(safe, sizeof safe, path));
    }
    (void)snprintf(m->name, sizeof m->name, "%s", kerf_path_base(path));
    if (bytes < 0) {
        return kerf_fail(why, KERF_EPROTO,
                         "legacy file %s: \"filesize\": expected a whole "
                         "number from 0",
                         m->name);
    }
    if ((uint64_t)bytes > most)
        return kerf_fail(why, KERF_ETOOBIG,
                         "legacy file %s: %lld bytes, the limit is %llu",
                         m->name, (long long)bytes, (unsigned long long)most);
    m->len = (uint64_t)bytes;
    return KERF_OK;
}

/* "filesize" is not looked at: the reference states a wrong one. */
static kerf_err
read_tensor(kerf_legacy_message *m, const json_t *root, uint64_t most,
            kerf_detail *why)
{
    const json_t *index = json_object_get(root, "filename");
    const json_t *dims = json_object_get(root, "tensorshape");
    size_t rank = json_array_size(dims);
    size_t bytes = 0;

    if (!json_is_integer(index) || json_integer_value(index) < 0)
        return kerf_fail(why, KERF_EPROTO,
                         "legacy tensor: \"filename\": expected its number");
    m->index = (uint64_t)json_integer_value(index);
    if (!json_is_array(dims) || rank > KERF_RANK_MAX) {
        return kerf_fail(why, KERF_EPROTO,
                         "legacy tensor %" PRIu64
                         ": \"tensorshape\": expected at most %d numbers",
                         m->index, KERF_RANK_MAX);
    }
    m->shape.rank = (uint32_t)rank;
    for (size_t i = 0; i < rank; i++) {
        const json_t *dim = json_array_get(dims, i);

        m->shape.dims[i] = json_is_integer(dim) ? json_integer_value(dim) : -1;
    }
    switch (kerf_shape_bytes(&m->shape, KERF_F32, &bytes)) {
    case KERF_OK:
        break;
    case KERF_ETOOBIG:
        bytes = SIZE_MAX;
        break;
    default:
        return kerf_fail(why, KERF_EPROTO,
                         "legacy tensor %" PRIu64
                         ": \"tensorshape\": expected whole numbers from 0",
                         m->index);
    }
    if (bytes > most) {
        return kerf_fail(why, KERF_ETOOBIG,
                         "legacy tensor %" PRIu64
                         ": its shape has more than the limit of %llu bytes",
                         m->index, (unsigned long long)most);
    }
    m->len = bytes;
    return KERF_OK;
}

static kerf_err
read_json(const kerf_legacy_reader *r, kerf_legacy_message *m, kerf_detail *why)
{
    json_error_t at;
    json_t *root = json_loadb((const char *)r->json, r->json_len,
                              JSON_REJECT_DUPLICATES, &at);
    kerf_err err;

    if (root == NULL) /* jansson's text quotes the peer: only say where */
        return kerf_fail(why, KERF_EPROTO,
                         "legacy header: not JSON at byte %d of %zu",
                         at.position, r->json_len);
    *m = (kerf_legacy_message){.kind = r->kind};
    err = r->kind == KERF_LEGACY_FILE ? read_file(m, root, r->len_max, why)
                                      : read_tensor(m, root, r->len_max, why);
    json_decref(root);
    return err;
}

/* start is whole: checks n and makes room for the JSON. */
static kerf_err
begin_json(kerf_legacy_reader *r, kerf_detail *why)
{
    kerf_rd rd = {.at = r->start, .left = sizeof r->start};
    uint32_t n = kerf_rd_u32(&rd);

    if (n < 1 || n > KERF_LEGACY_JSON_MAX) {
        return kerf_fail(why, KERF_EPROTO,
                         "legacy header: length %" PRId32
                         ", expected 1 to %zu: not this wire",
                         (int32_t)n, KERF_LEGACY_JSON_MAX);
    }
    r->json = malloc(n);
    if (r->json == NULL)
        return kerf_fail(why, KERF_ENOMEM, "legacy header: no memory");
    r->json_len = n;
    r->got = 0;
    return KERF_OK;
}

static size_t
take(kerf_legacy_reader *r, const uint8_t *data, size_t len)
{
    size_t need = kerf_legacy_need(r);
    size_t n = len < need ? len : need;

    if (n > 0)
        memcpy((r->json == NULL ? r->start : r->json) + r->got, data, n);
    r->got += n;
    return n;
}

kerf_err
kerf_legacy_feed(kerf_legacy_reader *r, const uint8_t *data, size_t len,
                 size_t *used, bool *ready, kerf_legacy_message *m,
                 kerf_detail *why)
{
    kerf_err err;

    *ready = false;
    *used = 0;
    if (r->json == NULL) {
        *used = take(r, data, len);
        if (kerf_legacy_need(r) > 0)
            return KERF_OK;
        err = begin_json(r, why);
        if (err != KERF_OK)
            return err;
    }
    *used += take(r, data + *used, len - *used);
    if (kerf_legacy_need(r) > 0)
        return KERF_OK;
    err = read_json(r, m, why);
    if (err != KERF_OK)
        return err;
    kerf_legacy_fini(r); /* ready for the next header */
    *ready = true;
    return KERF_OK;
}

/* n and the text into out; 0 when there is no room. */
static size_t
put_header(uint8_t *out, size_t cap, const char *text)
{
    kerf_wr w = {.at = out, .left = cap};
    size_t len = strlen(text);

    kerf_wr_u32(&w, (uint32_t)len);
    kerf_wr_bytes(&w, text, len);
    return w.bad ? 0 : sizeof(uint32_t) + len;
}

size_t
kerf_legacy_put_file(uint8_t *out, size_t cap, const char *name, uint64_t size)
{
    char text[KERF_LEGACY_PUT_MAX];

    if (!kerf_legacy_is_name(name)) /* so that no character needs an escape */
        return 0;
    (void)snprintf(text, sizeof text,
                   "{\"filename\": \"" SEND_FOLDER
                   "%s\", \"filesize\": %" PRIu64 "}",
                   name, size);
    return put_header(out, cap, text);
}

size_t
kerf_legacy_put_tensor(uint8_t *out, size_t cap, uint64_t index,
                       const kerf_shape *shape)
{
    char text[KERF_LEGACY_PUT_MAX];
    size_t bytes = 0;
    size_t used;

    if (kerf_shape_bytes(shape, KERF_F32, &bytes) != KERF_OK)
        return 0;
    used = (size_t)snprintf(text, sizeof text,
                            "{\"filename\": %" PRIu64
                            ", \"filesize\": %zu, \"tensorshape\": [",
                            index, bytes + BYTES_OBJECT);
    for (uint32_t i = 0; i < shape->rank; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%" PRId64,
                                 i == 0 ? "" : ", ", shape->dims[i]);
    (void)snprintf(text + used, sizeof text - used, "]}");
    return put_header(out, cap, text);
}
