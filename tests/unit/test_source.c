#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "source/npy.h"
#include "source/source.h"
#include "source_images.h"

static char dir[64];

static int
make_dir(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof dir, "/tmp/kerf-source-XXXXXX");
    return mkdtemp(dir) == NULL ? -1 : 0;
}

static int
drop_dir(void **state)
{
    char path[KERF_PATH_MAX];
    kerf_names names = {0};

    (void)state;
    if (kerf_fs_list(dir, 1000, &names, NULL) != KERF_OK)
        return -1;
    for (size_t i = 0; i < names.count; i++) {
        if (kerf_path_join(path, dir, names.name[i]) == KERF_OK)
            (void)remove(path);
    }
    kerf_names_free(&names);
    return rmdir(dir);
}

/* Writes dir/name; the path is valid until the fourth next call. */
static const char *
put(const char *name, const void *data, size_t len)
{
    static char paths[4][KERF_PATH_MAX];
    static unsigned turn;
    char *path = paths[turn++ % 4];

    assert_int_equal(kerf_path_join(path, dir, name), KERF_OK);
    assert_int_equal(kerf_fs_write(path, data, len, NULL), KERF_OK);
    return path;
}

/* A source of images of one size over some specs, and memory for one. */
typedef struct rig {
    kerf_card card;
    kerf_port port;
    kerf_tensor in;
    kerf_source *source;
    kerf_item item;
    kerf_detail why;
} rig;

static kerf_err
open_rig(rig *r, int height, int width, kerf_resize resize, kerf_colour colour,
         const char *const *spec, size_t count, bool watch)
{
    kerf_source_opts opts = {.spec = spec,
                             .spec_count = count,
                             .port = &r->port,
                             .port_count = 1,
                             .card = &r->card,
                             .repeat = 1,
                             .watch = watch};

    *r = (rig){0};
    kerf_card_init(&r->card);
    r->card.is_image = true;
    r->card.height = height;
    r->card.width = width;
    r->card.resize = resize;
    r->card.colour = colour;
    r->port.dtype = KERF_U8;
    r->port.shape = (kerf_shape){
        .rank = 4, .dims = {1, height, width, kerf_card_channels(&r->card)}};
    assert_int_equal(kerf_tensor_alloc(&r->in, KERF_U8, &r->port.shape),
                     KERF_OK);
    return kerf_source_new(&r->source, &opts, &r->why);
}

static kerf_err
next(rig *r)
{
    return kerf_source_next(r->source, &r->in, &r->item, &r->why);
}

static void
close_rig(rig *r)
{
    kerf_source_free(r->source);
    kerf_tensor_free(&r->in);
    kerf_card_fini(&r->card);
}

static void
expect_pixels(const void *png, size_t len, int height, int width,
              kerf_resize resize, kerf_colour colour, const uint8_t *pixels)
{
    const char *spec = put("a.png", png, len);
    rig r;

    assert_int_equal(
        open_rig(&r, height, width, resize, colour, &spec, 1, false), KERF_OK);
    assert_int_equal(next(&r), KERF_OK);
    if (r.item.err != KERF_OK)
        fail_msg("%s", r.item.why.text);
    assert_true(r.item.is_image);
    assert_memory_equal(r.in.data, pixels, r.in.bytes);
    assert_int_equal(next(&r), KERF_ECLOSED);
    close_rig(&r);
}

#define EXPECT(png, h, w, rule, colour, pixels)                 \
    expect_pixels((png), sizeof(png), h, w, KERF_RESIZE_##rule, \
                  KERF_COLOUR_##colour, pixels)

static void
next__png_of_the_right_size__gives_exact_pixels(void **state)
{
    uint8_t bgr[72], grey[72], bit[72];

    (void)state;
    for (size_t i = 0; i < 72; i++) {
        bgr[i] = rgb_pixels[i / 3 * 3 + 2 - i % 3];
        grey[i] = rgb_pixels[i / 3 * 3];
        bit[i] = grey[i] > 127 ? 255 : 0;
    }
    EXPECT(rgb_png, 4, 6, STRETCH, RGB, rgb_pixels);
    EXPECT(rgb_png, 4, 6, STRETCH, BGR, bgr);
    EXPECT(rgb_png, 4, 6, STRETCH, GRAY, grey_pixels);
    EXPECT(rgba_png, 4, 6, STRETCH, RGB, rgb_pixels);
    EXPECT(palette_png, 4, 6, STRETCH, RGB, rgb_pixels);
    EXPECT(grey_png, 4, 6, STRETCH, RGB, grey);
    EXPECT(grey16_png, 4, 6, STRETCH, RGB, grey);
    EXPECT(bit_png, 4, 6, STRETCH, RGB, bit);
}

/* Odd sizes: the last chroma sample covers one pixel. libjpeg's own SIMD and
 * plain IDCT agree, so the pixels are the same everywhere. */
static void
next__jpeg_4_2_0__gives_libjpegs_pixels(void **state)
{
    (void)state;
    EXPECT(soft_jpg, 9, 15, STRETCH, RGB, soft_pixels);
}

static void
next__each_resize_rule__gives_pillows_pixels(void **state)
{
    (void)state;
    EXPECT(rgb_png, 2, 3, STRETCH, RGB, stretch_3x2);
    EXPECT(rgb_png, 7, 9, STRETCH, RGB, stretch_9x7);
    EXPECT(rgb_png, 6, 6, LETTERBOX, RGB, letterbox_6x6);
    EXPECT(rgb_png, 3, 3, LETTERBOX, RGB, letterbox_3x3);
    EXPECT(rgb_png, 2, 2, CROP, RGB, crop_2x2);
}

/* Stored 32 x 16 with red, green over blue, white; turned right it is 16 x 32
 * with blue, red over white, green. */
static void
next__exif_orientation__is_honoured(void **state)
{
    static const uint8_t corners[4][3] = {
        {0, 0, 255}, {255, 0, 0}, {255, 255, 255}, {0, 255, 0}};
    const char *spec = put("t.jpg", turned_jpg, sizeof turned_jpg);
    rig r;

    (void)state;
    assert_int_equal(open_rig(&r, 32, 16, KERF_RESIZE_STRETCH, KERF_COLOUR_RGB,
                              &spec, 1, false),
                     KERF_OK);
    assert_int_equal(next(&r), KERF_OK);
    assert_int_equal(r.item.err, KERF_OK);
    assert_int_equal(r.item.width, 16);
    assert_int_equal(r.item.height, 32);
    for (size_t i = 0; i < 4; i++) {
        size_t y = i < 2 ? 4 : 28;
        size_t x = i % 2 == 0 ? 3 : 12;
        const uint8_t *p = (uint8_t *)r.in.data + (y * 16 + x) * 3;

        for (int c = 0; c < 3; c++)
            assert_in_range(abs(p[c] - corners[i][c]), 0, 3);
    }
    close_rig(&r);
}

static void
next__bad_files__one_error_each_and_goes_on(void **state)
{
    const char *spec = dir;
    const char *says[] = {"broken PNG",       "is cut short",
                          "cut short",        "empty",
                          "60000 x 60000",    "takes u8",
                          "not an .npy file", "not an image",
                          "16 bits",          NULL};
    static const float wrong[6] = {0};
    kerf_tensor t = {.dtype = KERF_F32,
                     .shape = {.rank = 2, .dims = {2, 3}},
                     .data = (void *)(uintptr_t)wrong,
                     .bytes = sizeof wrong};
    char path[KERF_PATH_MAX];
    rig r;

    (void)state;
    (void)put("0.png", broken_png, sizeof broken_png);
    (void)put("1.png", rgb_png, sizeof rgb_png - 7);
    (void)put("2.jpg", turned_jpg, sizeof turned_jpg - 40);
    (void)put("3.png", "", 0);
    (void)put("4.png", huge_png, sizeof huge_png);
    assert_int_equal(kerf_path_join(path, dir, "5.npy"), KERF_OK);
    assert_int_equal(kerf_npy_write(path, &t, NULL), KERF_OK);
    (void)put("6.npy", "no", 2);
    (void)put("7.png", "hello, world", 12);
    (void)put("8.png", rgb16_png, sizeof rgb16_png);
    (void)put("9.png", rgb_png, sizeof rgb_png);
    (void)put("ignored.txt", "x", 1);
    assert_int_equal(open_rig(&r, 4, 6, KERF_RESIZE_STRETCH, KERF_COLOUR_RGB,
                              &spec, 1, false),
                     KERF_OK);
    for (size_t i = 0; i < 10; i++) {
        assert_int_equal(next(&r), KERF_OK);
        assert_int_equal(r.item.index, i);
        if ((r.item.err == KERF_OK) != (says[i] == NULL))
            fail_msg("item %zu: \"%s\"", i, r.item.why.text);
        if (says[i] != NULL && strstr(r.item.why.text, says[i]) == NULL)
            fail_msg("\"%s\" does not say \"%s\"", r.item.why.text, says[i]);
    }
    assert_memory_equal(r.in.data, rgb_pixels, r.in.bytes);
    assert_int_equal(next(&r), KERF_ECLOSED);
    close_rig(&r);
}

static void
next__u8_npy_of_the_networks_size__is_an_image(void **state)
{
    kerf_tensor t = {.dtype = KERF_U8,
                     .shape = {.rank = 3, .dims = {4, 6, 3}},
                     .data = (void *)(uintptr_t)rgb_pixels,
                     .bytes = 72};
    char path[KERF_PATH_MAX];
    const char *spec = path;
    rig r;

    (void)state;
    assert_int_equal(kerf_path_join(path, dir, "a.npy"), KERF_OK);
    assert_int_equal(kerf_npy_write(path, &t, NULL), KERF_OK);
    assert_false(kerf_source_is_raw(&spec, 1));
    assert_int_equal(
        open_rig(&r, 4, 6, KERF_RESIZE_CROP, KERF_COLOUR_RGB, &spec, 1, false),
        KERF_OK);
    assert_int_equal(next(&r), KERF_OK);
    assert_int_equal(r.item.err, KERF_OK);
    assert_memory_equal(r.in.data, rgb_pixels, 72);
    close_rig(&r);
}

static void
new__wrong_specs__are_named(void **state)
{
    static const char *const specs[] = {"/nonexistent.png", "random:x", ""};
    static const char *const says[] = {"no such file", "random:SEED", "empty"};
    const char *spec = dir;
    rig r;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        assert_int_not_equal(open_rig(&r, 4, 6, KERF_RESIZE_CROP,
                                      KERF_COLOUR_RGB, &specs[i], 1, false),
                             KERF_OK);
        assert_non_null(strstr(r.why.text, says[i]));
        close_rig(&r);
    }
    assert_int_equal(
        open_rig(&r, 4, 6, KERF_RESIZE_CROP, KERF_COLOUR_RGB, &spec, 1, false),
        KERF_OK);
    assert_int_equal(next(&r), KERF_ENOENT);
    assert_non_null(strstr(r.why.text, "no image"));
    close_rig(&r);
}

static void
next__random__is_seeded_and_new_for_each_item(void **state)
{
    const char *spec = "random:5";
    kerf_port port = {.dtype = KERF_F32, .shape = {.rank = 2, .dims = {1, 8}}};
    kerf_source_opts opts = {.spec = &spec,
                             .spec_count = 1,
                             .port = &port,
                             .port_count = 1,
                             .repeat = 2};
    kerf_tensor in = {0};
    kerf_tensor want = {0};
    kerf_source *source = NULL;
    kerf_item item;

    (void)state;
    assert_true(kerf_source_is_raw(&spec, 1));
    assert_int_equal(kerf_tensor_alloc(&in, KERF_F32, &port.shape), KERF_OK);
    assert_int_equal(kerf_tensor_alloc(&want, KERF_F32, &port.shape), KERF_OK);
    assert_int_equal(kerf_source_new(&source, &opts, NULL), KERF_OK);
    for (uint64_t seed = 5; seed < 7; seed++) {
        uint64_t rng = seed;

        assert_int_equal(kerf_source_next(source, &in, &item, NULL), KERF_OK);
        kerf_tensor_fill_seeded(&want, &rng);
        assert_memory_equal(in.data, want.data, in.bytes);
    }
    assert_int_equal(kerf_source_next(source, &in, &item, NULL), KERF_ECLOSED);
    kerf_source_free(source);
    kerf_tensor_free(&in);
    kerf_tensor_free(&want);
}

static void *
stop_source(void *source)
{
    kerf_source_stop(source);
    return NULL;
}

/* Without the stop this would wait for ever: the test would hang. */
static void
stop__while_watching_or_pacing__wakes_next(void **state)
{
    const char *spec = dir;
    pthread_t thread;
    rig r;

    (void)state;
    assert_int_equal(
        open_rig(&r, 4, 6, KERF_RESIZE_CROP, KERF_COLOUR_RGB, &spec, 1, true),
        KERF_OK);
    assert_int_equal(pthread_create(&thread, NULL, stop_source, r.source), 0);
    assert_int_equal(next(&r), KERF_ECLOSED);
    assert_int_equal(next(&r), KERF_ECLOSED);
    assert_int_equal(pthread_join(thread, NULL), 0);
    close_rig(&r);
}

static void
count_wait(void *ctx)
{
    unsigned *waits = ctx;

    ++*waits;
}

/* A source of tensors that counts when it says that it waits. */
struct counted {
    kerf_port port;
    kerf_tensor in;
    kerf_source *source;
    kerf_item item;
    unsigned waits;
};

static void
open_counted(struct counted *c, kerf_source_opts opts)
{
    *c = (struct counted){
        .port = {.dtype = KERF_F32, .shape = {.rank = 2, .dims = {1, 8}}}};
    opts.port = &c->port;
    opts.port_count = 1;
    opts.waits = count_wait;
    opts.ctx = &c->waits;
    assert_int_equal(kerf_tensor_alloc(&c->in, KERF_F32, &c->port.shape),
                     KERF_OK);
    assert_int_equal(kerf_source_new(&c->source, &opts, NULL), KERF_OK);
}

static kerf_err
next_counted(struct counted *c)
{
    return kerf_source_next(c->source, &c->in, &c->item, NULL);
}

static void
close_counted(struct counted *c)
{
    kerf_source_free(c->source);
    kerf_tensor_free(&c->in);
}

/* Who holds something back for the next item lets it go by then. */
static void
next__has_to_wait__says_so_before(void **state)
{
    const char *spec = "random";
    struct counted c;

    (void)state;
    open_counted(
        &c, (kerf_source_opts){
                .spec = &spec, .spec_count = 1, .repeat = 3, .rate_hz = 500});
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(next_counted(&c), KERF_OK);
        assert_int_equal(c.waits, i); /* the first is due at once */
    }
    assert_int_equal(next_counted(&c), KERF_ECLOSED);
    assert_int_equal(c.waits, 2);
    close_counted(&c);
}

static void
next__reads_a_file_that_is_not_kept__says_so_before(void **state)
{
    const char *paths[2] = {put("a.npy", "", 0), put("b.npy", "", 0)};
    const char *specs[] = {paths[0], paths[0], paths[1], paths[0]};
    const unsigned want[] = {1, 1, 2, 3};
    float values[8] = {0};
    const kerf_tensor t = {.dtype = KERF_F32,
                           .shape = {.rank = 2, .dims = {1, 8}},
                           .data = values,
                           .bytes = sizeof values};
    struct counted c;

    (void)state;
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(kerf_npy_write(paths[i], &t, NULL), KERF_OK);
    open_counted(
        &c, (kerf_source_opts){.spec = specs, .spec_count = 4, .repeat = 1});
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(next_counted(&c), KERF_OK);
        assert_int_equal(c.item.err, KERF_OK);
        assert_int_equal(c.waits, want[i]);
    }
    close_counted(&c);
}

static void
next__watched_folder__gives_arrivals_once_and_complete(void **state)
{
    const char *spec = dir;
    char part[KERF_PATH_MAX];
    FILE *f;
    rig r;

    (void)state;
    (void)put("a.png", rgb_png, sizeof rgb_png);
    assert_int_equal(kerf_path_join(part, dir, "b.png"), KERF_OK);
    f = fopen(part, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(rgb_png, 1, 20, f), 20);
    assert_int_equal(fflush(f), 0);

    assert_int_equal(
        open_rig(&r, 4, 6, KERF_RESIZE_CROP, KERF_COLOUR_RGB, &spec, 1, true),
        KERF_OK);
    /* Arrives after the watch starts and before the folder is listed. */
    (void)put("aa.png", rgb_png, sizeof rgb_png);
    assert_int_equal(next(&r), KERF_OK);
    assert_string_equal(r.item.name, "a.png");
    assert_int_equal(next(&r), KERF_OK);
    assert_string_equal(r.item.name, "aa.png");
    assert_int_equal(fwrite(rgb_png + 20, 1, sizeof rgb_png - 20, f),
                     sizeof rgb_png - 20);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(next(&r), KERF_OK);
    assert_string_equal(r.item.name, "b.png");
    assert_int_equal(r.item.err, KERF_OK);
    (void)put("c.png", rgb_png, sizeof rgb_png);
    assert_int_equal(next(&r), KERF_OK);
    assert_string_equal(r.item.name, "c.png");
    close_rig(&r);
}

static void
next__linked_folders__are_not_entered(void **state)
{
    char sub[KERF_PATH_MAX];
    char loop[KERF_PATH_MAX];
    const char *spec = dir;
    rig r;

    (void)state;
    (void)put("a.png", rgb_png, sizeof rgb_png);
    assert_int_equal(kerf_path_join(sub, dir, "loop"), KERF_OK);
    assert_int_equal(kerf_path_join(loop, dir, "again"), KERF_OK);
    assert_int_equal(symlink(".", sub), 0);
    assert_int_equal(symlink(".", loop), 0);
    assert_int_equal(
        open_rig(&r, 4, 6, KERF_RESIZE_CROP, KERF_COLOUR_RGB, &spec, 1, false),
        KERF_OK);
    assert_int_equal(next(&r), KERF_OK);
    assert_string_equal(r.item.name, "a.png");
    assert_int_equal(next(&r), KERF_ECLOSED);
    close_rig(&r);
}

static void
next__folder_made_while_watching__gives_its_files_once(void **state)
{
    char sub[KERF_PATH_MAX];
    const char *spec = dir;
    const char *first;
    const char *second;
    rig r;

    (void)state;
    (void)put("a.png", rgb_png, sizeof rgb_png);
    assert_int_equal(
        open_rig(&r, 4, 6, KERF_RESIZE_CROP, KERF_COLOUR_RGB, &spec, 1, true),
        KERF_OK);
    assert_int_equal(next(&r), KERF_OK);
    assert_int_equal(kerf_path_join(sub, dir, "sub"), KERF_OK);
    assert_int_equal(mkdir(sub, 0700), 0);
    first = put("sub/b.png", rgb_png, sizeof rgb_png);
    assert_int_equal(next(&r), KERF_OK);
    assert_string_equal(r.item.name, "b.png");
    second = put("sub/c.png", rgb_png, sizeof rgb_png);
    assert_int_equal(next(&r), KERF_OK);
    assert_string_equal(r.item.name, "c.png");
    close_rig(&r);
    assert_int_equal(remove(first) | remove(second), 0);
}

static void
is_raw__npy_that_cannot_be_read__is_not_an_image(void **state)
{
    const char *bad = put("bad.npy", "nothing", 7);
    const char *png = put("a.png", rgb_png, sizeof rgb_png);
    const char *both[] = {bad, png};
    char list[2 * KERF_PATH_MAX];
    const char *spec = list;
    kerf_detail why;

    (void)state;
    assert_true(kerf_source_is_raw(&bad, 1));
    assert_false(kerf_source_is_raw(both, 2));
    (void)snprintf(list, sizeof list, "%s,%s/none.npy", bad, dir);
    assert_int_equal(kerf_source_check(&spec, 1, &why), KERF_ENOENT);
    assert_non_null(strstr(why.text, "/none.npy: no such"));
}

static void
npy__every_dtype__round_trips(void **state)
{
    kerf_shape shape = {.rank = 3, .dims = {2, 1, 3}};
    char path[KERF_PATH_MAX];

    (void)state;
    assert_int_equal(kerf_path_join(path, dir, "t.npy"), KERF_OK);
    for (int d = 0; d < KERF_DTYPE_COUNT; d++) {
        kerf_tensor t = {0};
        kerf_tensor back = {0};
        uint64_t seed = 1;

        assert_int_equal(kerf_tensor_alloc(&t, (kerf_dtype)d, &shape), KERF_OK);
        kerf_tensor_fill_seeded(&t, &seed);
        assert_int_equal(kerf_npy_write(path, &t, NULL), KERF_OK);
        assert_int_equal(kerf_npy_read(&back, path, NULL), KERF_OK);
        assert_int_equal(back.dtype, d == KERF_BF16 ? KERF_F32 : t.dtype);
        assert_true(kerf_shape_equal(&back.shape, &shape));
        for (size_t i = 0; i < 6; i++)
            assert_true(kerf_tensor_at(&t, i) == kerf_tensor_at(&back, i));
        kerf_tensor_free(&t);
        kerf_tensor_free(&back);
    }
}

static kerf_err
view_dict(const char *dict, size_t data, kerf_detail *why)
{
    uint8_t file[512] = "\x93NUMPY\x01";
    kerf_tensor t;

    file[8] = (uint8_t)strlen(dict);
    for (size_t i = 0; dict[i] != '\0'; i++)
        file[10 + i] = (uint8_t)dict[i];
    return kerf_npy_view(&t, file, 10 + strlen(dict) + data, why);
}

static void
npy_view__what_we_do_not_read__says_why(void **state)
{
    kerf_detail why;

    (void)state;
    assert_int_equal(view_dict("{'descr': '<f4', 'fortran_order': False, "
                               "'shape': (2, 3), }",
                               24, &why),
                     KERF_OK);
    assert_int_equal(view_dict("{'descr': '<f4', 'fortran_order': False, "
                               "'shape': (2, 3), }",
                               23, &why),
                     KERF_ECORRUPT);
    assert_int_equal(view_dict("{'descr': '>f4', 'fortran_order': False, "
                               "'shape': (1,), }",
                               4, &why),
                     KERF_ENOTSUP);
    assert_non_null(strstr(why.text, "big-endian"));
    assert_int_equal(view_dict("{'descr': '<f4', 'fortran_order': True, "
                               "'shape': (1,), }",
                               4, &why),
                     KERF_ENOTSUP);
    assert_non_null(strstr(why.text, "Fortran"));
    assert_int_equal(view_dict("{'descr': '|O', 'fortran_order': False, "
                               "'shape': (1,), }",
                               4, &why),
                     KERF_ENOTSUP);
    assert_int_equal(view_dict("{'descr': '<f4', 'fortran_order': False, "
                               "'shape': (900000000000000000, 99), }",
                               4, &why),
                     KERF_ETOOBIG);
    assert_int_equal(view_dict("{'descr': [('a', '<f4')]}", 4, &why),
                     KERF_ECORRUPT);
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, make_dir, drop_dir)
    const struct CMUnitTest tests[] = {
        CASE(next__png_of_the_right_size__gives_exact_pixels),
        CASE(next__jpeg_4_2_0__gives_libjpegs_pixels),
        CASE(next__each_resize_rule__gives_pillows_pixels),
        CASE(next__exif_orientation__is_honoured),
        CASE(next__bad_files__one_error_each_and_goes_on),
        CASE(next__u8_npy_of_the_networks_size__is_an_image),
        CASE(new__wrong_specs__are_named),
        CASE(next__random__is_seeded_and_new_for_each_item),
        CASE(stop__while_watching_or_pacing__wakes_next),
        CASE(next__has_to_wait__says_so_before),
        CASE(next__reads_a_file_that_is_not_kept__says_so_before),
        CASE(next__watched_folder__gives_arrivals_once_and_complete),
        CASE(next__linked_folders__are_not_entered),
        CASE(next__folder_made_while_watching__gives_its_files_once),
        CASE(is_raw__npy_that_cannot_be_read__is_not_an_image),
        CASE(npy__every_dtype__round_trips),
        CASE(npy_view__what_we_do_not_read__says_why),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
