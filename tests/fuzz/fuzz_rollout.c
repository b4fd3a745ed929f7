/* The state of rollouts is a file that anything may have written to. What
 * parses is within all bounds, and parses the same when written again. */
#include "cloud/rollout.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MOST 8
#define CHECK(what)  \
    do {             \
        if (!(what)) \
            abort(); \
    } while (0)

static void
drop(kerf_rollout **list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        kerf_rollout_fini(list[i]);
        free(list[i]);
    }
}

static void
check_bounds(const kerf_rollout *r)
{
    char shown[KERF_ROLLOUT_WHY];

    CHECK(kerf_text_is_name(r->name) && strlen(r->name) < KERF_NAME_MAX);
    CHECK(r->percent >= 0 && r->percent <= 100);
    CHECK(r->offered + r->well + r->failed == r->count);
    CHECK(strcmp(kerf_text_safe(shown, sizeof shown, r->why), r->why) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kerf_rollout *list[MOST];
    kerf_rollout *back[MOST];
    size_t count = 0;
    size_t count_back = 0;
    char *text = NULL;
    kerf_detail why;

    if (kerf_rollout_parse(list, MOST, &count, data, size, &why) != KERF_OK) {
        CHECK(count == 0);
        return 0;
    }
    for (size_t i = 0; i < count; i++)
        check_bounds(list[i]);
    CHECK(kerf_rollout_format((const kerf_rollout *const *)list, count,
                              &text) == KERF_OK);
    CHECK(kerf_rollout_parse(back, MOST, &count_back, text, strlen(text),
                             &why) == KERF_OK);
    CHECK(count == count_back);
    for (size_t i = 0; i < count; i++)
        CHECK(back[i]->count == list[i]->count &&
              back[i]->state == list[i]->state);
    free(text);
    drop(list, count);
    drop(back, count_back);
    return 0;
}
