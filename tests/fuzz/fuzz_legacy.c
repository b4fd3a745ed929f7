/* A stream of the reference's wire in slices: the first byte says the kind and
 * how long the slices are. However it is cut, the same messages come out. */
#include "proto/legacy.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(what)  \
    do {             \
        if (!(what)) \
            abort(); \
    } while (0)

#define LEN_MAX ((uint64_t)1 << 20)

typedef struct outcome {
    size_t messages;
    uint64_t payload; /* of all */
    kerf_err err;
} outcome;

static void
check_message(const kerf_legacy_message *m, kerf_legacy_kind kind)
{
    uint8_t out[KERF_LEGACY_PUT_MAX];

    CHECK(m->kind == kind);
    CHECK(m->len <= LEN_MAX);
    if (kind == KERF_LEGACY_FILE) {
        CHECK(kerf_text_is_name(m->name));
        CHECK(kerf_legacy_is_name(m->name));
        CHECK(kerf_legacy_put_file(out, sizeof out, m->name, m->len) > 0);
    } else {
        CHECK(kerf_legacy_put_tensor(out, sizeof out, m->index, &m->shape) > 0);
    }
}

static outcome
run(const uint8_t *data, size_t size, kerf_legacy_kind kind, size_t slice)
{
    outcome o = {0};
    uint64_t payload = 0;
    kerf_legacy_message m;
    kerf_legacy_reader r;
    kerf_detail why;

    kerf_legacy_init(&r, kind, LEN_MAX);
    while (size > 0 && o.err == KERF_OK) {
        size_t n = size < slice ? size : slice;
        bool ready = false;

        if (payload > 0) {
            n = n < payload ? n : (size_t)payload;
            payload -= n;
        } else {
            size_t used = 0;

            CHECK(kerf_legacy_need(&r) >= 1);
            o.err = kerf_legacy_feed(&r, data, n, &used, &ready, &m, &why);
            CHECK(o.err != KERF_OK || ready || used == n);
            n = o.err == KERF_OK ? used : n;
        }
        if (ready) {
            check_message(&m, kind);
            payload = m.len;
            o.payload += m.len;
            o.messages++;
        }
        data += n;
        size -= n;
    }
    kerf_legacy_fini(&r);
    return o;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kerf_legacy_kind kind;
    outcome whole;
    outcome cut;

    if (size < 1)
        return 0;
    kind = data[0] & 1 ? KERF_LEGACY_TENSOR : KERF_LEGACY_FILE;
    whole = run(data + 1, size - 1, kind, size);
    cut = run(data + 1, size - 1, kind, (size_t)(data[0] >> 1) + 1);
    CHECK(whole.messages == cut.messages && whole.payload == cut.payload &&
          whole.err == cut.err);
    return 0;
}
