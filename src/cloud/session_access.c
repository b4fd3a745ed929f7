/*
 * With TLS: which models an edge may have (trust/access.h), and whose sessions
 * go on when keys, or that, have changed.
 */
#include "cloud/session_own.h"

#include "base/log.h"
#include "base/text.h"

#include <string.h>

#define SESSIONS_PER_NAME 4

static bool
allows(const kerf_session *s, const kerf_creds *creds, const char *model)
{
    const char *name = kerf_conn_name(s->control);

    return name == NULL || creds == NULL ||
           kerf_access_allows(kerf_creds_access(creds), name, model);
}

bool
kerf_session_may(const kerf_session *s, const char *model)
{
    return allows(s, kerf_tls_folder_creds(s->cloud->tls), model);
}

kerf_err
kerf_session_check_may(kerf_session *s, const kerf_served *served,
                       kerf_detail *why)
{
    if (s->may_last == served) /* as for each request but the first */
        return KERF_OK;
    if (!kerf_session_may(s, served->manifest.name)) {
        return kerf_fail(why, KERF_EDENIED,
                         "the edge %s may not have the model %s: the file "
                         "access of the cloud says who may",
                         s->shown, served->manifest.name);
    }
    s->may_last = served;
    return KERF_OK;
}

kerf_err
kerf_session_check_any(const kerf_session *s, kerf_detail *why)
{
    const kerf_registry *registry = s->cloud->registry;
    size_t count = kerf_registry_count(registry);
    char want[KERF_NAME_MAX];
    bool any = count == 0;

    if (s->hello.want[0] != '\0' && !kerf_session_may(s, s->hello.want)) {
        return kerf_fail(why, KERF_EDENIED,
                         "the edge %s may not have the model %s: the file "
                         "access of the cloud says who may",
                         s->shown,
                         kerf_text_safe(want, sizeof want, s->hello.want));
    }
    for (size_t i = 0; !any && i < count; i++)
        any = kerf_session_may(s, kerf_registry_at(registry, i)->manifest.name);
    return any ? KERF_OK
               : kerf_fail(why, KERF_EDENIED,
                           "the edge %s may have no model of this cloud: the "
                           "file access of the cloud says who may",
                           s->shown);
}

/* One certificate cannot take every place, and an edge whose link vanished gets
 * in at once, whatever is left of its old sessions. */
void
kerf_session_make_room(const kerf_session *s)
{
    kerf_cloud *cloud = s->cloud;
    const char *name = kerf_conn_name(s->control);
    bool full = cloud->open_count >= (size_t)cloud->opts.edges_max;
    kerf_session *oldest = NULL;
    size_t count = 0;
    const char *why = "newer sessions with the same certificate have taken "
                      "its place: each edge needs a certificate of its own";

    if (name == NULL) /* names are free then */
        return;
    for (kerf_session *e = cloud->sessions; e != NULL; e = e->next) {
        if (e->state != KERF_SESSION_OPEN || strcmp(e->hello.name, name) != 0)
            continue;
        oldest = e; /* the list begins with the newest */
        count++;
    }
    if (oldest == NULL || (count < SESSIONS_PER_NAME && !full))
        return;
    if (kerf_session_may_log(cloud, KERF_SAY_NAME))
        kerf_log(KERF_LOG_WARN, "cloud.too_many_of_name",
                 "edge=%s most=%d peer=%s why=%s", s->shown, SESSIONS_PER_NAME,
                 kerf_conn_peer(oldest->control), KERF_Q(why));
    (void)!kerf_conn_send_notice(oldest->control, KERF_FRAME_ERROR, 0,
                                 KERF_EBUSY, 0, why);
    kerf_session_end(oldest, why);
}

/* Does it get more than before, or less? A new session finds out what. */
static kerf_err
check_same(const kerf_session *s, kerf_detail *why)
{
    const kerf_creds *now = kerf_tls_folder_creds(s->cloud->tls);
    const kerf_creds *before = kerf_tls_folder_before(s->cloud->tls);
    const kerf_registry *registry = s->cloud->registry;
    bool same = true;

    if (before == NULL || s->state != KERF_SESSION_OPEN)
        return KERF_OK;
    for (size_t i = 0; same && i < kerf_registry_count(registry); i++) {
        const char *model = kerf_registry_at(registry, i)->manifest.name;

        same = allows(s, before, model) == allows(s, now, model);
    }
    for (size_t i = 0; same && i < s->held_count; i++) {
        const char *model = s->held[i]->manifest.name;

        same = allows(s, before, model) == allows(s, now, model);
    }
    return same ? KERF_OK
                : kerf_fail(why, KERF_EDENIED,
                            "which models this edge may have has changed");
}

static kerf_err
recheck(const kerf_session *s, kerf_detail *why)
{
    const kerf_tls *now = kerf_tls_folder_now(s->cloud->tls);
    kerf_err err = kerf_conn_recheck(s->control, now, why);

    if (err == KERF_OK && s->tensors != NULL)
        err = kerf_conn_recheck(s->tensors, now, why);
    return err == KERF_OK ? check_same(s, why) : err;
}

void
kerf_sessions_recheck(kerf_cloud *cloud)
{
    kerf_session *next;

    for (kerf_session *s = cloud->sessions; s != NULL; s = next) {
        kerf_detail why = {{0}};

        next = s->next;
        if (recheck(s, &why) == KERF_OK)
            continue;
        kerf_log(KERF_LOG_WARN, "cloud.not_trusted", "peer=%s why=\"%s\"",
                 kerf_conn_peer(s->control), why.text);
        (void)!kerf_conn_send_notice(s->control, KERF_FRAME_ERROR, 0,
                                     KERF_EDENIED, 0, why.text);
        kerf_session_end(s, why.text);
    }
}
