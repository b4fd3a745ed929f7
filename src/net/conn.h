/*
 * conn.h - one connection that carries frames (proto/frame.h).
 *
 * Reading: the head goes into the connection's own small buffer; the owner then
 * says where each piece of the payload belongs, and it is read straight into
 * there. Sending: the pieces are sent straight from where they are. No payload
 * byte is copied in user space, but where frames are small (below).
 *
 * Threads: kerf_conn_send(), _ref() and _unref() from any thread: a send that
 * finds nothing queued goes to the kernel at once, on the caller's thread,
 * because a hand-over to the loop costs as much as sending. Everything else,
 * and every kerf_conn_ops callback, on the loop's thread.
 */
#ifndef KERF_NET_CONN_H
#define KERF_NET_CONN_H

#include "net/loop.h"
#include "proto/frame.h"

typedef struct kerf_conn kerf_conn;

typedef struct kerf_frame_in {
    kerf_header header;
    const uint8_t *meta;  /* header.meta_len bytes; for the call only */
    uint64_t received_ns; /* our clock: when the last byte had arrived */
} kerf_frame_in;

/* Where a payload goes. Lengths are without the pads. */
typedef struct kerf_sink {
    /* Read and drop it. With count and len, without pieces, its hash is looked
     * at all the same: a refusal may be due to damage. */
    bool discard;
    size_t count;
    void *piece[KERF_PORTS_MAX];
    size_t len[KERF_PORTS_MAX];
} kerf_sink;

typedef struct kerf_conn_ops {
    /* Large payloads come in steps of 256 KB, the last 32 KB apart, for each of
     * which the loop wakes up once: kerf_conn_last_in_ns() may be late by one.
     */
    bool in_steps;
    /* Small frames may come in rows: behind one whose payload is of 1 KB at
     * most, up to 4 KB are taken with one read, and what of payloads is among
     * them is copied. */
    bool small;
    /* A head is complete and the payload is not read yet. *sink takes nothing:
     * what counts is to be set.
     * KERF_EAGAIN: not now; reading stops until kerf_conn_resume(), then this
     * is called again. Any other error ends the connection, after an ERROR
     * frame with *why. Not called for frames without payload. */
    kerf_err (*on_head)(void *ctx, kerf_conn *conn, const kerf_frame_in *frame,
                        kerf_sink *sink, kerf_detail *why);
    /* The frame is complete and its hash is right. An error ends the
     * connection, after an ERROR frame with *why. */
    kerf_err (*on_frame)(void *ctx, kerf_conn *conn, const kerf_frame_in *frame,
                         kerf_detail *why);
    /* What is here has been read, or others have their turn; or NULL. */
    void (*on_pause)(void *ctx);
    /* Once, when the connection is over for any reason but kerf_conn_close();
     * call kerf_conn_close() from it or later. */
    void (*on_close)(void *ctx, kerf_conn *conn, kerf_err err, const char *why);
} kerf_conn_ops;

/* Takes fd (connected, non-blocking), also on error. ops outlives it. */
KERF_NODISCARD kerf_err kerf_conn_open(kerf_conn **out, kerf_loop *loop, int fd,
                                       const kerf_conn_ops *ops, void *ctx);
struct kerf_tls;
/* The same with TLS beneath; host: the cloud that was dialled, NULL: an edge
 * that was accepted. What is sent waits for the handshake, and so does reading:
 * who the peer is, is known when the first frame is. */
KERF_NODISCARD kerf_err kerf_conn_open_tls(kerf_conn **out, kerf_loop *loop,
                                           int fd, struct kerf_tls *tls,
                                           const char *host,
                                           const kerf_conn_ops *ops, void *ctx);
/* The name in the peer's certificate; NULL: without TLS. */
const char *kerf_conn_name(const kerf_conn *conn);
/* How much the peer has shown of itself: 0 nothing, 1 a greeting that was
 * answered, 2 a good certificate, or there is no TLS. */
#define KERF_CONN_STEPS 3
unsigned kerf_conn_how_far(const kerf_conn *conn);
/* Of the same name? True without TLS: nobody knows. */
bool kerf_conn_is_same_peer(const kerf_conn *a, const kerf_conn *b);
/* Does the peer's certificate count by what is trusted now? KERF_OK without
 * TLS. Errors: KERF_EDENIED. */
KERF_NODISCARD kerf_err kerf_conn_recheck(const kerf_conn *conn,
                                          const struct kerf_tls *now,
                                          kerf_detail *why);
/* Ends it now; no callback follows. Queued sends are done with KERF_ECLOSED.
 * Drops the owner's reference. */
void kerf_conn_close(kerf_conn *conn);

void kerf_conn_ref(kerf_conn *conn);
void kerf_conn_unref(kerf_conn *conn);

/* Largest payload taken from now on; 0 at the start. */
void kerf_conn_set_payload_max(kerf_conn *conn, uint64_t bytes);
void kerf_conn_set_ctx(kerf_conn *conn, const kerf_conn_ops *ops, void *ctx);
/* Memory that the owner touches with each frame, number i of KERF_CONN_NEAR: it
 * is fetched into the caches while other connections have their turn. It may go
 * before the connection does. */
#define KERF_CONN_NEAR 2
void kerf_conn_near(kerf_conn *conn, unsigned i, const void *at, size_t len);
void kerf_conn_resume(kerf_conn *conn);
const char *kerf_conn_peer(const kerf_conn *conn); /* "127.0.0.1:4242" */
unsigned kerf_conn_number(const kerf_conn *conn);  /* of this process */
/* A counter for the owner, 0 at first: adds, returns what it is now. Any
 * thread. */
unsigned kerf_conn_count(kerf_conn *conn, int change);
/* Bytes per second that the peer has lately taken, as TCP measures it: of a
 * busy link its rate, of an idle one at most that. 0: not known yet. Any
 * thread. */
uint64_t kerf_conn_rate(const kerf_conn *conn);
/* Bytes that the peer's system has taken of this connection, ever. */
uint64_t kerf_conn_delivered(const kerf_conn *conn);
/* The peer is on this machine, as far as addresses tell: nothing is shared. Any
 * thread. */
bool kerf_conn_is_local(const kerf_conn *conn);
/* From now on no more than so many bytes per second go out, evenly, in bursts
 * of a few packets, and little waits in the kernel. 0: as TCP likes. Only where
 * what is sent may be late. Loop's thread. */
void kerf_conn_pace(kerf_conn *conn, uint64_t bytes_per_s);
uint64_t kerf_conn_last_in_ns(const kerf_conn *conn); /* any byte */
/* A frame that began takes longer than 10 s + its payload at 4 KB/s, or the
 * peer has taken nothing of what is queued for 30 s. */
bool kerf_conn_is_stalled(kerf_conn *conn, uint64_t now_ns);

/* A frame to send. Belongs to the sender, together with all that it points to
 * (but see lend), until done() is called: exactly once, on any thread, with no
 * lock held, when the kernel has taken the last byte (KERF_OK) or never will
 * (KERF_ECLOSED). */
typedef struct kerf_out {
    const uint8_t *head; /* kerf_head_seal() */
    size_t head_len;
    size_t count;
    const void *piece[KERF_PORTS_MAX];
    size_t len[KERF_PORTS_MAX]; /* without the pads */
    void (*done)(void *ctx, kerf_err err);
    void *ctx;
    bool more; /* another follows at once: may wait for it */
    /* What piece points to stays as it is until the peer has answered, or is
     * taken back (net/lend.h): large ones are not copied. */
    bool lend;
    struct kerf_out *next; /* of kerf_conn_send_row(); else private */
    uint64_t at, total;    /* private */
    bool lends;            /* private */
} kerf_out;

/* Whether `lend` counts for a payload of so many bytes. Any thread. */
bool kerf_conn_lends(const kerf_conn *conn, uint64_t payload_len);

void kerf_conn_send(kerf_conn *conn, kerf_out *out);
/* A row of frames, each with the next one in `next`, the last with NULL. No
 * other comes between. */
void kerf_conn_send_row(kerf_conn *conn, kerf_out *first);
/* What is about to be sent, maybe by another thread: kerf_conn_has_taken() is
 * false from now on. */
void kerf_out_begin(kerf_out *out);
/* Whether the kernel has all of a frame that was sent on this connection, also
 * when done() was not called yet. */
bool kerf_conn_has_taken(kerf_conn *conn, const kerf_out *out);
/* Another frame has begun to arrive behind the one that is being told; false
 * also where that is not known yet. Loop's thread. */
bool kerf_conn_has_next(const kerf_conn *conn);
/* Lets go what was sent with `more`, when nothing follows after all: without it
 * the kernel keeps it for up to 200 ms. Any thread. */
void kerf_conn_flush(kerf_conn *conn);

/* Makes out's head: head has kerf_head_len(meta_len) bytes of room, the meta
 * stands at head + KERF_HEADER_LEN, and out->piece and out->len are set. *h has
 * type and id; flags, hash, length and time are put in. */
void kerf_out_seal(kerf_out *out, uint8_t *head, kerf_header *h,
                   size_t meta_len);
/* The same for a connection that may have TLS beneath: then it has no hash of
 * its body, since TLS does better. */
void kerf_out_seal_over(kerf_out *out, uint8_t *head, kerf_header *h,
                        size_t meta_len, bool tls);

/* PONG for this PING. Errors: KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_conn_answer_ping(kerf_conn *conn,
                                              const kerf_frame_in *ping);

/* For on_head, of a type that carries no payload which is known here: what a
 * peer may skip (types from 128 on) is dropped, all else is KERF_EPROTO. */
KERF_NODISCARD kerf_err kerf_conn_skip(const kerf_frame_in *frame,
                                       kerf_sink *sink, kerf_detail *why);

/* Cuts it off, as a link that breaks does, for a frame that cannot be made: who
 * waits for it would wait for ever, and a new connection gets it right. The
 * loop then finds the end. Any thread. */
void kerf_conn_break(kerf_conn *conn);

/* A frame without payload, meta copied; for control messages. Without memory
 * the connection is cut off, as if the frame had been lost with it. Errors:
 * KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_conn_send_meta(kerf_conn *conn,
                                            kerf_frame_type type, uint64_t id,
                                            const uint8_t *meta, size_t len);
/* ERROR, BUSY, FAILED or BYE. */
KERF_NODISCARD kerf_err kerf_conn_send_notice(kerf_conn *conn,
                                              kerf_frame_type type, uint64_t id,
                                              kerf_err err, uint32_t retry_ms,
                                              const char *text);

/* Padded payload length of pieces. */
uint64_t kerf_pieces_len(const size_t *len, size_t count);

#endif
