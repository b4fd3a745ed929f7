#include "edge/trusted.h"

#include "base/date.h"
#include "trust/ran.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_MOST_S 2 /* a clock may be set at any time */

static void look(void *ctx);

kerf_err
kerf_trusted_init(kerf_edge *edge, kerf_detail *why)
{
    kerf_err err;

    edge->trust =
        (kerf_trust){.path = edge->opts.trust, .count = edge->opts.trust_count};
    err = kerf_trust_check(&edge->trust, why);
    if (err == KERF_OK)
        err = kerf_timer_new(&edge->expiry, edge->loop, look, edge);
    return err;
}

void
kerf_trusted_fini(kerf_edge *edge)
{
    kerf_timer_free(edge->expiry);
}

/* The loader's. */

static kerf_err
check(kerf_edge *edge, const kerf_wanted *wanted, kerf_statement *says,
      kerf_detail *why)
{
    const kerf_manifest *m = &wanted->manifest;
    kerf_err err = kerf_trust_statement(&edge->trust, &m->sig, m->name, m->id,
                                        kerf_date_now(), says, why);

    if (err == KERF_OK)
        err = kerf_ran_allows(edge->opts.store, says, why);
    /* Whoever plays the cloud must not choose among all that was ever signed.
     */
    if (err == KERF_OK && wanted->run && edge->opts.model != NULL &&
        strcmp(edge->opts.model, m->name) != 0)
        err = kerf_fail(why, KERF_EDENIED, "it is not the one of --model %s",
                        edge->opts.model);
    return err;
}

kerf_err
kerf_trusted_check(kerf_edge *edge, const kerf_wanted *wanted,
                   kerf_statement *says, kerf_detail *why)
{
    const kerf_signed *sig = &wanted->manifest.sig;

    *says = (kerf_statement){0};
    if (edge->trust.count > 0)
        return check(edge, wanted, says, why);
    if (sig->len > 0 &&
        kerf_statement_parse(says, sig->text, sig->len, NULL) != KERF_OK)
        *says = (kerf_statement){0};
    return KERF_OK;
}

kerf_err
kerf_trusted_ran(kerf_edge *edge, const kerf_statement *says, kerf_detail *why)
{
    if (edge->trust.count == 0)
        return KERF_OK;
    return kerf_ran_add(edge->opts.store, says, why);
}

kerf_err
kerf_trusted_stored(kerf_edge *edge, kerf_manifest *out)
{
    uint8_t id[KERF_BUNDLE_ID_LEN];
    kerf_manifest in_force = {0};
    kerf_err err = kerf_store_latest(edge->store, edge->opts.model, out);

    /* What is the latest file says who wrote to the folder last. */
    if (err == KERF_OK && edge->trust.count > 0 &&
        kerf_ran_bundle(edge->opts.store, out->name, id) &&
        kerf_store_find(edge->store, id, &in_force) == KERF_OK) {
        kerf_manifest_fini(out);
        *out = in_force;
    }
    return err;
}

/* The loop's. */

static void
tell(kerf_edge *edge, const char *name, const kerf_signed *sig,
     const kerf_statement *says)
{
    kerf_note *note;

    if (says->version == 0)
        return;
    note = kerf_note_new(KERF_NOTE_SIGNATURE);
    if (note == NULL)
        return;
    (void)snprintf(note->name, sizeof note->name, "%s", name);
    note->signature = kerf_statement_show(says, sig, edge->trust.count > 0);
    kerf_edge_tell(edge, note);
}

static bool
is_of(const kerf_program *p, const kerf_manifest *m)
{
    return p != NULL && memcmp(p->manifest.id, m->id, sizeof m->id) == 0;
}

bool
kerf_trusted_is_news(kerf_edge *edge, const kerf_manifest *m)
{
    const kerf_program *both[2];
    bool news = false;

    (void)pthread_mutex_lock(&edge->lock);
    both[0] = edge->current;
    both[1] = edge->next;
    for (size_t i = 0; i < 2; i++) {
        if (is_of(both[i], m))
            news |= both[i]->expired ||
                    !kerf_signed_equal(&both[i]->manifest.sig, &m->sig);
    }
    (void)pthread_mutex_unlock(&edge->lock);
    return news;
}

void
kerf_trusted_renew(kerf_edge *edge, const kerf_manifest *m,
                   const kerf_statement *says)
{
    kerf_program *both[2];

    (void)pthread_mutex_lock(&edge->lock);
    both[0] = edge->current;
    both[1] = edge->next;
    for (size_t i = 0; i < 2; i++) {
        if (!is_of(both[i], m))
            continue;
        both[i]->manifest.sig = m->sig;
        both[i]->says = *says;
    }
    (void)pthread_mutex_unlock(&edge->lock);
    kerf_trusted_switched(edge);
}

void
kerf_trusted_switched(kerf_edge *edge)
{
    kerf_statement says = {0};
    kerf_signed sig = {0};
    char name[KERF_NAME_MAX] = "";

    (void)pthread_mutex_lock(&edge->lock);
    if (edge->current != NULL) {
        says = edge->current->says;
        sig = edge->current->manifest.sig;
        (void)snprintf(name, sizeof name, "%s", edge->current->manifest.name);
    }
    (void)pthread_mutex_unlock(&edge->lock);
    tell(edge, name, &sig, &says);
    look(edge);
}

/* Under the lock: whether the program's time has come; *left_s is how long that
 * stays so. */
static bool
has_expired(const kerf_program *p, int64_t now_s, int64_t *left_s,
            kerf_detail *why)
{
    if (kerf_statement_in_time(&p->says, now_s, why) != KERF_OK)
        return true;
    if (p->says.expires_s + 1 - now_s < *left_s)
        *left_s = p->says.expires_s + 1 - now_s;
    return false;
}

/* It will not be run on anything for now. */
static void
tell_expired(kerf_edge *edge, const uint8_t *id, const char *name,
             const char *why)
{
    kerf_edge_tell_model(edge, name, "", KERF_EDENIED, why);
    kerf_fetch_ready(edge, id, KERF_EDENIED, why);
}

/* What runs, and what is about to. */
static void
look(void *ctx)
{
    kerf_edge *edge = ctx;
    int64_t now_s = kerf_date_now();
    int64_t left_s = LOOK_MOST_S;
    kerf_detail why = {{0}};
    uint8_t id[KERF_BUNDLE_ID_LEN];
    char name[KERF_NAME_MAX] = "";
    bool ended = false;

    if (edge->trust.count == 0)
        return;
    (void)pthread_mutex_lock(&edge->lock);
    if (edge->next != NULL)
        edge->next->expired = has_expired(edge->next, now_s, &left_s, NULL);
    if (edge->current != NULL) {
        bool expired = has_expired(edge->current, now_s, &left_s, &why);

        ended = expired && !edge->current->expired;
        edge->current->expired = expired;
        memcpy(id, edge->current->manifest.id, sizeof id);
        (void)snprintf(name, sizeof name, "%s", edge->current->manifest.name);
    }
    kerf_edge_stir(edge);
    if (ended)
        tell_expired(edge, id, name, why.text);
    kerf_timer_start(edge->expiry, (uint64_t)(left_s < 1 ? 1 : left_s) * 1000,
                     0);
}
