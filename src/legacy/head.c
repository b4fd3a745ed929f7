#include "legacy/head.h"

#include "engine/load_card.h"
#include "legacy/tail.h"
#include "model/model_file.h"

#include <stdlib.h>
#include <string.h>

void
kerf_legacy_head_free(kerf_legacy_head *h)
{
    if (h == NULL)
        return;
    for (size_t i = 0; h->net != NULL && i < kerf_net_in_count(h->net); i++)
        kerf_tensor_free(&h->in[i]);
    kerf_tensor_free(&h->out);
    kerf_request_free(h->request);
    kerf_net_free(h->net);
    kerf_card_fini(&h->card);
    free(h);
}

static kerf_err
load_net(kerf_legacy_head *h, kerf_engine *engine,
         const kerf_model_bytes *bytes, kerf_detail *why)
{
    kerf_err err;

    if (h->raw)
        err = kerf_engine_load_raw(engine, &h->net, bytes,
                                   h->has_card ? &h->card : NULL, why);
    else if (!h->has_card || !h->card.is_image) {
        err = kerf_fail(why, KERF_EINVAL,
                        "no card says how an image becomes its input, and the "
                        "legacy wire carries none: give --card FILE, put "
                        "%s.kerf.json into the store, or give .npy inputs",
                        h->manifest.name);
    } else {
        err = kerf_engine_load_image(engine, &h->net, bytes, &h->card,
                                     &h->image_port, why);
    }
    if (err == KERF_OK)
        err = kerf_legacy_check_head(h->net, why);
    return err;
}

/* Memory for one input and its answer; the first run is the slow one. */
static kerf_err
warm(kerf_legacy_head *h, kerf_detail *why)
{
    kerf_err err = kerf_request_new(&h->request, h->net, why);

    for (size_t i = 0; err == KERF_OK && i < kerf_net_in_count(h->net); i++) {
        const kerf_port *port = kerf_net_in(h->net, i);

        err = kerf_tensor_alloc(&h->in[i], port->dtype, &port->shape);
        if (err == KERF_OK)
            err = kerf_request_bind_in(h->request, i, h->in[i].data, why);
    }
    if (err == KERF_OK)
        err = kerf_tensor_alloc(&h->out, KERF_F32,
                                &kerf_net_out(h->net, 0)->shape);
    if (err == KERF_OK)
        err = kerf_request_bind_out(h->request, 0, h->out.data, why);
    if (err == KERF_OK)
        err = kerf_request_run(h->request, why);
    return err;
}

kerf_err
kerf_legacy_head_load(kerf_legacy_head **out, kerf_engine *engine,
                      kerf_store *store, const kerf_manifest *m,
                      const char *card, bool raw, kerf_detail *why)
{
    kerf_legacy_head *h = calloc(1, sizeof *h);
    kerf_pair pair = {0};
    kerf_err err;

    if (h == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory");
    kerf_card_init(&h->card);
    h->manifest = *m; /* without probes: nothing is owned */
    h->raw = raw;
    kerf_hex(h->id, m->id, sizeof m->id);
    h->has_card = card[0] != '\0';
    err = kerf_store_load_plain(store, m, &pair, why);
    if (err == KERF_OK && h->has_card)
        err = kerf_card_read(&h->card, card, why);
    if (err == KERF_OK) {
        kerf_model_bytes bytes = kerf_pair_bytes(&pair, true);

        err = load_net(h, engine, &bytes, why);
    }
    if (err == KERF_OK)
        err = warm(h, why);
    kerf_pair_fini(&pair);
    if (err != KERF_OK) {
        kerf_legacy_head_free(h);
        return err;
    }
    *out = h;
    return KERF_OK;
}

kerf_err
kerf_legacy_head_run(kerf_legacy_head *h, kerf_detail *why)
{
    return kerf_request_run(h->request, why);
}

bool
kerf_legacy_head_take_input(kerf_legacy_head *to, const kerf_legacy_head *from)
{
    size_t count = kerf_net_in_count(to->net);

    if (count != kerf_net_in_count(from->net))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (to->in[i].dtype != from->in[i].dtype ||
            !kerf_shape_equal(&to->in[i].shape, &from->in[i].shape))
            return false;
    }
    for (size_t i = 0; i < count; i++)
        memcpy(to->in[i].data, from->in[i].data, from->in[i].bytes);
    return true;
}
