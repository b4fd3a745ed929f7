/* What is written in the wire form reads the same, and where it stands. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "graph/wire.h"
#include "onnx.pb-c.h"

static void
wire__every_kind_of_field__reads_as_written(void **state)
{
    static const uint64_t ints[] = {0, 1, 127, 128, 300, UINT64_MAX};
    Kerf__Onnx__OperatorSetIdProto opset =
        KERF__ONNX__OPERATOR_SET_ID_PROTO__INIT;
    kerf_rope rope = {0}, inside = {0};
    uint8_t *bytes = NULL;
    kerf_wire_field f;
    kerf_rd r, in;

    (void)state;
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++)
        kerf_wire_put_int(&rope, (uint32_t)i + 1, ints[i]);
    kerf_wire_put_text(&rope, 20, "name");
    kerf_wire_put_int(&inside, 3, 7);
    kerf_wire_put_rope(&rope, 25, &inside);
    opset.has_version = 1;
    opset.version = 17;
    kerf_wire_put_message(&rope, 8, &opset.base);
    assert_int_equal(kerf_rope_flatten(&rope, &bytes), KERF_OK);
    r = (kerf_rd){.at = bytes, .left = rope.len};
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++) {
        assert_true(kerf_wire_next(&r, &f));
        assert_int_equal(f.number, i + 1);
        assert_int_equal(f.value, ints[i]);
        assert_ptr_equal(f.whole + f.whole_len, r.at);
    }
    assert_true(kerf_wire_next(&r, &f));
    assert_int_equal(f.number, 20);
    assert_int_equal(f.len, 4);
    assert_memory_equal(f.bytes, "name", 4);
    assert_int_equal(f.whole_len, 2 + 1 + 4);
    assert_true(kerf_wire_next(&r, &f));
    in = kerf_wire_inside(&f);
    assert_true(kerf_wire_next(&in, &f));
    assert_int_equal(f.number, 3);
    assert_int_equal(f.value, 7);
    assert_true(kerf_wire_next(&r, &f));
    assert_int_equal(f.number, 8);
    assert_memory_equal(f.bytes, "\x10\x11", 2);
    assert_false(kerf_wire_next(&r, &f));
    assert_false(r.bad);
    free(bytes);
    kerf_rope_fini(&rope);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wire__every_kind_of_field__reads_as_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
