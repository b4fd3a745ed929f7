#include "legacy/tail.h"

#include "engine/load_card.h"
#include "engine/probe.h"

#include <stdlib.h>

kerf_err
kerf_legacy_check_head(const kerf_net *head, kerf_detail *why)
{
    const kerf_port *out = kerf_net_out(head, 0);

    if (kerf_net_out_count(head) != 1) {
        return kerf_fail(why, KERF_ENOTSUP,
                         "its head has %zu outputs: the legacy wire carries "
                         "one; cut it elsewhere, or leave --legacy out",
                         kerf_net_out_count(head));
    }
    if (out->dtype != KERF_F32) {
        return kerf_fail(why, KERF_ENOTSUP,
                         "its head gives %s: the legacy wire carries f32; cut "
                         "it elsewhere, or leave --legacy out",
                         kerf_dtype_name(out->dtype));
    }
    if (!kerf_net_is_static(head))
        return kerf_fail(why, KERF_ENOTSUP,
                         "the shape of what its head gives depends on the "
                         "data");
    return KERF_OK;
}

kerf_legacy_tail *
kerf_legacy_tail_ref(kerf_legacy_tail *t)
{
    t->refs++;
    return t;
}

void
kerf_legacy_tail_unref(kerf_legacy_tail *t)
{
    if (t == NULL || --t->refs > 0)
        return;
    kerf_request_free(t->request);
    kerf_net_free(t->net);
    kerf_tensor_free(&t->in);
    kerf_pair_fini(&t->pair);
    free(t);
}

static kerf_err
load_nets(kerf_legacy_tail *t, kerf_engine *engine, kerf_detail *why)
{
    const kerf_pair *pair = &t->pair;
    kerf_model_bytes head_bytes = kerf_pair_bytes(pair, true);
    kerf_model_bytes tail_bytes = kerf_pair_bytes(pair, false);
    kerf_net *head = NULL;
    kerf_err err = kerf_engine_load_raw(
        engine, &head, &head_bytes, pair->has_card ? &pair->card : NULL, why);

    if (err != KERF_OK)
        return kerf_fail_in(why, err, "head");
    err = kerf_legacy_check_head(head, why);
    if (err == KERF_OK)
        err = kerf_engine_load_tail(engine, &t->net, &tail_bytes, head, why);
    if (err == KERF_OK && kerf_net_in_count(t->net) != 1)
        err = kerf_fail(why, KERF_EMISMATCH,
                        "its tail takes %zu tensors, its head gives one",
                        kerf_net_in_count(t->net));
    for (size_t i = 0; err == KERF_OK && i < pair->card.probe_count; i++)
        err = kerf_probe_run_pair(head, t->net, &pair->card.probe[i],
                                  KERF_PROBE_TOLERANCE, NULL, why);
    kerf_net_free(head);
    return err;
}

/* The first run is the slow one. */
static kerf_err
warm(kerf_legacy_tail *t, kerf_detail *why)
{
    const kerf_port *in = kerf_net_in(t->net, 0);
    kerf_err err = kerf_tensor_alloc(&t->in, in->dtype, &in->shape);

    if (err == KERF_OK)
        err = kerf_request_new(&t->request, t->net, why);
    if (err == KERF_OK)
        err = kerf_request_bind_in(t->request, 0, t->in.data, why);
    if (err == KERF_OK)
        err = kerf_request_run(t->request, why);
    return err;
}

kerf_err
kerf_legacy_tail_load(kerf_legacy_tail **out, kerf_engine *engine,
                      const char *dir, const char *name, kerf_detail *why)
{
    kerf_legacy_tail *t = calloc(1, sizeof *t);
    int64_t newest_ns;
    kerf_err err;

    if (t == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory");
    t->refs = 1;
    t->stamp = kerf_pair_stamp(dir, name, &newest_ns);
    err = kerf_pair_read(&t->pair, dir, name, why);
    if (err == KERF_OK && t->pair.manifest.format != KERF_FORMAT_PADDLE)
        err = kerf_fail(why, KERF_ENOTSUP,
                        "the legacy wire carries .pdmodel and .pdiparams only");
    if (err == KERF_OK)
        err = load_nets(t, engine, why);
    if (err == KERF_OK)
        err = warm(t, why);
    if (err != KERF_OK) {
        kerf_legacy_tail_unref(t);
        return err;
    }
    kerf_hex(t->id, t->pair.manifest.id, sizeof t->pair.manifest.id);
    kerf_pair_drop(&t->pair, KERF_ROLE_TAIL_GRAPH);
    kerf_pair_drop(&t->pair, KERF_ROLE_TAIL_WEIGHTS);
    *out = t;
    return KERF_OK;
}

kerf_err
kerf_legacy_tail_run(kerf_legacy_tail *t, kerf_tensor out[KERF_PORTS_MAX],
                     kerf_detail *why)
{
    kerf_err err = kerf_request_run(t->request, why);

    for (size_t i = 0; err == KERF_OK && i < kerf_net_out_count(t->net); i++)
        err = kerf_request_out(t->request, i, &out[i], why);
    return err;
}
