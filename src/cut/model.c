#include "cut/model.h"

#include "base/text.h"
#include "engine/load_card.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

kerf_err
kerf_cut_open(kerf_cut_model *m, const char *path, bool read, kerf_detail *why)
{
    kerf_model_bytes bytes;
    kerf_err err;

    kerf_card_init(&m->card);
    err = read ? kerf_model_file_open(&m->file, path, why)
               : kerf_model_file_map(&m->file, path, why);
    if (err != KERF_OK)
        return err;
    bytes = kerf_cut_bytes(m);
    err = kerf_graph_open(&m->graph, &bytes, why);
    if (err != KERF_OK)
        return kerf_fail_in(why, err, "%s", m->file.graph_path);
    if (m->file.card_path[0] == '\0')
        return KERF_OK;
    m->has_card = true;
    return kerf_card_read(&m->card, m->file.card_path, why);
}

void
kerf_cut_close(kerf_cut_model *m)
{
    kerf_graph_close(m->graph);
    kerf_card_fini(&m->card);
    kerf_model_file_close(&m->file);
    *m = (kerf_cut_model){0};
}

kerf_model_bytes
kerf_cut_bytes(const kerf_cut_model *m)
{
    return kerf_model_file_bytes(&m->file);
}

/* "1x3x224x224"; "" is a scalar. */
static bool
parse_shape(kerf_shape *out, const char *text)
{
    kerf_shape s = {0};

    while (*text != '\0') {
        char *end;
        long long v;

        errno = 0;
        v = strtoll(text, &end, 10);
        if (s.rank == KERF_RANK_MAX || end == text || errno != 0 || v < 0 ||
            *text == '+' || *text == ' ')
            return false;
        s.dims[s.rank++] = v;
        if (*end != '\0' && *end != 'x' && *end != 'X' && *end != ',')
            return false;
        text = *end == '\0' ? end : end + 1;
        if (*end != '\0' && *text == '\0')
            return false;
    }
    *out = s;
    return true;
}

static bool
fits(const kerf_shape *is, const kerf_shape *given)
{
    bool good = is->rank == given->rank;

    for (uint32_t d = 0; good && d < is->rank; d++)
        good = is->dims[d] < 0 || is->dims[d] == given->dims[d];
    return good;
}

static kerf_err
fail_no_input(const kerf_cut_model *m, const char *name, int len,
              kerf_detail *why)
{
    char list[300] = "";
    char raw[KERF_NAME_MAX];
    char safe[KERF_NAME_MAX];

    for (size_t i = 0; i < m->graph->input_count; i++) {
        size_t used = strlen(list);

        (void)snprintf(list + used, sizeof list - used, "%s%s",
                       used == 0 ? "" : ", ",
                       kerf_text_safe(safe, sizeof safe, m->in[i].name));
    }
    (void)snprintf(raw, sizeof raw, "%.*s", len, name);
    return kerf_fail(why, KERF_ENOENT, "--shape %s: the inputs are %s",
                     kerf_text_safe(safe, sizeof safe, raw), list);
}

/* One "NAME=1x3x224x224". */
static kerf_err
take_shape(kerf_cut_model *m, const char *text, kerf_detail *why)
{
    const char *sign = strrchr(text, '='); /* names may have one */
    char is[KERF_SHAPE_TEXT];
    char given[KERF_SHAPE_TEXT];
    char safe[KERF_NAME_MAX];
    size_t i = 0;
    kerf_shape s;

    if (sign == NULL || !parse_shape(&s, sign + 1))
        return kerf_fail(why, KERF_EINVAL,
                         "--shape %s: expected NAME=1x3x224x224",
                         kerf_text_safe(safe, sizeof safe, text));
    while (i < m->graph->input_count &&
           (strlen(m->graph->value[m->graph->input[i]].name) !=
                (size_t)(sign - text) ||
            strncmp(m->graph->value[m->graph->input[i]].name, text,
                    (size_t)(sign - text)) != 0))
        i++;
    if (i == m->graph->input_count)
        return fail_no_input(m, text, (int)(sign - text), why);
    if (m->graph->value[m->graph->input[i]].is_shaped &&
        !fits(&m->in[i].shape, &s)) {
        return kerf_fail(why, KERF_EINVAL,
                         "--shape %s: the input is %s, not "
                         "%s",
                         kerf_text_safe(safe, sizeof safe, m->in[i].name),
                         kerf_shape_text(is, &m->in[i].shape),
                         kerf_shape_text(given, &s));
    }
    m->fixed[i] = s;
    return KERF_OK;
}

/* The input that takes the image, when it can be one. */
static void
find_image(kerf_cut_model *m)
{
    size_t i = kerf_image_port(m->in, m->graph->input_count);
    const kerf_shape *s;

    m->image_port = KERF_PORTS_MAX;
    if (i == KERF_PORTS_MAX)
        return;
    s = &m->fixed[i];
    if (s->dims[1] == 1 || s->dims[1] == 3 || s->dims[3] == 1 ||
        s->dims[3] == 3)
        m->image_port = i;
}

static void
count_input_bytes(kerf_cut_model *m)
{
    uint64_t sum = 0;

    for (size_t i = 0; m->is_settled && i < m->graph->input_count; i++) {
        size_t bytes = 0;

        if (m->image_port != KERF_PORTS_MAX && m->image_port != i)
            continue; /* the picture is what is sent instead */
        if (kerf_shape_bytes(&m->fixed[i],
                             i == m->image_port ? KERF_U8 : m->in[i].dtype,
                             &bytes) != KERF_OK)
            return;
        sum += bytes;
    }
    m->input_bytes = sum;
}

static void
note_free(kerf_cut_model *m)
{
    char text[KERF_SHAPE_TEXT];
    char safe[KERF_NAME_MAX];
    bool image;
    size_t i = 0;

    while (i < m->graph->input_count && kerf_shape_is_static(&m->fixed[i]))
        i++;
    m->is_settled = i == m->graph->input_count;
    if (m->is_settled)
        return;
    image = kerf_image_port(m->in, m->graph->input_count) == i;
    (void)kerf_fail(&m->note, KERF_EINVAL,
                    "sizes are not known: input %s has free dims %s: %s%s%s",
                    kerf_text_safe(safe, sizeof safe, m->in[i].name),
                    kerf_shape_text(text, &m->fixed[i]),
                    image ? "give --size HxW" : "give --shape ",
                    image ? "" : safe, image ? "" : "=1x...");
}

kerf_err
kerf_cut_settle(kerf_cut_model *m, const char *const *shape, size_t count,
                kerf_detail *why)
{
    const kerf_graph *g = m->graph;
    kerf_card size = m->card; /* only its size is looked at */
    kerf_err err;

    if (g->input_count > KERF_PORTS_MAX)
        return kerf_fail(why, KERF_ENOTSUP, "%s: %zu inputs: the limit is %d",
                         m->file.graph_path, g->input_count, KERF_PORTS_MAX);
    for (size_t i = 0; i < g->input_count; i++) {
        const kerf_value *v = &g->value[g->input[i]];
        kerf_port *port = &m->in[i];

        *port = (kerf_port){.dtype = v->dtype, .shape = v->shape};
        (void)snprintf(port->name, sizeof port->name, "%s", v->name);
        if (!v->is_shaped) /* not even the rank */
            port->shape = (kerf_shape){.rank = 1, .dims = {-1}};
    }
    size.is_image = false;
    err = kerf_card_shapes(&size, m->in, g->input_count, m->fixed, why);
    for (size_t i = 0; err == KERF_OK && i < g->input_count; i++) {
        if (!g->value[g->input[i]].is_shaped)
            m->fixed[i] = m->in[i].shape; /* -1 is no batch */
    }
    for (size_t i = 0; err == KERF_OK && i < count; i++)
        err = take_shape(m, shape[i], why);
    if (err != KERF_OK)
        return err;
    find_image(m);
    note_free(m);
    count_input_bytes(m);
    return KERF_OK;
}
