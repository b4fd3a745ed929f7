#include "engine/load_card.h"

size_t
kerf_image_port(const kerf_port *in, size_t count)
{
    size_t found = KERF_PORTS_MAX;

    for (size_t i = 0; i < count; i++) {
        if (in[i].shape.rank != 4)
            continue;
        if (found != KERF_PORTS_MAX)
            return KERF_PORTS_MAX;
        found = i;
    }
    return found;
}

/* A tensor has the size of an image, and no other of its rules. */
static void
ask_size_only(kerf_card *card, const kerf_shape *shape)
{
    card->given |= KERF_GIVEN_RESIZE | KERF_GIVEN_SCALE;
    if (shape->dims[1] != 1 && shape->dims[3] != 1)
        card->given |= KERF_GIVEN_COLOUR;
}

kerf_err
kerf_card_shapes(const kerf_card *card, const kerf_port *in, size_t count,
                 kerf_shape *shapes, kerf_detail *why)
{
    size_t image = kerf_image_port(in, count);
    kerf_card settled;

    for (size_t i = 0; i < count; i++) {
        shapes[i] = in[i].shape;
        if (shapes[i].rank > 0 && shapes[i].dims[0] < 0)
            shapes[i].dims[0] = 1;
    }
    if (image == KERF_PORTS_MAX || card == NULL ||
        (!card->is_image && (card->given & KERF_GIVEN_SIZE) == 0))
        return KERF_OK;
    settled = *card; /* only the size is looked at; nothing is owned */
    if (!card->is_image)
        ask_size_only(&settled, &shapes[image]);
    return kerf_card_settle(&settled, &shapes[image], why);
}

kerf_err
kerf_engine_load_raw(kerf_engine *engine, kerf_net **out,
                     const kerf_model_bytes *m, const kerf_card *card,
                     kerf_detail *why)
{
    kerf_port in[KERF_PORTS_MAX];
    kerf_port outs[KERF_PORTS_MAX];
    kerf_shape shapes[KERF_PORTS_MAX];
    kerf_load how = {.shapes = shapes};
    size_t out_count = 0;
    kerf_err err;

    if (card == NULL ||
        (!card->is_image && (card->given & KERF_GIVEN_SIZE) == 0))
        return kerf_engine_load(engine, out, m, NULL, why);
    err = kerf_engine_inspect(engine, m, in, &how.shape_count, outs, &out_count,
                              why);
    if (err == KERF_OK)
        err = kerf_card_shapes(card, in, how.shape_count, shapes, why);
    if (err != KERF_OK)
        return err;
    return kerf_engine_load(engine, out, m, &how, why);
}

kerf_err
kerf_engine_load_image(kerf_engine *engine, kerf_net **out,
                       const kerf_model_bytes *m, kerf_card *card,
                       size_t *image_port, kerf_detail *why)
{
    kerf_port in[KERF_PORTS_MAX];
    kerf_port outs[KERF_PORTS_MAX];
    kerf_load how = {.prep = card};
    size_t in_count = 0;
    size_t out_count = 0;
    kerf_shape shape;
    kerf_err err;

    err = kerf_engine_inspect(engine, m, in, &in_count, outs, &out_count, why);
    if (err != KERF_OK)
        return err;
    how.image_port = kerf_image_port(in, in_count);
    if (how.image_port >= in_count)
        return kerf_fail(why, KERF_EINVAL,
                         "no single input of rank 4 to take an image");
    shape = in[how.image_port].shape;
    err = kerf_card_settle(card, &shape, why);
    if (err != KERF_OK)
        return err;
    *image_port = how.image_port;
    return kerf_engine_load(engine, out, m, &how, why);
}

kerf_err
kerf_engine_load_tail(kerf_engine *engine, kerf_net **out,
                      const kerf_model_bytes *m, const kerf_net *head,
                      kerf_detail *why)
{
    kerf_shape shapes[KERF_PORTS_MAX];
    kerf_load how = {.shapes = shapes, .shape_count = kerf_net_out_count(head)};
    kerf_net *tail = NULL;
    kerf_err err;

    if (!kerf_net_is_static(head))
        return kerf_fail(why, KERF_ENOTSUP,
                         "head: the shape of what crosses depends on the data");
    for (size_t i = 0; i < how.shape_count; i++)
        shapes[i] = kerf_net_out(head, i)->shape;
    err = kerf_engine_load(engine, &tail, m, &how, why);
    if (err != KERF_OK)
        return kerf_fail_in(why, err, "tail");
    for (size_t i = 0; i < kerf_net_in_count(tail); i++) {
        const kerf_port *give = kerf_net_out(head, i);
        const kerf_port *take = kerf_net_in(tail, i);

        if (give->dtype == take->dtype)
            continue;
        err = kerf_fail(why, KERF_EMISMATCH,
                        "head and tail do not fit: output %zu of the head is "
                        "%s, the tail takes %s",
                        i, kerf_dtype_name(give->dtype),
                        kerf_dtype_name(take->dtype));
        kerf_net_free(tail);
        return err;
    }
    *out = tail;
    return KERF_OK;
}
