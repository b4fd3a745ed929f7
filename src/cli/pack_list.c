#include "cli/pack_list.h"

#include "base/text.h"
#include "cli/json_line.h"
#include "pack/look.h"

#include <stdio.h>

static size_t
elements(const kerf_segment *s)
{
    size_t size = kerf_dtype_size(s->dtype);

    return size > 0 ? s->len / size : s->len;
}

static void
show_file(const kerf_look *look, size_t i)
{
    const kerf_kwz_entry *e = &look->index.file[i];
    char name[256], size[32];

    printf("%s: %s, %zu tensors\n",
           e->name != NULL ? kerf_text_safe(name, sizeof name, e->name)
                           : "(no name)",
           kerf_text_bytes(size, sizeof size, e->len), e->segment_count);
    for (size_t k = 0; k < e->segment_count; k++) {
        const kerf_segment *s = &e->segment[k];
        const char *tensor = kerf_look_tensor_name(look, i, k);

        printf("%6zu  %-4s %12zu  at %-12zu %s\n", k, kerf_dtype_name(s->dtype),
               elements(s), s->offset,
               tensor != NULL ? kerf_text_safe(name, sizeof name, tensor) : "");
    }
}

static void
show_file_json(const kerf_look *look, const char *path, size_t i)
{
    const kerf_kwz_entry *e = &look->index.file[i];
    json_t *tensors = json_array();

    for (size_t k = 0; tensors != NULL && k < e->segment_count; k++) {
        const kerf_segment *s = &e->segment[k];
        const char *name = kerf_look_tensor_name(look, i, k);
        json_t *one = json_pack(
            "{s:I, s:s, s:I, s:I, s:I}", "number", (json_int_t)k, "dtype",
            kerf_dtype_name(s->dtype), "elements", (json_int_t)elements(s),
            "offset", (json_int_t)s->offset, "bytes", (json_int_t)s->len);

        if (one != NULL && name != NULL)
            (void)json_object_set_new(one, "name", kerf_json_text(name));
        (void)json_array_append_new(tensors, one);
    }
    kerf_json_line(json_pack("{s:s, s:o, s:o, s:I, s:o}", "event", "listed",
                             "from", kerf_json_text(path), "file",
                             kerf_json_text(e->name), "bytes",
                             (json_int_t)e->len, "tensors", tensors));
}

kerf_err
kerf_pack_list(const char *path, bool json, kerf_detail *why)
{
    kerf_look look = {0};
    kerf_err err = kerf_look_open(&look, path, why);

    if (err != KERF_OK)
        return err;
    for (size_t i = 0; i < look.index.file_count; i++) {
        if (json)
            show_file_json(&look, path, i);
        else
            show_file(&look, i);
    }
    kerf_look_close(&look);
    return KERF_OK;
}
