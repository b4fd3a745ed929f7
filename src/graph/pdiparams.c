#include "graph/pdiparams.h"

#include <stdio.h>

/* A TensorDesc of rank 8 takes 90 bytes; unknown fields may add some. */
#define DESC_MAX 1024

static bool fits(const kerf_pd_desc *declared, const kerf_pd_desc *found);
static kerf_err fail_at(kerf_detail *why, kerf_err err,
                        const kerf_pdmodel *program, size_t i,
                        const char *what);

kerf_err
kerf_pd_record_read(kerf_rd *r, kerf_pd_record *out)
{
    kerf_pd_record record = {.start = r->at};
    const uint8_t *desc;
    uint32_t version, inner, desc_len;
    uint64_t lod;
    kerf_err err;

    version = kerf_rd_u32(r);
    lod = kerf_rd_u64(r);
    inner = kerf_rd_u32(r);
    desc_len = kerf_rd_u32(r);
    if (r->bad || version != 0 || inner != 0 || desc_len > DESC_MAX)
        return KERF_ECORRUPT;
    if (lod != 0) /* never seen in an exported model */
        return KERF_ENOTSUP;
    desc = kerf_rd_bytes(r, desc_len);
    if (desc == NULL)
        return KERF_ECORRUPT;
    err = kerf_pd_desc_read(&record.desc, desc, desc_len);
    if (err != KERF_OK)
        return err;
    if (!record.desc.is_known)
        return KERF_ENOTSUP;
    err = kerf_shape_bytes(&record.desc.shape, record.desc.dtype,
                           &record.data_len);
    if (err != KERF_OK)
        return err == KERF_EINVAL ? KERF_ECORRUPT : err;
    record.data = kerf_rd_bytes(r, record.data_len);
    if (r->bad)
        return KERF_ECORRUPT;
    record.len = (size_t)(r->at - record.start);
    *out = record;
    return KERF_OK;
}

kerf_err
kerf_pdiparams_check(const kerf_pdmodel *program, const void *data, size_t len,
                     kerf_pd_record *record, kerf_detail *why)
{
    kerf_rd r = {.at = data, .left = len};
    kerf_pd_record next;

    if (program->param_count > 0 && len == 0) {
        return kerf_fail(why, KERF_ECORRUPT,
                         "the .pdiparams is missing or empty, and the program "
                         "has %zu parameters",
                         program->param_count);
    }
    for (size_t i = 0; i < program->param_count; i++) {
        const kerf_pd_desc *declared = &program->param[i].desc;
        char has[KERF_SHAPE_TEXT], is[KERF_SHAPE_TEXT];
        kerf_err err;

        if (r.left == 0)
            return fail_at(why, KERF_ECORRUPT, program, i,
                           "the file ends before it");
        err = kerf_pd_record_read(&r, &next);
        if (err != KERF_OK)
            return fail_at(why, err, program, i,
                           r.bad ? "the file ends inside it"
                                 : "its record is damaged");
        if (!fits(declared, &next.desc)) {
            char what[2 * KERF_SHAPE_TEXT + 64];

            (void)snprintf(what, sizeof what,
                           "the file has %s %s, the "
                           "program says %s %s",
                           kerf_dtype_name(next.desc.dtype),
                           kerf_shape_text(has, &next.desc.shape),
                           kerf_dtype_name(declared->dtype),
                           kerf_shape_text(is, &declared->shape));
            return fail_at(why, KERF_ECORRUPT, program, i, what);
        }
        if (record != NULL)
            record[i] = next;
    }
    if (r.left > 0) {
        return kerf_fail(why, KERF_ECORRUPT,
                         "the .pdiparams has %zu bytes after the last of %zu "
                         "parameters: not this program's file?",
                         r.left, program->param_count);
    }
    return KERF_OK;
}

static bool
fits(const kerf_pd_desc *declared, const kerf_pd_desc *found)
{
    bool same = declared->is_known && declared->dtype == found->dtype &&
                declared->shape.rank == found->shape.rank;

    for (uint32_t d = 0; same && d < declared->shape.rank; d++)
        same = declared->shape.dims[d] < 0 ||
               declared->shape.dims[d] == found->shape.dims[d];
    return same;
}

static kerf_err
fail_at(kerf_detail *why, kerf_err err, const kerf_pdmodel *program, size_t i,
        const char *what)
{
    char safe[KERF_PD_SAFE];

    return kerf_fail(why, err, "the .pdiparams, parameter %zu of %zu '%s': %s",
                     i + 1, program->param_count,
                     kerf_pd_text_safe(safe, &program->param[i].name), what);
}
