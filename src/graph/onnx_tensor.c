#include "graph/onnx_own.h"

#include "base/text.h"
#include "onnx.pb-c.h"

#include <string.h>

/* Without its text it is the name and a few dims. */
#define INFO_BYTES_MAX ((size_t)1 << 20)

enum { ELEM_FLOAT = 1, ELEM_TEXT = 8, ELEM_DOUBLE = 11 };
enum { ELEM_COMPLEX64 = 14, ELEM_COMPLEX128 = 15 };
enum { TYPE_DENOTATION = 6 }; /* of TypeProto: not a kind of type */

/* TensorProto.DataType. */
static const struct {
    uint8_t bits; /* 0: text, or nothing */
    bool is_ours;
    kerf_dtype dtype;
} elems[] = {
    {0, false, KERF_F32},   {32, true, KERF_F32},  {8, true, KERF_U8},
    {8, true, KERF_I8},     {16, true, KERF_U16},  {16, true, KERF_I16},
    {32, true, KERF_I32},   {64, true, KERF_I64},  {0, false, KERF_F32},
    {8, true, KERF_BOOL},   {16, true, KERF_F16},  {64, true, KERF_F64},
    {32, true, KERF_U32},   {64, true, KERF_U64},  {64, false, KERF_F32},
    {128, false, KERF_F32}, {16, true, KERF_BF16}, {8, false, KERF_F32},
    {8, false, KERF_F32},   {8, false, KERF_F32},  {8, false, KERF_F32},
    {4, false, KERF_F32},   {4, false, KERF_F32},  {4, false, KERF_F32},
    {8, false, KERF_F32},   {2, false, KERF_F32},  {2, false, KERF_F32},
};
#define ELEM_COUNT (sizeof elems / sizeof *elems)

/* What stands in the message for data. */
struct inside {
    bool has_raw;
    uint64_t raw;   /* bytes */
    uint64_t typed; /* bytes in the wire form */
    uint64_t texts;
};

int
kerf_onnx_compare(const kerf_onnx_text *a, const kerf_onnx_text *b)
{
    size_t n = a->len < b->len ? a->len : b->len;
    int order = n == 0 ? 0 : memcmp(a->at, b->at, n);

    return order != 0 ? order : (a->len > b->len) - (a->len < b->len);
}

bool
kerf_onnx_is(kerf_onnx_text text, const char *other)
{
    return text.len == strlen(other) && memcmp(text.at, other, text.len) == 0;
}

char *
kerf_onnx_show(char out[KERF_ONNX_SHOWN], kerf_onnx_text text)
{
    char raw[KERF_ONNX_SHOWN];
    size_t len = text.len < sizeof raw ? text.len : sizeof raw - 1;

    if (len > 0)
        memcpy(raw, text.at, len);
    raw[len] = '\0';
    return kerf_text_safe(out, KERF_ONNX_SHOWN, raw);
}

bool
kerf_onnx_is_default(kerf_onnx_text domain)
{
    return domain.len == 0 || kerf_onnx_is(domain, "ai.onnx");
}

kerf_err
kerf_onnx_fail(kerf_detail *why, kerf_err err, kerf_onnx_text name,
               const char *what)
{
    char shown[KERF_ONNX_SHOWN];

    return kerf_fail(why, err, "'%s' %s", kerf_onnx_show(shown, name), what);
}

kerf_onnx_text
kerf_onnx_field_text(const uint8_t *message, size_t len, uint32_t number)
{
    kerf_rd r = {.at = message, .left = len};
    kerf_onnx_text found = {0};
    kerf_wire_field f;

    while (kerf_wire_next(&r, &f)) {
        if (f.number == number && f.wire == 2)
            found = kerf_onnx_text_of(&f);
    }
    return found;
}

static kerf_err
fail(kerf_detail *why, kerf_err err, const kerf_onnx_tensor *t,
     const char *what)
{
    char name[KERF_ONNX_SHOWN];

    return kerf_fail(why, err, "tensor '%s': %s", kerf_onnx_show(name, t->name),
                     what);
}

/* One more dim; *count: elements. */
static kerf_err
add_dim(kerf_onnx_tensor *t, uint64_t dim, uint64_t *count)
{
    if (dim > INT64_MAX || (dim != 0 && *count > UINT64_MAX / dim))
        return KERF_ETOOBIG;
    *count *= dim;
    if (t->shape.rank == KERF_RANK_MAX)
        t->is_shaped = false;
    else
        t->shape.dims[t->shape.rank++] = (int64_t)dim;
    return KERF_OK;
}

/* Repeated ints stand alone or packed. */
static kerf_err
read_dims(kerf_onnx_tensor *t, const kerf_wire_field *f, uint64_t *count)
{
    kerf_rd in = kerf_wire_inside(f);
    kerf_err err = KERF_OK;

    if (f->wire == 0)
        return add_dim(t, f->value, count);
    while (err == KERF_OK && in.left > 0) {
        uint64_t dim = kerf_wire_varint(&in);

        err = in.bad ? KERF_ECORRUPT : add_dim(t, dim, count);
    }
    return err;
}

static uint64_t
wire_bytes(const kerf_wire_field *f)
{
    switch (f->wire) {
    case 1:
        return 8;
    case 2:
        return f->len;
    case 5:
        return 4;
    default:
        return 1; /* or more */
    }
}

static void
see_data(struct inside *in, const kerf_wire_field *f)
{
    switch (f->number) {
    case ONNX_TENSOR_RAW:
        in->has_raw |= f->wire == 2;
        in->raw = f->len; /* the last one holds */
        break;
    case ONNX_TENSOR_TEXTS:
        in->texts += f->wire == 2;
        break;
    case ONNX_TENSOR_FLOATS:
    case ONNX_TENSOR_INTS:
    case ONNX_TENSOR_LONGS:
    case ONNX_TENSOR_DOUBLES:
    case ONNX_TENSOR_ULONGS:
        in->typed += wire_bytes(f);
        break;
    default:
        break;
    }
}

/* Can the data be what the dims say? An integer of the wire form has a byte or
 * more, and up to four elements are in one. */
static bool
is_filled(const kerf_onnx_tensor *t, int32_t elem, uint64_t count,
          const struct inside *in)
{
    if (t->is_outside)
        return true;
    if (elem == ELEM_TEXT)
        return in->texts == count;
    if (!t->has_bytes)
        return true;
    if (in->has_raw)
        return in->raw == t->bytes;
    if (elem == ELEM_FLOAT || elem == ELEM_DOUBLE || elem == ELEM_COMPLEX64 ||
        elem == ELEM_COMPLEX128)
        return in->typed == t->bytes;
    return in->typed >= (count + 3) / 4;
}

static kerf_err
settle_tensor(kerf_onnx_tensor *t, int32_t elem, uint64_t count,
              const struct inside *in, kerf_detail *why)
{
    if (count > UINT64_MAX / 128 - 1)
        return fail(why, KERF_ETOOBIG, t, "its dims are too large");
    t->type = KERF_VALUE_OTHER;
    t->bytes = in->raw;
    if (elem > 0 && (size_t)elem < ELEM_COUNT) {
        /* cppcheck-suppress arrayIndexOutOfBoundsCond; bounded above */
        t->type = elems[elem].is_ours ? KERF_VALUE_TENSOR : KERF_VALUE_OTHER;
        t->dtype = elems[elem].dtype;
        t->has_bytes = elems[elem].bits > 0;
        if (t->has_bytes)
            t->bytes = (count * elems[elem].bits + 7) / 8;
    }
    if (!is_filled(t, elem, count, in))
        return fail(why, KERF_ECORRUPT, t,
                    "it has less or more data than its dims say");
    return KERF_OK;
}

kerf_err
kerf_onnx_tensor_read(kerf_onnx_tensor *out, const uint8_t *data, size_t len,
                      kerf_detail *why)
{
    kerf_rd r = {.at = data, .left = len};
    kerf_onnx_tensor t = {.is_shaped = true};
    struct inside in = {0};
    uint64_t count = 1;
    int32_t elem = 0;
    kerf_err err = KERF_OK;
    kerf_wire_field f;

    t.name = kerf_onnx_field_text(data, len, ONNX_TENSOR_NAME);
    while (err == KERF_OK && kerf_wire_next(&r, &f)) {
        if (f.number == ONNX_TENSOR_DIMS && (f.wire == 0 || f.wire == 2))
            err = read_dims(&t, &f, &count);
        else if (f.number == ONNX_TENSOR_TYPE && f.wire == 0)
            elem = (int32_t)f.value;
        else if (f.number == ONNX_TENSOR_LOCATION && f.wire == 0)
            t.is_outside = (uint32_t)f.value != 0;
        else
            see_data(&in, &f);
    }
    if (err == KERF_OK && r.bad)
        err = KERF_ECORRUPT;
    if (err != KERF_OK)
        return fail(why, err, &t, "its dims or fields are damaged");
    err = settle_tensor(&t, elem, count, &in, why);
    if (err == KERF_OK)
        *out = t;
    return err;
}

kerf_err
kerf_onnx_sparse_read(kerf_onnx_tensor *out, const uint8_t *data, size_t len,
                      kerf_detail *why)
{
    kerf_rd r = {.at = data, .left = len};
    kerf_onnx_tensor part[3] = {0}; /* by field: values, indices */
    kerf_onnx_tensor t = {.is_shaped = true};
    uint64_t count = 1;
    kerf_err err = KERF_OK, dims = KERF_OK;
    kerf_wire_field f;

    while (err == KERF_OK && kerf_wire_next(&r, &f)) {
        if (f.wire == 2 &&
            (f.number == ONNX_SPARSE_VALUES || f.number == ONNX_SPARSE_INDICES))
            err = kerf_onnx_tensor_read(&part[f.number], f.bytes, f.len, why);
        else if (dims == KERF_OK && f.number == ONNX_SPARSE_DIMS &&
                 (f.wire == 0 || f.wire == 2))
            dims = read_dims(&t, &f, &count);
    }
    if (err != KERF_OK)
        return err;
    t.name = part[ONNX_SPARSE_VALUES].name;
    if (r.bad || dims != KERF_OK)
        return fail(why, r.bad ? KERF_ECORRUPT : dims, &t,
                    "its dims or fields are damaged");
    t.type = part[ONNX_SPARSE_VALUES].type;
    t.dtype = part[ONNX_SPARSE_VALUES].dtype;
    t.bytes = part[ONNX_SPARSE_VALUES].bytes + part[ONNX_SPARSE_INDICES].bytes;
    *out = t;
    return KERF_OK;
}

void
kerf_onnx_set_tensor(kerf_value *v, const kerf_onnx_tensor *t)
{
    v->type = t->type;
    v->dtype = t->dtype;
    v->is_shaped = t->is_shaped;
    v->shape = t->shape;
    v->bytes = t->bytes;
}

/* A dim that is named, left out or negative is free. */
static int64_t
dim_of(const Kerf__Onnx__TensorShapeProto__Dimension *d)
{
    return d->has_dim_value && d->dim_value >= 0 ? d->dim_value : -1;
}

static void
read_type(kerf_value *v, const Kerf__Onnx__TypeProto *type)
{
    const Kerf__Onnx__TypeProto__Tensor *tensor = type->tensor_type;
    int32_t elem = tensor == NULL ? 0 : tensor->elem_type;

    for (size_t i = 0; i < type->base.n_unknown_fields; i++) {
        if (type->base.unknown_fields[i].tag != TYPE_DENOTATION)
            v->type = KERF_VALUE_OTHER;
    }
    if (v->type == KERF_VALUE_OTHER || elem == 0)
        return;
    if (elem < 0 || (size_t)elem >= ELEM_COUNT || !elems[elem].is_ours) {
        v->type = KERF_VALUE_OTHER;
        return;
    }
    v->type = KERF_VALUE_TENSOR;
    v->dtype = elems[elem].dtype;
    v->is_shaped =
        tensor->shape != NULL && tensor->shape->n_dim <= KERF_RANK_MAX;
    if (!v->is_shaped)
        return;
    v->shape = (kerf_shape){.rank = (uint32_t)tensor->shape->n_dim};
    for (uint32_t d = 0; d < v->shape.rank; d++)
        v->shape.dims[d] = dim_of(tensor->shape->dim[d]);
}

kerf_err
kerf_onnx_info_read(kerf_value *v, const uint8_t *data, size_t len,
                    kerf_detail *why)
{
    char shown[KERF_ONNX_SHOWN];
    kerf_onnx_text name = kerf_onnx_field_text(data, len, ONNX_INFO_NAME);
    Kerf__Onnx__ValueInfoProto *info = NULL;

    if (len > INFO_BYTES_MAX)
        return kerf_fail(why, KERF_ETOOBIG, "the type of '%s' has %zu bytes",
                         kerf_onnx_show(shown, name), len);
    info = kerf__onnx__value_info_proto__unpack(NULL, len, data);
    if (info == NULL)
        return kerf_fail(why, KERF_ECORRUPT, "the type of '%s' is damaged",
                         kerf_onnx_show(shown, name));
    v->type = KERF_VALUE_UNTYPED;
    v->is_shaped = false;
    if (info->type != NULL)
        read_type(v, info->type);
    kerf__onnx__value_info_proto__free_unpacked(info, NULL);
    return KERF_OK;
}

int32_t
kerf_onnx_elem(kerf_dtype dtype)
{
    int32_t elem = 0;

    while ((size_t)elem < ELEM_COUNT &&
           !(elems[elem].is_ours && elems[elem].dtype == dtype))
        elem++;
    return elem;
}

void
kerf_onnx_info_put(kerf_rope *rope, uint32_t number, const kerf_value *v,
                   const char *name)
{
    Kerf__Onnx__TensorShapeProto__Dimension dim[KERF_RANK_MAX];
    Kerf__Onnx__TensorShapeProto__Dimension *dims[KERF_RANK_MAX];
    Kerf__Onnx__TensorShapeProto shape = KERF__ONNX__TENSOR_SHAPE_PROTO__INIT;
    Kerf__Onnx__TypeProto__Tensor tensor = KERF__ONNX__TYPE_PROTO__TENSOR__INIT;
    Kerf__Onnx__TypeProto type = KERF__ONNX__TYPE_PROTO__INIT;
    Kerf__Onnx__ValueInfoProto info = KERF__ONNX__VALUE_INFO_PROTO__INIT;
    union { /* packing only reads */
        const char *in;
        char *out;
    } text = {.in = name};

    info.name = text.out;
    if (v->type == KERF_VALUE_TENSOR) {
        info.type = &type;
        type.tensor_type = &tensor;
        tensor.has_elem_type = 1;
        tensor.elem_type = kerf_onnx_elem(v->dtype);
    }
    if (v->is_shaped) {
        tensor.shape = &shape;
        shape.n_dim = v->shape.rank;
        shape.dim = dims;
    }
    for (uint32_t d = 0; d < shape.n_dim; d++) {
        kerf__onnx__tensor_shape_proto__dimension__init(&dim[d]);
        dim[d].has_dim_value = v->shape.dims[d] >= 0;
        dim[d].dim_value = v->shape.dims[d];
        dims[d] = &dim[d];
    }
    kerf_wire_put_message(rope, number, &info.base);
}
