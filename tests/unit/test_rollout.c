#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cloud/rollout.h"

static const uint8_t a_id[KERF_ROLLOUT_ID] = {1};
static const uint8_t b_id[KERF_ROLLOUT_ID] = {2};

static void
begin(kerf_rollout *r, double percent, double halt)
{
    kerf_rollout_init(r, "m");
    r->halt = halt;
    kerf_rollout_start(r, a_id, b_id, percent);
}

static const char *
edge_name(unsigned n)
{
    static char name[32];

    (void)snprintf(name, sizeof name, "edge-%u", n);
    return name;
}

static void
percentages__are_kept_by_a_stable_choice(void **state)
{
    kerf_rollout r;
    unsigned had[5] = {0};
    const double percent[5] = {0, 10, 50, 90, 100};

    (void)state;
    begin(&r, 0, 20);
    for (unsigned n = 0; n < 2000; n++) {
        bool before = false;

        for (size_t p = 0; p < 5; p++) {
            bool gets;

            assert_int_equal(kerf_rollout_set(&r, percent[p], NULL), KERF_OK);
            gets = kerf_rollout_gets_new(&r, edge_name(n));
            assert_true(gets || !before); /* more never leaves one out */
            before = gets;
            had[p] += gets;
        }
    }
    assert_int_equal(had[0], 0);
    assert_in_range(had[1], 130, 270);
    assert_in_range(had[2], 900, 1100);
    assert_in_range(had[3], 1730, 1870);
    assert_int_equal(had[4], 2000);
    /* Another bundle chooses others. */
    assert_true(kerf_rollout_place(a_id, "x") != kerf_rollout_place(b_id, "x"));
    kerf_rollout_fini(&r);
}

static void
ready__too_many_failures__halt_and_keep_the_well(void **state)
{
    kerf_rollout r;

    (void)state;
    begin(&r, 100, 40);
    for (unsigned n = 0; n < 5; n++)
        assert_true(kerf_rollout_offer(&r, edge_name(n)));
    assert_true(kerf_rollout_ready(&r, "edge-0", false, "bad"));
    assert_false(kerf_rollout_gets_new(&r, "edge-0"));
    assert_true(kerf_rollout_ready(&r, "edge-1", true, ""));
    assert_int_equal(r.state, KERF_ROLLOUT_RUNNING); /* two are too few */
    assert_true(kerf_rollout_ready(&r, "edge-2", true, ""));
    assert_int_equal(r.state, KERF_ROLLOUT_RUNNING); /* 33 % */
    assert_true(kerf_rollout_ready(&r, "edge-3", false, "no\x1b good"));
    assert_int_equal(r.state, KERF_ROLLOUT_HALTED); /* 50 % */
    assert_string_equal(r.why,
                        "2 of 4 edges failed, last edge-3: no\\x1b good");
    assert_true(kerf_rollout_gets_new(&r, "edge-1"));
    assert_false(kerf_rollout_gets_new(&r, "edge-4"));
    /* It was given the old one again meanwhile. */
    assert_false(kerf_rollout_ready(&r, "edge-4", true, ""));
    assert_false(kerf_rollout_gets_new(&r, "new"));
    assert_int_equal(kerf_rollout_resume(&r, NULL), KERF_OK);
    assert_int_equal(r.failed, 0);
    assert_true(kerf_rollout_gets_new(&r, "edge-3"));
    assert_int_equal(kerf_rollout_back(&r, NULL), KERF_OK);
    assert_false(kerf_rollout_gets_new(&r, "edge-1"));
    assert_int_equal(kerf_rollout_halt(&r, "x", NULL), KERF_EINVAL);
    kerf_rollout_fini(&r);
    assert_int_equal(kerf_rollout_resume(&r, NULL), KERF_EINVAL);
}

static void
done__when_all_that_were_offered_it_are_well(void **state)
{
    kerf_rollout r;

    (void)state;
    begin(&r, 100, -1);
    assert_true(kerf_rollout_offer(&r, "a"));
    assert_true(kerf_rollout_offer(&r, "b"));
    assert_false(kerf_rollout_is_done(&r, 1, 0));
    assert_true(kerf_rollout_ready(&r, "a", true, ""));
    assert_false(kerf_rollout_is_done(&r, 1, 0));
    assert_true(kerf_rollout_ready(&r, "b", false, "x"));
    assert_false(kerf_rollout_is_done(&r, 1, 0));    /* b needs the old one */
    assert_int_equal(r.state, KERF_ROLLOUT_RUNNING); /* no bound */
    kerf_rollout_start(&r, a_id, b_id, 50);
    assert_false(kerf_rollout_is_done(&r, 1, 0));
    assert_int_equal(kerf_rollout_set(&r, 100, NULL), KERF_OK);
    assert_true(kerf_rollout_is_done(&r, 1, 0));
    assert_true(kerf_rollout_offer(&r, "a"));
    assert_int_equal(kerf_rollout_set(&r, 50, NULL), KERF_OK);
    assert_int_equal(kerf_rollout_end(&r, NULL), KERF_EINVAL); /* not to all */
    assert_int_equal(kerf_rollout_set(&r, 100, NULL), KERF_OK);
    assert_int_equal(kerf_rollout_halt(&r, "x", NULL), KERF_OK);
    assert_int_equal(kerf_rollout_end(&r, NULL), KERF_EINVAL);
    assert_int_equal(kerf_rollout_resume(&r, NULL), KERF_OK);
    assert_int_equal(kerf_rollout_end(&r, NULL), KERF_OK);
    assert_int_equal(kerf_rollout_end(&r, NULL), KERF_EINVAL); /* over */
    assert_int_equal(r.state, KERF_ROLLOUT_OVER);
    assert_memory_equal(r.old_id, b_id, sizeof b_id);
    assert_true(kerf_rollout_gets_new(&r, "b"));
    kerf_rollout_fini(&r);
}

/* Leaves, and comes back as one that was started anew. */
static bool
restart(kerf_rollout *r, const char *edge, kerf_leave how)
{
    kerf_rollout_left(r, edge, how, 0);
    return kerf_rollout_came(r, edge, 0);
}

static void
came__after_what_may_be_crashes__fails_in_the_end(void **state)
{
    kerf_rollout r;

    (void)state;
    begin(&r, 100, -1);
    assert_true(kerf_rollout_offer(&r, "a"));
    assert_false(restart(&r, "a", KERF_LEFT_SOON));
    assert_false(restart(&r, "a", KERF_LEFT_MIDWAY)); /* says nothing */
    assert_false(restart(&r, "a", KERF_LEFT_SOON));
    assert_false(restart(&r, "a", KERF_LEFT_WELL)); /* begins anew */
    assert_false(restart(&r, "a", KERF_LEFT_SOON));
    assert_false(restart(&r, "a", KERF_LEFT_SOON));
    kerf_rollout_left(&r, "a", KERF_LEFT_SOON, 0);
    assert_false(kerf_rollout_came(&r, "a", KERF_CAME_NEW)); /* was cut off */
    /* At its first inputs. */
    assert_true(kerf_rollout_ready(&r, "a", true, ""));
    assert_false(kerf_rollout_came(&r, "a", 0)); /* another one */
    assert_int_equal(r.well, 1);
    assert_true(restart(&r, "a", KERF_LEFT_SOON));
    assert_int_equal(kerf_rollout_trial(&r, "a"), KERF_TRIAL_FAILED);
    assert_false(kerf_rollout_came(&r, "stranger", 0));
    kerf_rollout_fini(&r);
}

static bool
come(kerf_rollout *r, kerf_leave how, unsigned says)
{
    kerf_rollout_left(r, "a", how, 0);
    return kerf_rollout_came(r, "a", says);
}

/* From its store it may run the new one before it connects. */
static void
came__started_anew_with_the_new_one__fails_in_the_end(void **state)
{
    const unsigned anew = KERF_CAME_NEW | KERF_CAME_FIRST;
    kerf_rollout r;

    (void)state;
    begin(&r, 100, -1);
    assert_true(kerf_rollout_offer(&r, "a"));
    assert_true(kerf_rollout_ready(&r, "a", true, ""));
    assert_false(come(&r, KERF_LEFT_SOON, anew));
    assert_false(come(&r, KERF_LEFT_SOON, anew));
    /* Neither counts, nor begins the count again. */
    assert_false(come(&r, KERF_LEFT_MIDWAY, anew));
    assert_false(come(&r, KERF_LEFT_SOON, KERF_CAME_NEW));
    assert_false(come(&r, KERF_LEFT_SOON, KERF_CAME_NEW | KERF_CAME_AGAIN));
    assert_true(come(&r, KERF_LEFT_SOON, anew));
    kerf_rollout_fini(&r);
    /* After BYE, or a minute, it begins again. */
    begin(&r, 100, -1);
    assert_true(kerf_rollout_offer(&r, "a"));
    assert_true(kerf_rollout_ready(&r, "a", true, ""));
    for (int i = 0; i < 5; i++) {
        assert_false(come(&r, KERF_LEFT_SOON, anew));
        assert_false(come(&r, KERF_LEFT_SOON, anew));
        assert_false(come(&r, KERF_LEFT_WELL, anew));
    }
    kerf_rollout_fini(&r);
}

/* Its link breaks while it loads, which goes on. */
static void
came__again__is_no_failure(void **state)
{
    kerf_rollout r;

    (void)state;
    begin(&r, 100, -1);
    assert_true(kerf_rollout_offer(&r, "a"));
    for (int i = 0; i < 5; i++)
        assert_false(come(&r, KERF_LEFT_SOON, KERF_CAME_AGAIN));
    assert_false(come(&r, KERF_LEFT_SOON, KERF_CAME_FIRST));
    assert_false(come(&r, KERF_LEFT_SOON, KERF_CAME_FIRST));
    assert_true(come(&r, KERF_LEFT_SOON, KERF_CAME_FIRST));
    kerf_rollout_fini(&r);
}

/* Of two clouds only this one has the new one. */
static void
came__well_with_the_old_one__is_no_failure(void **state)
{
    kerf_rollout r;

    (void)state;
    begin(&r, 100, -1);
    assert_true(kerf_rollout_offer(&r, "a"));
    for (int i = 0; i < 5; i++) {
        assert_true(kerf_rollout_ready(&r, "a", true, ""));
        assert_true(come(&r, KERF_LEFT_SOON, KERF_CAME_OLD));
        assert_int_equal(kerf_rollout_trial(&r, "a"), KERF_TRIAL_OFFERED);
    }
    kerf_rollout_fini(&r);
}

/* Given another model, it is away until it is given this one again. */
static void
left__for_another_model__then_offered_again(void **state)
{
    kerf_rollout r;

    (void)state;
    begin(&r, 100, -1);
    assert_true(kerf_rollout_offer(&r, "a"));
    kerf_rollout_left(&r, "a", KERF_LEFT_MIDWAY, 100);
    kerf_rollout_left(&r, "a", KERF_LEFT_SOON, 200); /* of the other one */
    assert_false(kerf_rollout_came(&r, "a", KERF_CAME_FIRST));
    kerf_rollout_left(&r, "a", KERF_LEFT_MIDWAY, 300);
    assert_true(kerf_rollout_offer(&r, "a"));
    assert_false(kerf_rollout_forget(&r, 1000, 10));
    kerf_rollout_left(&r, "a", KERF_LEFT_MIDWAY, 1000);
    assert_true(kerf_rollout_forget(&r, 1010, 10));
    assert_true(kerf_rollout_is_done(&r, 1010, 0));
    kerf_rollout_fini(&r);
}

static void
came__with_the_old_one__is_no_failure(void **state)
{
    kerf_rollout r;

    (void)state;
    begin(&r, 100, -1);
    assert_true(kerf_rollout_offer(&r, "a"));
    for (int i = 0; i < 5; i++) { /* its link breaks while it loads */
        kerf_rollout_left(&r, "a", KERF_LEFT_SOON, 0);
        assert_false(kerf_rollout_came(&r, "a", KERF_CAME_OLD));
    }
    /* It was at another cloud meanwhile: it has to say again. */
    assert_true(kerf_rollout_ready(&r, "a", true, ""));
    assert_true(kerf_rollout_came(&r, "a", KERF_CAME_OLD));
    assert_int_equal(kerf_rollout_trial(&r, "a"), KERF_TRIAL_OFFERED);
    assert_true(kerf_rollout_ready(&r, "a", true, ""));
    /* As it was told to. */
    assert_int_equal(kerf_rollout_back(&r, NULL), KERF_OK);
    assert_false(kerf_rollout_came(&r, "a", KERF_CAME_OLD));
    assert_int_equal(kerf_rollout_resume(&r, NULL), KERF_OK);
    assert_false(kerf_rollout_came(&r, "a", KERF_CAME_OLD));
    assert_int_equal(kerf_rollout_trial(&r, "a"), KERF_TRIAL_OFFERED);
    assert_int_equal(r.failed + r.well, 0);
    kerf_rollout_fini(&r);
}

static void
done__after_it_was_well_for_a_while(void **state)
{
    kerf_rollout r;

    (void)state;
    begin(&r, 100, 20);
    for (unsigned n = 0; n < 3; n++) {
        assert_true(kerf_rollout_offer(&r, edge_name(n)));
        assert_false(kerf_rollout_is_done(&r, 5, 100));
        assert_true(kerf_rollout_ready(&r, edge_name(n), true, ""));
    }
    assert_false(kerf_rollout_is_done(&r, 10, 100));
    assert_true(kerf_rollout_offer(&r, "late")); /* goes on */
    assert_false(kerf_rollout_is_done(&r, 20, 100));
    assert_true(kerf_rollout_ready(&r, "late", true, ""));
    assert_false(kerf_rollout_is_done(&r, 109, 100));
    /* It still halts. */
    for (int i = 0; i < 3; i++)
        (void)kerf_rollout_request(&r, "late", true);
    assert_int_equal(r.state, KERF_ROLLOUT_HALTED);
    assert_false(kerf_rollout_is_done(&r, 120, 100));
    assert_int_equal(kerf_rollout_resume(&r, NULL), KERF_OK);
    assert_false(kerf_rollout_is_done(&r, 200, 100));
    assert_false(kerf_rollout_is_done(&r, 299, 100));
    assert_true(kerf_rollout_is_done(&r, 300, 100));
    kerf_rollout_fini(&r);
}

static void
resume__who_failed_and_is_away__needs_the_old_one(void **state)
{
    kerf_rollout r;

    (void)state;
    begin(&r, 100, -1);
    assert_true(kerf_rollout_offer(&r, "a"));
    assert_true(kerf_rollout_ready(&r, "a", false, "no good"));
    kerf_rollout_left(&r, "a", KERF_LEFT_WELL, 100);
    assert_int_equal(kerf_rollout_halt(&r, "", NULL), KERF_OK);
    assert_int_equal(kerf_rollout_resume(&r, NULL), KERF_OK);
    assert_false(kerf_rollout_is_done(&r, 200, 0));
    assert_false(kerf_rollout_forget(&r, 149, 50));
    assert_false(kerf_rollout_came(&r, "a", KERF_CAME_OLD));
    assert_true(kerf_rollout_gets_new(&r, "a"));
    assert_true(kerf_rollout_offer(&r, "a"));
    assert_true(kerf_rollout_ready(&r, "a", false, "no good"));
    assert_false(kerf_rollout_gets_new(&r, "a"));
    /* For good: as one that was offered it. */
    kerf_rollout_left(&r, "a", KERF_LEFT_WELL, 300);
    assert_int_equal(kerf_rollout_halt(&r, "", NULL), KERF_OK);
    assert_int_equal(kerf_rollout_set(&r, 100, NULL), KERF_OK);
    assert_true(kerf_rollout_forget(&r, 350, 50));
    assert_true(kerf_rollout_is_done(&r, 350, 0));
    kerf_rollout_fini(&r);
    /* Not one that would not get it. */
    begin(&r, 100, -1);
    assert_true(kerf_rollout_offer(&r, "a"));
    assert_true(kerf_rollout_ready(&r, "a", false, "no good"));
    kerf_rollout_left(&r, "a", KERF_LEFT_WELL, 100);
    assert_int_equal(kerf_rollout_halt(&r, "", NULL), KERF_OK);
    assert_int_equal(kerf_rollout_set(&r, 0, NULL), KERF_OK);
    assert_int_equal(r.count, 0);
    kerf_rollout_fini(&r);
}

static void
forget__who_went_for_good__ends_it(void **state)
{
    kerf_rollout r;

    (void)state;
    begin(&r, 100, -1);
    assert_true(kerf_rollout_offer(&r, "here"));
    assert_true(kerf_rollout_offer(&r, "well"));
    assert_true(kerf_rollout_ready(&r, "well", true, ""));
    assert_true(kerf_rollout_offer(&r, "gone"));
    assert_true(kerf_rollout_offer(&r, "back"));
    assert_true(kerf_rollout_offer(&r, "bad"));
    kerf_rollout_left(&r, "gone", KERF_LEFT_MIDWAY, 100);
    kerf_rollout_left(&r, "gone", KERF_LEFT_MIDWAY, 120); /* was away */
    kerf_rollout_left(&r, "back", KERF_LEFT_MIDWAY, 100);
    kerf_rollout_left(&r, "well", KERF_LEFT_WELL, 100);
    kerf_rollout_left(&r, "bad", KERF_LEFT_MIDWAY, 100);
    assert_true(kerf_rollout_ready(&r, "bad", false, "x"));
    assert_false(kerf_rollout_forget(&r, 109, 10));
    assert_false(kerf_rollout_came(&r, "back", KERF_CAME_OLD));
    assert_true(kerf_rollout_forget(&r, 110, 10));
    assert_int_equal(kerf_rollout_trial(&r, "gone"), KERF_TRIAL_NONE);
    assert_int_equal(kerf_rollout_trial(&r, "back"), KERF_TRIAL_OFFERED);
    assert_false(kerf_rollout_forget(&r, 1000, 10));
    assert_int_equal(r.count, 4);
    assert_int_equal(r.offered, 2);
    /* After a restart of the cloud; one that failed needs the old one. */
    kerf_rollout_all_away(&r, 1000);
    assert_false(kerf_rollout_forget(&r, 1009, 10));
    assert_true(kerf_rollout_forget(&r, 1010, 10));
    assert_int_equal(r.offered, 0);
    assert_int_equal(r.failed, 1);
    assert_int_equal(r.well, 1);
    assert_false(kerf_rollout_is_done(&r, 1, 0));
    kerf_rollout_fini(&r);
}

static void
offer__no_room__who_went_longest_ago_goes(void **state)
{
    kerf_rollout r;

    (void)state;
    begin(&r, 100, -1);
    for (unsigned n = 0; n < KERF_ROLLOUT_EDGES; n++)
        assert_true(kerf_rollout_offer(&r, edge_name(n)));
    assert_false(kerf_rollout_gets_new(&r, "x"));
    assert_false(kerf_rollout_offer(&r, "x"));
    assert_true(kerf_rollout_ready(&r, "edge-7", true, ""));
    kerf_rollout_left(&r, "edge-7", KERF_LEFT_WELL, 1);
    kerf_rollout_left(&r, "edge-9", KERF_LEFT_MIDWAY, 2);
    kerf_rollout_left(&r, "edge-8", KERF_LEFT_MIDWAY, 3);
    assert_true(kerf_rollout_gets_new(&r, "x"));
    assert_true(kerf_rollout_offer(&r, "x"));
    assert_int_equal(kerf_rollout_trial(&r, "edge-9"), KERF_TRIAL_NONE);
    assert_true(kerf_rollout_offer(&r, "y"));
    assert_int_equal(kerf_rollout_trial(&r, "edge-8"), KERF_TRIAL_NONE);
    assert_int_equal(kerf_rollout_trial(&r, "edge-7"), KERF_TRIAL_WELL);
    assert_true(kerf_rollout_offer(&r, "z"));
    assert_int_equal(kerf_rollout_trial(&r, "edge-7"), KERF_TRIAL_NONE);
    assert_false(kerf_rollout_offer(&r, "u"));
    assert_int_equal(r.count, KERF_ROLLOUT_EDGES);
    kerf_rollout_fini(&r);
}

static void
blocked__is_no_failure__until_it_says_otherwise(void **state)
{
    kerf_rollout r;

    (void)state;
    begin(&r, 100, 1);
    for (unsigned n = 0; n < 4; n++) {
        assert_true(kerf_rollout_offer(&r, edge_name(n)));
        kerf_rollout_blocked(&r, edge_name(n), "no room");
        kerf_rollout_blocked(&r, edge_name(n), "no \x1b room");
    }
    kerf_rollout_blocked(&r, "stranger", "x");
    assert_int_equal(r.blocked, 4);
    assert_int_equal(r.offered, 4);
    assert_string_equal(r.blocked_why, "edge-3: no \\x1b room");
    assert_true(kerf_rollout_gets_new(&r, "edge-0"));
    assert_true(kerf_rollout_ready(&r, "edge-0", true, ""));
    assert_int_equal(r.blocked, 3);
    kerf_rollout_blocked(&r, "edge-0", "x"); /* it runs it */
    assert_int_equal(r.blocked, 3);
    kerf_rollout_left(&r, "edge-1", KERF_LEFT_MIDWAY, 1);
    assert_true(kerf_rollout_ready(&r, "edge-2", false, "bad"));
    assert_int_equal(r.blocked, 1);
    assert_int_equal(r.failed, 1);
    assert_int_equal(kerf_rollout_halt(&r, "", NULL), KERF_OK);
    assert_int_equal(kerf_rollout_resume(&r, NULL), KERF_OK);
    assert_int_equal(r.blocked, 1);
    kerf_rollout_fini(&r);
}

static void
request__failing_often__fails(void **state)
{
    kerf_rollout r;

    (void)state;
    begin(&r, 100, -1);
    assert_true(kerf_rollout_offer(&r, "a"));
    assert_true(kerf_rollout_ready(&r, "a", true, ""));
    for (int i = 0; i < 100; i++)
        assert_false(kerf_rollout_request(&r, "a", false));
    for (int i = 0; i < 5; i++)
        assert_false(kerf_rollout_request(&r, "a", true)); /* 5 of 105 */
    assert_true(kerf_rollout_request(&r, "a", true));
    assert_int_equal(r.failed, 1);
    assert_int_equal(r.well, 0);
    kerf_rollout_fini(&r);
}

static void
percent__of_text(void **state)
{
    double v = 0;

    (void)state;
    assert_true(kerf_rollout_percent("10%", 0, &v) && v == 10);
    assert_true(kerf_rollout_percent("12.5 %", 0, &v) && v == 12.5);
    assert_true(kerf_rollout_percent("100", 0, &v) && v == 100);
    assert_false(kerf_rollout_percent("", 0, &v));
    assert_false(kerf_rollout_percent("%", 0, &v));
    assert_false(kerf_rollout_percent("-1", 0, &v));
    assert_false(kerf_rollout_percent("101%", 0, &v));
    assert_false(kerf_rollout_percent("nan", 0, &v));
    assert_false(kerf_rollout_percent("10%%", 0, &v));
    assert_false(kerf_rollout_percent("halt", 0, &v));
    assert_false(kerf_rollout_percent("0x10", 0, &v));
    assert_false(kerf_rollout_percent("1e1", 0, &v));
    assert_false(kerf_rollout_percent("+5", 0, &v));
    assert_false(kerf_rollout_percent(" 5", 0, &v));
}

static void
text__there_and_back(void **state)
{
    kerf_rollout r, over;
    const kerf_rollout *list[2] = {&r, &over};
    kerf_rollout *back[4];
    char *text = NULL;
    char *again = NULL;
    kerf_rollout *copy;
    size_t count = 0;

    (void)state;
    begin(&r, 12.5, 20);
    kerf_rollout_init(&over, "n");
    assert_true(kerf_rollout_offer(&r, "a"));
    assert_true(kerf_rollout_offer(&r, "b \"\xc3\xa4\""));
    assert_true(kerf_rollout_ready(&r, "a", false, "x"));
    assert_int_equal(kerf_rollout_halt(&r, "by hand", NULL), KERF_OK);
    r.was_signed = true;
    assert_int_equal(kerf_rollout_format(list, 2, &text), KERF_OK);
    copy = kerf_rollout_copy(&r);
    assert_non_null(copy);
    kerf_rollout_fini(&r); /* the copy needs nothing of it */
    list[0] = copy;
    assert_int_equal(kerf_rollout_format(list, 2, &again), KERF_OK);
    assert_string_equal(text, again);
    free(again);
    free(copy);
    assert_int_equal(
        kerf_rollout_parse(back, 4, &count, text, strlen(text), NULL), KERF_OK);
    assert_int_equal(count, 2);
    assert_int_equal(back[0]->state, KERF_ROLLOUT_HALTED);
    assert_string_equal(back[0]->why, "by hand");
    assert_true(back[0]->was_signed);
    assert_false(back[1]->was_signed);
    assert_true(back[0]->percent == 12.5);
    assert_int_equal(kerf_rollout_trial(back[0], "a"), KERF_TRIAL_FAILED);
    assert_int_equal(kerf_rollout_trial(back[0], "b \"\xc3\xa4\""),
                     KERF_TRIAL_OFFERED);
    assert_int_equal(
        kerf_rollout_format((const kerf_rollout *const *)back, 2, &again),
        KERF_OK);
    assert_string_equal(text, again);
    assert_int_equal(
        kerf_rollout_parse(back + 2, 1, &count, text, strlen(text), NULL),
        KERF_ECORRUPT); /* more than there is room for */
    assert_int_equal(count, 0);
    for (size_t i = 0; i < 2; i++) {
        kerf_rollout_fini(back[i]);
        free(back[i]);
    }
    free(text);
    free(again);
    kerf_rollout_fini(&r);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percentages__are_kept_by_a_stable_choice),
        cmocka_unit_test(ready__too_many_failures__halt_and_keep_the_well),
        cmocka_unit_test(done__when_all_that_were_offered_it_are_well),
        cmocka_unit_test(came__after_what_may_be_crashes__fails_in_the_end),
        cmocka_unit_test(came__started_anew_with_the_new_one__fails_in_the_end),
        cmocka_unit_test(came__again__is_no_failure),
        cmocka_unit_test(came__well_with_the_old_one__is_no_failure),
        cmocka_unit_test(left__for_another_model__then_offered_again),
        cmocka_unit_test(came__with_the_old_one__is_no_failure),
        cmocka_unit_test(done__after_it_was_well_for_a_while),
        cmocka_unit_test(resume__who_failed_and_is_away__needs_the_old_one),
        cmocka_unit_test(forget__who_went_for_good__ends_it),
        cmocka_unit_test(offer__no_room__who_went_longest_ago_goes),
        cmocka_unit_test(blocked__is_no_failure__until_it_says_otherwise),
        cmocka_unit_test(request__failing_often__fails),
        cmocka_unit_test(percent__of_text),
        cmocka_unit_test(text__there_and_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
