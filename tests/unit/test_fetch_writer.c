#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>

#include "base/large.h"
#include "edge/fetch_writer.h"
#include "store_folder.h"

#define CHUNK ((size_t)KERF_PART_CHUNK)
#define POOL 32 /* chunks that lie in one memory */
#define WITHIN_MS 60000

/* A file that comes in, and the threads that write it. */
struct play {
    kerf_file file;
    kerf_incoming *in;
    kerf_loop *loop;
    kerf_writer *w;
    uint8_t *data;
    size_t size;
};

static unsigned pools; /* memories for chunks that were made */

/* In place of base/large.c. */
void *
kerf_large_alloc(size_t bytes)
{
    pools++;
    return aligned_alloc(KERF_LARGE_ALIGN, (bytes + KERF_LARGE_ALIGN - 1) /
                                               KERF_LARGE_ALIGN *
                                               KERF_LARGE_ALIGN);
}

static void
on_done(void *ctx)
{
    (void)ctx;
}

static void
open_play(struct play *p, kerf_store *store, size_t size)
{
    pools = 0;
    *p = (struct play){.size = size, .data = malloc(size)};
    assert_non_null(p->data);
    for (size_t i = 0; i < size; i++)
        p->data[i] = (uint8_t)(i * 7 + (i >> 12));
    p->file = file_of(KERF_ROLE_HEAD_GRAPH, "x.onnx", p->data, size);
    if (store != NULL)
        assert_int_equal(kerf_incoming_open(&p->in, store, &p->file, NULL),
                         KERF_OK);
    assert_int_equal(kerf_loop_new(&p->loop), KERF_OK);
    assert_int_equal(kerf_writer_new(&p->w, p->loop, on_done, NULL), KERF_OK);
}

static void
close_play(struct play *p)
{
    kerf_incoming_abort(p->in);
    kerf_loop_flush(p->loop); /* posts, which are the writer's */
    kerf_writer_free(p->w);
    kerf_loop_free(p->loop);
    free(p->data);
}

/* What comes of the file at offset, as data says; commit: nothing. */
static void
give(struct play *p, uint64_t offset, const uint8_t *data, size_t len)
{
    kerf_chunk *c = kerf_writer_chunk(p->w, len);

    assert_non_null(c);
    c->in = p->in;
    c->commit = len == 0;
    c->m = (kerf_range){
        .codec = KERF_PART_RAW, .offset = offset, .len = (uint32_t)len};
    memcpy(c->data, data, len);
    assert_true(kerf_writer_give(p->w, c));
}

static void
give_all(struct play *p)
{
    for (size_t at = 0; at < p->size; at += CHUNK)
        give(p, at, p->data + at, p->size - at < CHUNK ? p->size - at : CHUNK);
}

/* The file is not what was written any more. */
static void
spoil(const struct play *p)
{
    char name[KERF_SHA256_HEX + 16] = "partial/";
    char path[KERF_PATH_MAX];
    int fd;

    kerf_hex(name + strlen(name), p->file.sha256, KERF_SHA256_LEN);
    path_of(path, name);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "other", 5, 10), 5);
    assert_int_equal(close(fd), 0);
}

/* Takes what is done, of which there are so many. Returns the last error. */
static kerf_err
take(struct play *p, size_t count)
{
    kerf_err err = KERF_OK;
    kerf_chunk *c;

    assert_int_equal(kerf_writer_count(p->w), count);
    while ((c = kerf_writer_take(p->w)) != NULL) {
        count--;
        if (c->commit)
            p->in = NULL;
        err = c->err;
        kerf_writer_recycle(p->w, c);
    }
    assert_int_equal(count, 0);
    assert_int_equal(kerf_writer_bytes(p->w), 0);
    return err;
}

static void
writer__all_comes__is_published(void **state)
{
    struct play p;

    open_play(&p, *state, CHUNK * 5 + 1);
    assert_true(kerf_writer_start(p.w));
    give_all(&p);
    give(&p, 0, p.data, 0);
    assert_true(kerf_writer_stop(p.w, WITHIN_MS));
    assert_int_equal(take(&p, 7), KERF_OK);
    assert_true(is_there(part_of(&p.file)));
    close_play(&p);
}

static void
writer__one_byte_is_wrong__is_not_published(void **state)
{
    struct play p;

    open_play(&p, *state, CHUNK * 3);
    assert_true(kerf_writer_start(p.w));
    p.data[CHUNK + 5] ^= 1;
    give_all(&p);
    give(&p, 0, p.data, 0);
    assert_true(kerf_writer_stop(p.w, WITHIN_MS));
    assert_int_equal(take(&p, 4), KERF_ECORRUPT);
    assert_false(is_there(part_of(&p.file)));
    close_play(&p);
}

/* What was hashed as it came counts, not what the file says by then. */
static void
writer__hashed_where_it_lies__the_file_is_not_read_again(void **state)
{
    struct play p;

    open_play(&p, *state, CHUNK * 4);
    assert_true(kerf_writer_start(p.w));
    give_all(&p);
    for (size_t left = 4; left > 0;) {
        kerf_chunk *c = kerf_writer_take(p.w);

        left -= c != NULL;
        kerf_writer_recycle(p.w, c);
    }
    spoil(&p);
    give(&p, 0, p.data, 0);
    assert_true(kerf_writer_stop(p.w, WITHIN_MS));
    assert_int_equal(take(&p, 1), KERF_OK);
    close_play(&p);
}

static void
skip__what_waits__is_not_written(void **state)
{
    struct play p;

    open_play(&p, *state, CHUNK * 4);
    kerf_writer_skip(p.w, true);
    give_all(&p);
    assert_true(kerf_writer_start(p.w));
    assert_true(kerf_writer_stop(p.w, WITHIN_MS));
    assert_int_equal(take(&p, 4), KERF_OK);
    assert_int_equal(kerf_incoming_got(p.in), 0);
    close_play(&p);
}

static void
no_hash__all_comes__the_commit_reads_it(void **state)
{
    struct play p;

    open_play(&p, *state, CHUNK * 4);
    kerf_writer_no_hash(p.w, true);
    give_all(&p);
    give(&p, 0, p.data, 0);
    assert_true(kerf_writer_start(p.w));
    assert_true(kerf_writer_stop(p.w, WITHIN_MS));
    assert_int_equal(take(&p, 5), KERF_OK);
    assert_true(is_there(part_of(&p.file)));
    close_play(&p);
}

/* Else whoever ends would wait for all that an earlier try left. It is stopped
 * before it starts, since what was hashed till then may stay so. What is not
 * hashed from memory is what the file says when it is committed. */
static void
stop__bytes_wait__are_written_and_not_hashed(void **state)
{
    struct play p;

    open_play(&p, *state, CHUNK * 4);
    give_all(&p);
    assert_true(kerf_writer_stop(p.w, WITHIN_MS));
    assert_true(kerf_writer_start(p.w));
    assert_true(kerf_writer_stop(p.w, WITHIN_MS));
    assert_int_equal(take(&p, 4), KERF_OK);
    assert_int_equal(kerf_incoming_got(p.in), p.size);
    spoil(&p);
    assert_int_equal(kerf_incoming_commit(p.in, NULL), KERF_ECORRUPT);
    p.in = NULL;
    close_play(&p);
}

static void
chunk__recycled__is_filled_again(void **state)
{
    kerf_chunk *c[POOL + 1];
    struct play p;

    (void)state;
    open_play(&p, NULL, CHUNK);
    for (size_t i = 0; i <= POOL; i++) { /* one more than there are */
        c[i] = kerf_writer_chunk(p.w, CHUNK);
        assert_non_null(c[i]);
        memset(c[i]->data, (int)i, CHUNK);
    }
    for (size_t i = 0; i <= POOL; i++) {
        assert_int_equal(c[i]->data[CHUNK - 1], i);
        kerf_writer_recycle(p.w, c[i]);
    }
    for (size_t i = POOL; i-- > 0;)
        assert_ptr_equal(kerf_writer_chunk(p.w, CHUNK), c[i]);
    for (size_t i = 0; i < POOL; i++)
        kerf_writer_recycle(p.w, c[i]);
    assert_int_equal(pools, 1);
    close_play(&p);
}

/* The one that is being read into, or the one whose error ends it all. */
static void
trim__one_is_out__goes_when_it_is_back(void **state)
{
    struct play p;
    kerf_chunk *c;

    (void)state;
    open_play(&p, NULL, CHUNK);
    c = kerf_writer_chunk(p.w, CHUNK);
    kerf_writer_trim(p.w);
    kerf_writer_recycle(p.w, kerf_writer_chunk(p.w, 0)); /* not of those */
    memset(c->data, 1, CHUNK);
    kerf_writer_recycle(p.w, c);
    c = kerf_writer_chunk(p.w, CHUNK);
    assert_int_equal(pools, 2);
    kerf_writer_recycle(p.w, c);
    close_play(&p);
}

static void
trim__another_is_taken_before_one_is_back__stays(void **state)
{
    kerf_chunk *c[2];
    struct play p;

    (void)state;
    open_play(&p, NULL, CHUNK);
    c[0] = kerf_writer_chunk(p.w, CHUNK);
    kerf_writer_trim(p.w);
    c[1] = kerf_writer_chunk(p.w, CHUNK);
    kerf_writer_recycle(p.w, c[0]);
    kerf_writer_recycle(p.w, c[1]);
    kerf_writer_recycle(p.w, kerf_writer_chunk(p.w, CHUNK));
    assert_int_equal(pools, 1);
    kerf_writer_trim(p.w);
    kerf_writer_recycle(p.w, kerf_writer_chunk(p.w, CHUNK));
    assert_int_equal(pools, 2);
    close_play(&p);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        IN_DIR(writer__all_comes__is_published),
        IN_DIR(writer__one_byte_is_wrong__is_not_published),
        IN_DIR(writer__hashed_where_it_lies__the_file_is_not_read_again),
        IN_DIR(skip__what_waits__is_not_written),
        IN_DIR(no_hash__all_comes__the_commit_reads_it),
        IN_DIR(stop__bytes_wait__are_written_and_not_hashed),
        cmocka_unit_test(chunk__recycled__is_filled_again),
        cmocka_unit_test(trim__one_is_out__goes_when_it_is_back),
        cmocka_unit_test(trim__another_is_taken_before_one_is_back__stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
