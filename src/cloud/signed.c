#include "cloud/signed.h"

#include "base/date.h"

#define SOON_S (INT64_C(14) * 24 * 60 * 60)
#define DAY_MS (UINT64_C(24) * 60 * 60 * 1000)

/* Edges that are given a key refuse it when it ends, and say so; this is before
 * that. False: all is well. */
static bool
ends_soon(const kerf_statement *says, kerf_detail *why)
{
    int64_t now_s = kerf_date_now();

    if (kerf_statement_in_time(says, now_s, why) != KERF_OK)
        return true;
    if (says->expires_s - now_s >= SOON_S)
        return false;
    (void)kerf_fail(why, KERF_OK,
                    "it expires in %lld hours: sign it again (kerf sign)",
                    (long long)((says->expires_s - now_s) / 3600));
    return true;
}

static void
tell(kerf_cloud *cloud, const kerf_served *s, const char *why)
{
    kerf_signature sig;
    bool is_signed = s->manifest.sig.len > 0;

    if (cloud->events.signature == NULL)
        return;
    if (is_signed)
        sig = kerf_statement_show(&s->says, &s->manifest.sig, false);
    cloud->events.signature(cloud->events.ctx, s->manifest.name,
                            is_signed ? &sig : NULL, why);
}

/* Of the old one that serves beside s, too, if it ends soon. */
static void
look_at_old(kerf_cloud *cloud, const kerf_served *s)
{
    const kerf_served *old = kerf_rollouts_old(cloud->rollouts, s);
    kerf_detail why = {{0}};

    if (old == NULL || old->manifest.sig.len == 0 ||
        !ends_soon(&old->says, &why))
        return;
    (void)kerf_fail_in(&why, KERF_OK, "the old one, bundle %.12s", old->id);
    tell(cloud, old, why.text);
}

void
kerf_signed_tell(kerf_cloud *cloud, const kerf_served *s)
{
    kerf_detail why = s->sig_why;

    if (s->manifest.sig.len > 0)
        (void)ends_soon(&s->says, &why);
    if (s->manifest.sig.len > 0 || why.text[0] != '\0')
        tell(cloud, s, why.text);
    look_at_old(cloud, s);
}

static void
look(void *ctx)
{
    kerf_cloud *cloud = ctx;

    for (size_t i = 0; i < kerf_registry_count(cloud->registry); i++) {
        const kerf_served *s = kerf_registry_at(cloud->registry, i);
        kerf_detail why = {{0}};

        if (s->manifest.sig.len > 0 && ends_soon(&s->says, &why))
            tell(cloud, s, why.text);
        look_at_old(cloud, s);
    }
}

kerf_err
kerf_signed_watch(kerf_cloud *cloud)
{
    kerf_err err =
        kerf_timer_new(&cloud->signed_ends, cloud->loop, look, cloud);

    if (err == KERF_OK)
        kerf_timer_start(cloud->signed_ends, DAY_MS, DAY_MS);
    return err;
}
