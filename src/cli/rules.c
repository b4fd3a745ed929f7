#include "cli/rules.h"

#include "model/model_file.h"

static void
apply_values(const kerf_rules *r, kerf_card *card)
{
    for (int i = 0; i < 3; i++) {
        if (r->has_mean)
            card->mean[i] = (float)r->mean.v[i];
        if (r->has_std)
            card->std[i] = (float)r->std.v[i];
    }
    if (r->has_scale)
        card->scale = (float)r->scale;
    if (r->has_pad)
        card->pad = (uint8_t)r->pad;
    card->given |= (r->has_mean ? KERF_GIVEN_MEAN : 0U) |
                   (r->has_std ? KERF_GIVEN_STD : 0U) |
                   (r->has_scale ? KERF_GIVEN_SCALE : 0U);
}

static void
apply_image(const kerf_rules *r, kerf_card *card)
{
    if (r->has_size) {
        card->height = r->size[0];
        card->width = r->size[1];
        card->given |= KERF_GIVEN_SIZE;
    }
    if (r->has_resize) {
        card->resize = (kerf_resize)r->resize;
        card->given |= KERF_GIVEN_RESIZE;
    }
    if (r->has_colour) {
        card->colour = (kerf_colour)r->colour;
        card->given |= KERF_GIVEN_COLOUR;
    }
    if (r->has_layout) {
        card->layout = (kerf_layout)r->layout;
        card->given |= KERF_GIVEN_LAYOUT;
    }
    apply_values(r, card);
}

kerf_err
kerf_rules_apply(const kerf_rules *r, kerf_card *card, kerf_detail *why)
{
    kerf_err err = KERF_OK;

    apply_image(r, card);
    if (r->labels != NULL)
        err = kerf_card_read_labels(card, r->labels, why);
    if (err != KERF_OK)
        return err;
    if (r->labels != NULL) /* that is what they are for */
        card->task = KERF_TASK_CLASSIFY;
    if (r->has_task) {
        card->task = (kerf_task)r->task;
        card->given |= KERF_GIVEN_TASK;
    }
    if (r->has_scores) {
        card->scores_given = true;
        card->scores_are_logits = r->scores == 1;
    }
    return KERF_OK;
}

const char *
kerf_rules_image(const kerf_rules *r)
{
    const struct {
        bool given;
        const char *name;
    } rules[] = {
        {r->has_size, "size"},     {r->has_resize, "resize"},
        {r->has_colour, "colour"}, {r->has_layout, "layout"},
        {r->has_scale, "scale"},   {r->has_mean, "mean"},
        {r->has_std, "std"},       {r->has_pad, "pad"},
    };

    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (rules[i].given)
            return rules[i].name;
    }
    return NULL;
}

bool
kerf_rules_given(const kerf_rules *r)
{
    return r->card != NULL || r->labels != NULL || r->has_task ||
           r->has_scores || kerf_rules_image(r) != NULL;
}
