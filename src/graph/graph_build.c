#include "base/bytes.h"
#include "base/hash.h"
#include "base/text.h"
#include "graph/graph_own.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES 65536
#define SLOTS_FIRST 1024
#define ROOM_FIRST 64

struct kerf_chunk {
    struct kerf_chunk *next;
    size_t used, room;
    char text[];
};

kerf_err
kerf_graph_grow(void **at, size_t count, size_t *room, size_t most, size_t size)
{
    size_t more = *room == 0 ? ROOM_FIRST : 2 * *room;
    void *bigger;

    if (count < *room)
        return KERF_OK;
    if (count >= most)
        return KERF_ETOOBIG;
    bigger = realloc(*at, more * size);
    if (bigger == NULL)
        return KERF_ENOMEM;
    *at = bigger;
    *room = more;
    return KERF_OK;
}

/* A copy of the text that lives as long as the graph. */
static kerf_err
keep_text(kerf_graph *g, const char *text, size_t len, const char **out)
{
    struct kerf_chunk *chunk = g->own->text;
    char *at;

    if (len > 0 && memchr(text, 0, len) != NULL)
        return KERF_ECORRUPT;
    if (chunk == NULL || chunk->room - chunk->used <= len) {
        size_t room = len < CHUNK_BYTES ? CHUNK_BYTES : len + 1;

        if (room > SIZE_MAX - sizeof *chunk)
            return KERF_ETOOBIG;
        chunk = malloc(sizeof *chunk + room);
        if (chunk == NULL)
            return KERF_ENOMEM;
        *chunk = (struct kerf_chunk){.next = g->own->text, .room = room};
        g->own->text = chunk;
    }
    at = chunk->text + chunk->used;
    if (len > 0)
        memcpy(at, text, len);
    at[len] = '\0';
    chunk->used += len + 1;
    *out = at;
    return KERF_OK;
}

kerf_err
kerf_graph_new(kerf_graph **out, kerf_format format,
               const kerf_graph_format *how)
{
    kerf_graph *g = calloc(1, sizeof *g);
    struct kerf_graph_own *own = calloc(1, sizeof *own);

    if (g == NULL || own == NULL) {
        free(g);
        free(own);
        return KERF_ENOMEM;
    }
    g->format = format;
    g->own = own;
    own->format = how;
    *out = g;
    return KERF_OK;
}

void
kerf_graph_close(kerf_graph *g)
{
    if (g == NULL)
        return;
    g->own->format->close(g->own->state);
    while (g->own->text != NULL) {
        struct kerf_chunk *next = g->own->text->next;

        free(g->own->text);
        g->own->text = next;
    }
    free(g->own->slot);
    free(g->own->first);
    free(g->own->link);
    free(g->own->file_order);
    free(g->own);
    free(g->node);
    free(g->value);
    free(g->input);
    free(g->output);
    free(g);
}

static uint32_t
hash_of(const kerf_graph *g, const char *name, size_t len)
{
    /* Where the graph lies in memory is the seed: a file cannot know it. */
    return (uint32_t)kerf_xxh3_seed(name, len, (uint64_t)(uintptr_t)g);
}

/* The slot of that name, or the free one where it belongs. There is one. */
static kerf_name_slot *
find_slot(const kerf_graph *g, const char *name, size_t len, uint32_t hash)
{
    size_t mask = g->own->slot_count - 1;

    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        kerf_name_slot *slot = &g->own->slot[i];
        const char *has;

        if (slot->value == KERF_GRAPH_NONE)
            return slot;
        if (slot->hash != hash)
            continue;
        has = g->value[slot->value].name;
        if (strncmp(has, name, len) == 0 && has[len] == '\0')
            return slot;
    }
}

static kerf_err
grow_slots(kerf_graph *g)
{
    struct kerf_graph_own *own = g->own;
    kerf_name_slot *old = own->slot;
    size_t old_count = own->slot_count;
    size_t count = old_count == 0 ? SLOTS_FIRST : 2 * old_count;
    kerf_name_slot *slot;

    if (2 * own->name_count < old_count) /* at most half full */
        return KERF_OK;
    slot = malloc(count * sizeof *slot);
    if (slot == NULL)
        return KERF_ENOMEM;
    memset(slot, 0xFF, count * sizeof *slot); /* value: KERF_GRAPH_NONE */
    for (size_t i = 0; i < old_count; i++) {
        size_t at = old[i].hash & (count - 1);

        if (old[i].value == KERF_GRAPH_NONE)
            continue;
        while (slot[at].value != KERF_GRAPH_NONE)
            at = (at + 1) & (count - 1);
        slot[at] = old[i];
    }
    free(old);
    own->slot = slot;
    own->slot_count = count;
    return KERF_OK;
}

/* Room in value[] and own->first[], which grow together. */
static kerf_err
grow_values(kerf_graph *g)
{
    void *values = g->value;
    void *first = g->own->first;
    size_t room = g->own->value_room;
    kerf_err err =
        kerf_graph_grow(&first, g->value_count, &room, KERF_GRAPH_VALUES_MAX,
                        sizeof *g->own->first);

    g->own->first = first;
    if (err == KERF_OK)
        err = kerf_graph_grow(&values, g->value_count, &g->own->value_room,
                              KERF_GRAPH_VALUES_MAX, sizeof *g->value);
    g->value = values;
    return err;
}

kerf_err
kerf_graph_add_value(kerf_graph *g, const char *name, size_t len,
                     kerf_value_kind kind, uint32_t *out)
{
    uint32_t hash = hash_of(g, name, len);
    uint32_t new = (uint32_t)g->value_count;
    kerf_value *v;
    kerf_name_slot *slot;
    kerf_err err = KERF_OK;

    if (len > 0 && memchr(name, 0, len) != NULL)
        return KERF_ECORRUPT;
    err = grow_values(g);
    if (err == KERF_OK)
        err = grow_slots(g);
    if (err != KERF_OK)
        return err;
    slot = find_slot(g, name, len, hash);
    v = &g->value[new];
    *v = (kerf_value){.kind = kind,
                      .node = KERF_GRAPH_NONE,
                      .origin = KERF_GRAPH_NONE,
                      .is_const = kind == KERF_VALUE_PARAM};
    if (slot->value == KERF_GRAPH_NONE) {
        err = keep_text(g, name, len, &v->name);
        if (err != KERF_OK)
            return err;
        g->own->first[new] = new;
        g->own->name_count++;
    } else {
        v->name = g->value[slot->value].name;
        v->is_overwritten = true;
        g->value[slot->value].is_overwritten = true;
        g->own->first[new] = g->own->first[slot->value];
        g->own->has_overwritten = true;
    }
    *slot = (kerf_name_slot){.hash = hash, .value = new};
    g->value_count++;
    *out = new;
    return KERF_OK;
}

uint32_t
kerf_graph_lookup(const kerf_graph *g, const char *name, size_t len)
{
    if (g->own->slot_count == 0 || (len > 0 && memchr(name, 0, len) != NULL))
        return KERF_GRAPH_NONE;
    return find_slot(g, name, len, hash_of(g, name, len))->value;
}

kerf_err
kerf_graph_add_node(kerf_graph *g, const char *op, size_t op_len,
                    const char *name, size_t name_len, uint32_t *out)
{
    kerf_node n = {.data = KERF_GRAPH_NONE,
                   .weight = KERF_GRAPH_NONE,
                   .origin = (uint32_t)g->node_count};
    void *nodes = g->node;
    kerf_err err = kerf_graph_grow(&nodes, g->node_count, &g->own->node_room,
                                   KERF_GRAPH_NODES_MAX, sizeof n);

    g->node = nodes;
    if (err == KERF_OK)
        err = keep_text(g, op, op_len, &n.op);
    if (err == KERF_OK)
        err = keep_text(g, name, name_len, &n.name);
    if (err != KERF_OK)
        return err;
    *out = (uint32_t)g->node_count;
    g->node[g->node_count++] = n;
    return KERF_OK;
}

static kerf_err
add_link(kerf_graph *g, uint32_t value)
{
    void *links = g->own->link;
    kerf_err err =
        kerf_graph_grow(&links, g->own->link_count, &g->own->link_room,
                        KERF_GRAPH_LINKS_MAX, sizeof value);

    g->own->link = links;
    if (err == KERF_OK)
        g->own->link[g->own->link_count++] = value;
    return err;
}

/* The last node and what is wrong with a name, for a person. */
static kerf_err
fail_name(const kerf_graph *g, kerf_detail *why, kerf_err err, const char *name,
          size_t len, const char *what)
{
    const kerf_node *n = &g->node[g->node_count - 1];
    char raw[128], safe[128], op[64];

    len = len < sizeof raw ? len : sizeof raw - 1;
    memcpy(raw, name, len);
    raw[len] = '\0';
    return kerf_fail(why, err, "node %u (%s): '%s' %s", n->origin,
                     kerf_text_safe(op, sizeof op, n->op),
                     kerf_text_safe(safe, sizeof safe, raw), what);
}

kerf_err
kerf_graph_add_in(kerf_graph *g, const char *name, size_t len, kerf_detail *why)
{
    kerf_node *n = &g->node[g->node_count - 1];
    uint32_t value = KERF_GRAPH_NONE;
    kerf_err err;

    assert(g->node_count > 0 && n->out_count == 0);
    if (len > 0) {
        value = kerf_graph_lookup(g, name, len);
        if (value == KERF_GRAPH_NONE)
            return fail_name(g, why, KERF_ECORRUPT, name, len,
                             "is read, and nothing before it gives it");
    }
    err = add_link(g, value);
    if (err != KERF_OK)
        return fail_name(g, why, err, name, len, kerf_err_text(err));
    n->in_count++;
    return KERF_OK;
}

kerf_err
kerf_graph_add_out(kerf_graph *g, const char *name, size_t len, uint32_t *value,
                   kerf_detail *why)
{
    kerf_node *n = &g->node[g->node_count - 1];
    kerf_err err = KERF_OK;

    assert(g->node_count > 0);
    *value = KERF_GRAPH_NONE;
    if (len > 0)
        err = kerf_graph_add_value(g, name, len, KERF_VALUE_NODE, value);
    if (err == KERF_OK)
        err = add_link(g, *value);
    if (err != KERF_OK)
        return fail_name(g, why, err, name, len, kerf_err_text(err));
    if (len > 0)
        g->value[*value].node = (uint32_t)(g->node_count - 1);
    n->out_count++;
    return KERF_OK;
}

static kerf_err
add_port(uint32_t **list, size_t *count, size_t *room, uint32_t value)
{
    void *ports = *list;
    kerf_err err = kerf_graph_grow(&ports, *count, room, KERF_GRAPH_VALUES_MAX,
                                   sizeof value);

    *list = ports;
    if (err == KERF_OK)
        (*list)[(*count)++] = value;
    return err;
}

kerf_err
kerf_graph_add_input(kerf_graph *g, uint32_t value)
{
    return add_port(&g->input, &g->input_count, &g->own->input_room, value);
}

kerf_err
kerf_graph_add_output(kerf_graph *g, uint32_t value)
{
    return add_port(&g->output, &g->output_count, &g->own->output_room, value);
}
