/*
 * kwz.h - the container of packed files: a head, records one after the other,
 * and an index at the end. Format: docs/FORMAT.md.
 *
 * Writing and reading are record by record, so that either can begin before the
 * other has ended, and blocks can be coded by several threads in between:
 *
 *     head, then for each file: [FILE] BLOCK ... [SUM], then [INDEX]
 *
 * A single file without a name has no FILE; of one block it has no SUM; a
 * container of nothing else has no INDEX. Buffers only.
 * Threads: a writer or reader is of one thread.
 */
#ifndef KERF_CODEC_KWZ_H
#define KERF_CODEC_KWZ_H

#include "base/bytes.h"
#include "codec/block.h"

#define KERF_KWZ_MAGIC "KWZ" /* and the version, one byte */
#define KERF_KWZ_VERSION 3
#define KERF_KWZ_HEAD_LEN 4
#define KERF_KWZ_FILES_MOST 65536u
#define KERF_KWZ_NAME_MOST 4096u /* bytes of a path, with the end */
#define KERF_KWZ_BYTES_MOST ((uint64_t)1 << 36) /* of one file */
/* What a record has besides its payload, at most. */
#define KERF_KWZ_RECORD_HEAD 32
/* The longest record to be kept to read it. */
#define KERF_KWZ_RECORD_MOST (KERF_BLOCK_MOST + KERF_KWZ_RECORD_HEAD)

typedef enum kerf_kwz_kind {
    KERF_KWZ_BLOCK,
    KERF_KWZ_FILE,
    KERF_KWZ_SUM,
    KERF_KWZ_INDEX, /* the last one */
} kerf_kwz_kind;

typedef struct kerf_kwz_file {
    char name[KERF_KWZ_NAME_MOST]; /* relative path, not checked by the codec */
    uint32_t mode;                 /* st_mode: type and permissions */
    int64_t mtime;                 /* s since 1970 */
} kerf_kwz_file;

typedef struct kerf_kwz_block {
    kerf_block_kind kind;
    bool is_last;    /* of its file */
    uint64_t offset; /* in its file */
    size_t len;      /* before packing */
    uint32_t check;
    const uint8_t *data; /* packed */
    size_t data_len;
} kerf_kwz_block;

typedef struct kerf_kwz_record {
    kerf_kwz_kind kind;
    kerf_kwz_block block;      /* BLOCK */
    const kerf_kwz_file *file; /* FILE: valid until the next record */
} kerf_kwz_record;

/* The check of a block's bytes; its lowest 32 bits are in the record. */
uint64_t kerf_kwz_check(const uint8_t *data, size_t len, uint64_t offset);

/* ---- writing ---------------------------------------------------------- */

typedef struct kerf_kwz_writer kerf_kwz_writer;

/* named: FILE records will be written. Errors: KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_kwz_writer_new(kerf_kwz_writer **out, bool named);
void kerf_kwz_writer_free(kerf_kwz_writer *kw); /* accepts NULL */

/* What comes next, valid until the next call; the caller writes it out, and
 * after that of a block the block's data. Errors: KERF_ENOMEM, KERF_ETOOBIG. */
typedef struct kerf_kwz_bytes {
    const uint8_t *data;
    size_t len;
} kerf_kwz_bytes;

kerf_kwz_bytes kerf_kwz_put_head(kerf_kwz_writer *kw);
KERF_NODISCARD kerf_err kerf_kwz_put_file(kerf_kwz_writer *kw,
                                          const kerf_kwz_file *file,
                                          kerf_kwz_bytes *out);
/* Of a block: kind, is_last, len, data_len; hash is its kerf_kwz_check(). */
KERF_NODISCARD kerf_err kerf_kwz_put_block(kerf_kwz_writer *kw,
                                           const kerf_kwz_block *block,
                                           uint64_t hash, kerf_kwz_bytes *out);
/* How long what comes before a block's data is at most; just so long when
 * packing does not make it shorter by much. */
size_t kerf_kwz_block_head_most(size_t len);
/* Behind a file's last block: where its tensors are, for the index (may be
 * none); gives the SUM, or nothing. */
KERF_NODISCARD kerf_err kerf_kwz_end_file(kerf_kwz_writer *kw,
                                          const kerf_segment *segments,
                                          size_t count, kerf_kwz_bytes *out);
/* Behind all: the INDEX, or nothing. */
KERF_NODISCARD kerf_err kerf_kwz_end(kerf_kwz_writer *kw, kerf_kwz_bytes *out);

/* Whether a container, by its first bytes, is of files with names. */
bool kerf_kwz_is_named(const uint8_t *data, size_t len);

/* ---- reading in order ------------------------------------------------- */

typedef struct kerf_kwz_reader kerf_kwz_reader;

KERF_NODISCARD kerf_err kerf_kwz_reader_new(kerf_kwz_reader **out);
void kerf_kwz_reader_free(kerf_kwz_reader *kr); /* accepts NULL */

/*
 * Takes the next record from r, into whose bytes a block's data points. After
 * each block the caller decodes it and calls kerf_kwz_checked() in order; it
 * may be some blocks behind, but not when the next record is behind a file's
 * last. Errors: KERF_EAGAIN: there must be *need bytes, at most
 * KERF_KWZ_RECORD_MOST (r is as it was); KERF_ECORRUPT; KERF_EVERSION;
 * KERF_ETOOBIG.
 */
KERF_NODISCARD kerf_err kerf_kwz_next(kerf_kwz_reader *kr, kerf_rd *r,
                                      kerf_kwz_record *out, size_t *need,
                                      kerf_detail *why);

/* Compares a decoded block with its check, and keeps the hash for the SUM.
 * hash: kerf_kwz_check() of what was decoded. May be called while another
 * thread is in kerf_kwz_next() for a block of the same file.
 * Errors: KERF_ECORRUPT. */
KERF_NODISCARD kerf_err kerf_kwz_checked(kerf_kwz_reader *kr,
                                         const kerf_kwz_block *block,
                                         uint64_t hash, kerf_detail *why);

/* May the input end here? */
bool kerf_kwz_is_whole(const kerf_kwz_reader *kr);

/* ---- reading anywhere ------------------------------------------------- */

typedef struct kerf_kwz_place {
    size_t at;       /* of the record, from the container's begin */
    uint64_t offset; /* of the block in its file */
    size_t len;      /* before packing */
} kerf_kwz_place;

typedef struct kerf_kwz_entry {
    char *name;   /* NULL: without */
    uint64_t len; /* before packing */
    kerf_kwz_place *place;
    size_t place_count;
    kerf_segment *segment; /* its tensors */
    size_t segment_count;
} kerf_kwz_entry;

/* Owned; zeroed: empty. */
typedef struct kerf_kwz_index {
    kerf_kwz_entry *file;
    size_t file_count;
} kerf_kwz_index;

/* The index at the end of a whole container. Errors: KERF_ENOENT (too small to
 * have one), KERF_ECORRUPT, KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_kwz_index_read(kerf_kwz_index *out,
                                            const uint8_t *data, size_t len,
                                            kerf_detail *why);
void kerf_kwz_index_fini(kerf_kwz_index *index);

/* How many of the count bytes from offset on are in the block that holds the
 * first; count where that is outside the file. */
size_t kerf_kwz_reach(const kerf_kwz_index *index, size_t file, uint64_t offset,
                      size_t count);

/* Bytes [offset, offset + len) of one of its files to out: decodes the blocks
 * that these are in, and no others. Errors: KERF_EINVAL (outside the file),
 * KERF_ECORRUPT, KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_kwz_range(const kerf_kwz_index *index, size_t file,
                                       const uint8_t *data, size_t len,
                                       kerf_block_coder *bc, uint64_t offset,
                                       size_t count, uint8_t *out,
                                       kerf_detail *why);

#endif
