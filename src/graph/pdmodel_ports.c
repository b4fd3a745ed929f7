#include "graph/pdmodel.h"

#include "kerf/limits.h"
#include "paddle.pb-c.h"

#include <stdlib.h>
#include <string.h>

/* Feed or fetch ops, which stand side by side. */
struct ports {
    uint32_t first; /* op */
    size_t count;
    uint32_t by_col[KERF_PORTS_MAX]; /* ops */
    bool is_sorted;
};

/* The number that Paddle gives a port; negative: none. */
static int32_t
read_col(const kerf_pd_op *op)
{
    Kerf__Paddle__OpDesc *desc =
        kerf__paddle__op_desc__unpack(NULL, op->len, op->bytes);
    int32_t col = -1;

    for (size_t i = 0; desc != NULL && i < desc->n_attrs; i++) {
        if (strcmp(desc->attrs[i]->name, "col") == 0 && desc->attrs[i]->has_i)
            col = desc->attrs[i]->i;
    }
    if (desc != NULL)
        kerf__paddle__op_desc__free_unpacked(desc, NULL);
    return col;
}

/* False where they are left as they are: too many, numbers that are none, other
 * ops between. */
static bool
find_ports(struct ports *ports, const kerf_pdmodel *p, const char *type)
{
    const kerf_pd_block *block = &p->block[0];
    size_t count = 0;
    uint32_t last = 0;

    *ports = (struct ports){.is_sorted = true};
    memset(ports->by_col, 0xFF, sizeof ports->by_col);
    for (uint32_t i = block->first_op; i < block->first_op + block->op_count;
         i++) {
        int32_t col;

        if (!kerf_pd_text_is(&p->op[i].type, type))
            continue;
        col = read_col(&p->op[i]);
        if (col < 0 || col >= KERF_PORTS_MAX ||
            ports->by_col[col] != UINT32_MAX)
            return false;
        ports->is_sorted = ports->is_sorted && (size_t)col == count;
        ports->by_col[col] = i;
        ports->first = count == 0 ? i : ports->first;
        last = i;
        count++;
    }
    ports->count = count;
    if (count == 0 || last - ports->first + 1 != count)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (ports->by_col[i] == UINT32_MAX)
            return false;
    }
    return true;
}

/* Where the op's field begins in its block: before tag and length, when these
 * are written as everybody does. NULL else. */
static const uint8_t *
field_of(const kerf_pd_op *op, const uint8_t *start)
{
    uint8_t head[12] = {4U << 3 | 2U}; /* BlockDesc.ops */
    size_t n = 1;

    for (size_t left = op->len;; left >>= 7) {
        head[n++] = (uint8_t)((left & 0x7F) | (left > 0x7F ? 0x80U : 0U));
        if (left <= 0x7F)
            break;
    }
    if ((size_t)(op->bytes - start) < n || memcmp(op->bytes - n, head, n) != 0)
        return NULL;
    return op->bytes - n;
}

/* Writes the fields of these ops in their new order over the old ones. False
 * when they do not stand side by side in the file. */
static bool
sort_ports(const kerf_pdmodel *p, const struct ports *ports,
           const uint8_t *start, uint8_t *out)
{
    const kerf_pd_op *last = &p->op[ports->first + ports->count - 1];
    const uint8_t *from = field_of(&p->op[ports->first], start);
    const uint8_t *end = last->bytes + last->len;
    const uint8_t *behind = from;
    uint8_t *to;

    /* Side by side in the file too? */
    for (size_t i = 0; i < ports->count; i++) {
        const kerf_pd_op *op = &p->op[ports->first + i];

        if (behind == NULL || field_of(op, start) != behind)
            return false;
        behind = op->bytes + op->len;
    }
    if (behind != end)
        return false;
    to = out + (from - start);
    for (size_t i = 0; i < ports->count; i++) {
        const kerf_pd_op *op = &p->op[ports->by_col[i]];
        const uint8_t *field = field_of(op, start);
        size_t n = (size_t)(op->bytes + op->len - field);

        memcpy(to, field, n);
        to += n;
    }
    return true;
}

kerf_err
kerf_pdmodel_sort_ports(const void *data, size_t len, uint8_t **out,
                        kerf_detail *why)
{
    static const char *const types[] = {"feed", "fetch"};
    kerf_pdmodel program = {0};
    struct ports ports;
    uint8_t *copy = NULL;
    bool changed = false;
    kerf_err err = kerf_pdmodel_open(&program, data, len, why);

    if (err != KERF_OK)
        return err;
    for (size_t i = 0; i < 2 && err == KERF_OK; i++) {
        if (!find_ports(&ports, &program, types[i]) || ports.is_sorted)
            continue;
        if (copy == NULL) {
            copy = malloc(len);
            if (copy == NULL) {
                err = kerf_fail(why, KERF_ENOMEM, "no memory for the program");
                break;
            }
            memcpy(copy, data, len);
        }
        changed = sort_ports(&program, &ports, data, copy) || changed;
    }
    kerf_pdmodel_close(&program);
    if (err != KERF_OK || !changed) {
        free(copy);
        copy = NULL;
    }
    *out = copy;
    return err;
}
