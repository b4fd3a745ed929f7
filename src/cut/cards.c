/*
 * Every card here is a shallow copy that is formatted at once: it owns nothing.
 */
#include "cut/cards.h"

#include <stdio.h>

#define GIVEN_OUTPUT (KERF_GIVEN_TASK | KERF_GIVEN_LABELS)

static kerf_err
format(const kerf_card *card, const char *name, char **out, kerf_detail *why)
{
    kerf_card named = *card;
    kerf_err err;

    (void)snprintf(named.name, sizeof named.name, "%s", name);
    err = kerf_card_format(&named, out);
    return err == KERF_OK ? err
                          : kerf_fail(why, err, "%s.kerf.json: %s", name,
                                      kerf_err_text(err));
}

/* What the output means goes. */
static void
drop_output(kerf_card *card)
{
    card->task = KERF_TASK_RAW;
    card->scores_given = false;
    card->label = NULL;
    card->label_count = 0;
    card->probe = NULL;
    card->probe_count = 0;
    card->given &= ~(unsigned)GIVEN_OUTPUT;
}

static void
copy_output(kerf_card *to, const kerf_card *from)
{
    to->task = from->task;
    to->scores_given = from->scores_given;
    to->scores_are_logits = from->scores_are_logits;
    to->label = from->label;
    to->label_count = from->label_count;
    to->given |= from->given & GIVEN_OUTPUT;
}

kerf_err
kerf_cards_pair(const kerf_card *card, const char *name, kerf_probe *probe,
                size_t probe_count, char **out, kerf_detail *why)
{
    kerf_card pair = *card;

    if (pair.probe_count == 0) {
        pair.probe = probe;
        pair.probe_count = probe_count;
    }
    return format(&pair, name, out, why);
}

kerf_err
kerf_cards_head(const kerf_card *card, const char *name, char **out,
                kerf_detail *why)
{
    kerf_card head = *card;

    drop_output(&head);
    return format(&head, name, out, why);
}

kerf_err
kerf_cards_tail(const kerf_card *card, const char *name, char **out,
                kerf_detail *why)
{
    kerf_card tail;

    kerf_card_init(&tail); /* a tensor as it is */
    copy_output(&tail, card);
    return format(&tail, name, out, why);
}

kerf_err
kerf_cards_joined(const kerf_card *head, const kerf_card *tail,
                  const char *name, kerf_probe *probe, size_t probe_count,
                  char **out, kerf_detail *why)
{
    kerf_card whole = *head;

    drop_output(&whole);
    copy_output(&whole, tail);
    whole.probe = probe;
    whole.probe_count = probe_count;
    return format(&whole, name, out, why);
}
