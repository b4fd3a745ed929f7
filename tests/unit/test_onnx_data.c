/* Data of tensors in files beside the model: found, bounded, and never out of
 * the model's folder. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "onnx_build.h"

#define DATA "weights.bin"

struct folder {
    char top[64]; /* holds secret.bin and the model's folder, "m" */
    char model[160];
};

static void
in_folder(char out[160], const struct folder *f, const char *name)
{
    (void)snprintf(out, 160, "%s/%s", f->top, name);
}

static void
write_file(const struct folder *f, const char *name, const void *data,
           size_t len)
{
    char path[160];

    in_folder(path, f, name);
    assert_int_equal(kerf_fs_write(path, data, len, NULL), KERF_OK);
}

static int
make_folder(void **state)
{
    static const float data[] = {9, 1, 2, 3, 9};
    static struct folder f;
    char path[160], other[160];

    f = (struct folder){.top = "/tmp/kerf-onnx-XXXXXX"};
    assert_non_null(mkdtemp(f.top));
    in_folder(path, &f, "m");
    assert_int_equal(mkdir(path, 0700), 0);
    in_folder(path, &f, "m/sub");
    assert_int_equal(mkdir(path, 0700), 0);
    in_folder(f.model, &f, "m/net.onnx");
    write_file(&f, "secret.bin", data, sizeof data);
    write_file(&f, "m/" DATA, data, sizeof data);
    write_file(&f, "m/sub/" DATA, data, sizeof data);
    in_folder(path, &f, "m/out.bin");
    in_folder(other, &f, "secret.bin");
    assert_int_equal(symlink(other, path), 0);
    in_folder(path, &f, "m/up");
    assert_int_equal(symlink("..", path), 0);
    in_folder(path, &f, "m/in.bin");
    assert_int_equal(symlink("sub/" DATA, path), 0);
    *state = &f;
    return 0;
}

static int
remove_folder(void **state)
{
    static const char *const names[] = {
        "m/in.bin", "m/up",       "m/out.bin",  ("m/sub/" DATA), ("m/" DATA),
        "m/sub",    "secret.bin", "m/net.onnx", "m/other.bin",   "m"};
    const struct folder *f = *state;
    char path[160];

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        in_folder(path, f, names[i]);
        (void)remove(path);
    }
    assert_int_equal(rmdir(f->top), 0);
    return 0;
}

static void
add_entry(kerf_rope *tensor, const char *key, const char *value)
{
    kerf_rope entry = {0};

    kerf_wire_put_text(&entry, 1, key);
    kerf_wire_put_text(&entry, 2, value);
    kerf_wire_put_rope(tensor, 13, &entry);
}

/* f32 [3], called t. NULL: no such entry. */
static kerf_rope
outside(const char *location, const char *offset, const char *length)
{
    kerf_rope tensor = {0};

    kerf_wire_put_int(&tensor, 1, 3);
    kerf_wire_put_int(&tensor, 2, ELEM_F32);
    kerf_wire_put_text(&tensor, 8, "t");
    if (location != NULL)
        add_entry(&tensor, "location", location);
    if (offset != NULL)
        add_entry(&tensor, "offset", offset);
    if (length != NULL)
        add_entry(&tensor, "length", length);
    kerf_wire_put_int(&tensor, 14, 1);
    return tensor;
}

/* x -> Add(x, t) y; t: taken. As a constant node's, or as an initializer. */
static struct bytes
model_with(kerf_rope *tensor, bool is_constant)
{
    kerf_rope graph = {0}, attributes = {0};

    if (is_constant) {
        add_attribute(&attributes, "value", 5, tensor);
        add_node(&graph, "Constant", NULL, "t", &attributes);
    } else {
        kerf_wire_put_rope(&graph, PARAM, tensor);
    }
    add_node(&graph, "Add", "x,t", "y", NULL);
    add_port(&graph, INPUT, "x", ELEM_F32, "3");
    add_port(&graph, OUTPUT, "y", ELEM_F32, "3");
    return finish(&graph, 8, 17);
}

static void
open__data_in_a_file__is_written_inside(void **state)
{
    static const struct {
        const char *location, *offset, *length;
    } good[] = {
        {DATA, "4", "12"},
        {"./" DATA, "4", NULL},
        {"sub/" DATA, "4", "12"},
        {"in.bin", "4", "12"}, /* a link that stays inside */
    };
    static const uint8_t raw[] = {0x4A, 12, 0, 0, 0x80, 0x3F, 0, 0, 0, 0x40};
    const struct folder *f = *state;

    for (size_t i = 0; i < 2 * sizeof good / sizeof *good; i++) {
        kerf_rope tensor = outside(good[i / 2].location, good[i / 2].offset,
                                   good[i / 2].length);
        struct bytes b = model_with(&tensor, i % 2 == 1), out;
        kerf_rope rope = {0}, weights = {0};
        kerf_detail why = {{0}};
        uint32_t *value = NULL;
        size_t count = 0;
        kerf_graph *g, *again;

        if (open_bytes(&g, &b, f->model, &why) != KERF_OK)
            fail_msg("%s", why.text);
        assert_int_equal(value_of(g, "t")->bytes, 12);
        assert_int_equal(kerf_graph_write_probe(g, false, &rope, &weights,
                                                &value, &count, &why),
                         KERF_OK);
        out = flatten(&rope);
        assert_non_null(memmem(out.at, out.len, raw, sizeof raw));
        assert_null(memmem(out.at, out.len, "location", 8));
        again = must_open(&out); /* without a path: all is inside */
        kerf_graph_close(again);
        kerf_graph_close(g);
        free(value);
        free(out.at);
        free(b.at);
    }
}

static void
open__data_that_is_not_in_the_folder__is_refused(void **state)
{
    const struct folder *f = *state;
    char secret[160];
    const struct {
        const char *location, *offset, *length;
        kerf_err err;
        const char *text;
    } bad[] = {
        {"missing.bin", NULL, NULL, KERF_ENOENT, "'missing.bin'"},
        {"../secret.bin", NULL, NULL, KERF_ENOTSUP, "within the model's"},
        {"sub/../" DATA, NULL, NULL, KERF_ENOTSUP, "within the model's"},
        {"..", NULL, NULL, KERF_ENOTSUP, "within the model's"},
        {"", NULL, NULL, KERF_ENOTSUP, "within the model's"},
        {NULL, NULL, NULL, KERF_ENOTSUP, "within the model's"},
        {secret, NULL, NULL, KERF_ENOTSUP, "within the model's"},
        {"out.bin", NULL, NULL, KERF_ENOTSUP, "a link leads out"},
        {"up/secret.bin", NULL, NULL, KERF_ENOTSUP, "a link leads out"},
        {"sub", NULL, NULL, KERF_EINVAL, "not a regular file"},
        {DATA, "9", NULL, KERF_ECORRUPT, "ends before"},
        {DATA, "18446744073709551615", NULL, KERF_ECORRUPT, "ends before"},
        {DATA, "18446744073709551616", NULL, KERF_ECORRUPT, "numbers"},
        {DATA, "-4", NULL, KERF_ECORRUPT, "numbers"},
        {DATA, "", NULL, KERF_ECORRUPT, "numbers"},
        {DATA, "0", "0x0c", KERF_ECORRUPT, "numbers"},
        {DATA, "0", "11", KERF_ECORRUPT, "length"},
        {DATA, "0", "16", KERF_ECORRUPT, "length"},
    };

    in_folder(secret, f, "secret.bin");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        kerf_rope tensor =
            outside(bad[i].location, bad[i].offset, bad[i].length);
        struct bytes b = model_with(&tensor, i % 2 == 1);
        kerf_detail why = {{0}};
        kerf_graph *g;

        assert_int_equal(open_bytes(&g, &b, f->model, &why), bad[i].err);
        if (strstr(why.text, bad[i].text) == NULL ||
            strstr(why.text, "tensor 't'") == NULL)
            fail_msg("'%s' is not in: %s", bad[i].text, why.text);
        free(b.at);
    }
}

static void
open__data_outside_without_a_path__is_refused(void **state)
{
    kerf_rope tensor = outside(DATA, NULL, NULL);
    struct bytes b = model_with(&tensor, false);

    (void)state;
    must_refuse(&b, KERF_ENOTSUP, "save it with the weights inside");
    free(b.at);
}

static void
open__entries_of_a_tensor_that_is_inside__are_not_looked_at(void **state)
{
    const struct folder *f = *state;
    kerf_rope tensor = {0}, rope = {0}, weights = {0};
    struct bytes b, out;
    kerf_graph *g;
    uint32_t *value = NULL;
    size_t count = 0;

    add_floats(&tensor, "t", 3, 7);
    add_entry(&tensor, "location", "../secret.bin");
    kerf_wire_put_int(&tensor, 14, 0);
    b = model_with(&tensor, false);
    assert_int_equal(open_bytes(&g, &b, f->model, NULL), KERF_OK);
    assert_int_equal(
        kerf_graph_write_probe(g, false, &rope, &weights, &value, &count, NULL),
        KERF_OK);
    out = flatten(&rope);
    assert_null(memmem(out.at, out.len, "secret", 6));
    kerf_graph_close(must_open(&out));
    kerf_graph_close(g);
    free(value);
    free(out.at);
    free(b.at);
}

/* Halves whose weights have one name and place, in two folders. */
static void
join__data_outside__is_compared_not_its_place(void **state)
{
    const struct folder *f = *state;
    static const float same[] = {9, 1, 2, 3, 9}, other[] = {9, 1, 2, 4, 9};
    char sub[160];

    in_folder(sub, f, "m/sub/net.onnx");
    for (int is_other = 0; is_other < 2; is_other++) {
        kerf_rope t[2] = {outside(DATA, "4", "12"), outside(DATA, "4", "12")};
        struct bytes head = model_with(&t[0], false);
        struct bytes tail = model_with(&t[1], false), both;
        kerf_rope rope = {0}, weights = {0};
        kerf_graph *g[3];

        write_file(f, "m/sub/" DATA, is_other ? other : same, sizeof same);
        assert_int_equal(open_bytes(&g[0], &head, f->model, NULL), KERF_OK);
        assert_int_equal(open_bytes(&g[1], &tail, sub, NULL), KERF_OK);
        assert_int_equal(kerf_graph_join(g[0], g[1], &rope, &weights, NULL),
                         KERF_OK);
        both = flatten(&rope);
        g[2] = must_open(&both);
        assert_int_equal(
            kerf_graph_find(g[2], "t/kerf_join0") != KERF_GRAPH_NONE, is_other);
        for (int i = 0; i < 3; i++)
            kerf_graph_close(g[i]);
        free(head.at);
        free(tail.at);
        free(both.at);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(open__data_in_a_file__is_written_inside),
        cmocka_unit_test(open__data_that_is_not_in_the_folder__is_refused),
        cmocka_unit_test(open__data_outside_without_a_path__is_refused),
        cmocka_unit_test(
            open__entries_of_a_tensor_that_is_inside__are_not_looked_at),
        cmocka_unit_test(join__data_outside__is_compared_not_its_place),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
