#include "cli/whole.h"

#include "engine/load_card.h"

#include <string.h>

kerf_err
kerf_whole_find(kerf_whole *w, const char *path, const kerf_rules *rules,
                kerf_detail *why)
{
    const char *card = rules->card;
    kerf_err err;

    kerf_card_init(&w->card);
    err = kerf_model_file_open(&w->file, path, why);
    if (err != KERF_OK)
        return err;
    if (card == NULL && w->file.card_path[0] != '\0' &&
        !(rules->own_card && w->file.card_is_other))
        card = w->file.card_path;
    if (card != NULL)
        err = kerf_card_read(&w->card, card, why);
    if (err != KERF_OK)
        return err;
    if (w->card.name[0] == '\0')
        memcpy(w->card.name, w->file.name, sizeof w->card.name);
    return kerf_rules_apply(rules, &w->card, why);
}

static kerf_err
load_net(kerf_whole *w, kerf_detail *why)
{
    kerf_model_bytes bytes = kerf_model_file_bytes(&w->file);
    kerf_err err;

    if (w->is_image)
        err = kerf_engine_load_image(w->engine, &w->net, &bytes, &w->card,
                                     &w->image_port, why);
    else
        err = kerf_engine_load_raw(w->engine, &w->net, &bytes, &w->card, why);
    if (err != KERF_OK && w->file.weights == NULL &&
        w->file.format != KERF_FORMAT_ONNX)
        return kerf_fail_in(
            why, err, "%s (there is no %s beside it)", w->file.graph_path,
            w->file.format == KERF_FORMAT_PADDLE ? ".pdiparams" : ".bin");
    return err == KERF_OK ? err
                          : kerf_fail_in(why, err, "%s", w->file.graph_path);
}

static kerf_err
make_memory(kerf_whole *w, kerf_detail *why)
{
    kerf_err err = kerf_request_new(&w->request, w->net, why);

    w->out_count = kerf_net_out_count(w->net);
    for (size_t i = 0; i < w->out_count; i++)
        w->out_port[i] = *kerf_net_out(w->net, i);
    for (size_t i = 0; i < kerf_net_in_count(w->net) && err == KERF_OK; i++) {
        w->in_port[i] = *kerf_net_in(w->net, i);
        err = kerf_tensor_alloc(&w->in[i], w->in_port[i].dtype,
                                &w->in_port[i].shape);
        if (err != KERF_OK)
            return kerf_fail(why, err, "no memory for input %zu", i);
        w->in_count = i + 1;
        err = kerf_request_bind_in(w->request, i, w->in[i].data, why);
    }
    return err;
}

kerf_err
kerf_whole_check_labels(const kerf_card *card, const kerf_net *net,
                        kerf_detail *why)
{
    const kerf_shape *s;
    int64_t classes = 1;

    if (card->task != KERF_TASK_CLASSIFY || card->label_count == 0 ||
        kerf_net_out_count(net) == 0)
        return KERF_OK;
    s = &kerf_net_out(net, 0)->shape;
    for (uint32_t i = s->rank > 1 ? 1 : 0; i < s->rank; i++) {
        if (s->dims[i] < 0 || s->dims[i] > INT32_MAX ||
            classes * s->dims[i] > INT32_MAX)
            return KERF_OK; /* said when the first answer is there */
        classes *= s->dims[i];
    }
    if ((int64_t)card->label_count == classes)
        return KERF_OK;
    return kerf_fail(why, KERF_EINVAL,
                     "%zu labels, but the model's output 0 has %lld class%s: "
                     "--labels FILE with as many, or --task raw",
                     card->label_count, (long long)classes,
                     classes == 1 ? "" : "es");
}

kerf_err
kerf_whole_load(kerf_whole *w, const kerf_engine_opts *engine, bool image,
                kerf_detail *why)
{
    kerf_err err = kerf_engine_open(&w->engine, engine, why);

    w->is_image = image;
    w->card.is_image = image;
    if (err == KERF_OK)
        err = load_net(w, why);
    if (err == KERF_OK)
        err = kerf_whole_check_labels(&w->card, w->net, why);
    if (err == KERF_OK)
        err = make_memory(w, why);
    if (err == KERF_OK)
        err = kerf_request_run(w->request, why);
    return err;
}

void
kerf_whole_close(kerf_whole *w)
{
    kerf_request_free(w->request);
    kerf_net_free(w->net);
    kerf_engine_close(w->engine);
    for (size_t i = 0; i < w->in_count; i++)
        kerf_tensor_free(&w->in[i]);
    kerf_card_fini(&w->card);
    kerf_model_file_close(&w->file);
    *w = (kerf_whole){0};
}
