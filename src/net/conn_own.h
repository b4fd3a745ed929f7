/*
 * conn_own.h - the inside of a connection, shared by conn.c (life),
 * conn_shake.c, conn_read.c and conn_send.c only.
 */
#ifndef KERF_NET_CONN_OWN_H
#define KERF_NET_CONN_OWN_H

#include "net/body_hash.h"
#include "net/conn.h"
#include "net/lend.h"
#include "net/loop_uv.h"
#include "net/tls.h"

#include <pthread.h>
#include <sys/uio.h>

#define KERF_CONN_IOV 32     /* pieces and pads per system call */
#define KERF_CONN_AHEAD 4096 /* of small frames: a dozen answers */
#define KERF_CONN_OUTS 256   /* frames queued; past that we stop reading */

typedef enum kerf_read_state {
    KERF_READ_SHAKE, /* hands, of TLS */
    KERF_READ_HEAD,
    KERF_READ_WAIT, /* for the owner to say where the payload goes */
    KERF_READ_PAYLOAD,
    KERF_READ_LINGER, /* we are done; until the peer is, too */
    KERF_READ_OVER,
} kerf_read_state;

/* Memory of the owner's: kerf_conn_near(). */
typedef struct kerf_near {
    const void *at;
    size_t len;
} kerf_near;

struct kerf_conn {
    uv_poll_t poll;
    /* What each frame touches, side by side, up to the sink's pieces: among
     * thousands of connections none of it is in a cache (warm_up()). */
    kerf_found found;
    int status, polled; /* what the poll has told; 0 once served */
    kerf_loop *loop;
    const kerf_conn_ops *ops;
    void *ctx;
    int fd;
    int events; /* asked of the poll */
    kerf_near near[KERF_CONN_NEAR];
    kerf_tls_link *tls; /* NULL: plain */
    _Atomic int refs;
    _Atomic int count; /* kerf_conn_count() */

    kerf_read_state state;
    int low;         /* bytes for which the poll wakes up; 0: any */
    bool local;      /* kerf_conn_is_local() */
    bool in_row;     /* the last frame was small: the next may be, too */
    bool drained;    /* the last read got less than it had room for */
    bool head_known; /* frame.header is that of the bytes in head */
    bool again_asked;
    bool choked; /* not reading: the peer does not, either */
    uint8_t *head;
    size_t head_cap, head_got, head_need;
    /* What follows a payload and was read together with it: of ahead_room
     * bytes those from ahead_at on, ahead_got of them. */
    uint8_t *ahead;
    size_t ahead_room, ahead_at, ahead_got;
    kerf_frame_in frame;
    uint64_t payload_max, payload_got;
    kerf_body_hasher hash_in;
    uint64_t last_in_ns, since_ns;

    pthread_mutex_t lock;
    kerf_out *first, *last;   /* under lock */
    _Atomic size_t out_count; /* of that list; changes under lock */
    uint64_t out_since_ns;    /* under lock: when it last moved */
    size_t burst;             /* under lock: of a send; 0: any */
    size_t record;            /* under lock: half sent, its bytes; 0: none */
    kerf_lend *lend;          /* under lock; NULL: not used yet */
    bool cannot_lend;         /* under lock */
    bool open, finishing;     /* under lock */
    bool shaking;             /* under lock: nothing is sent yet */
    bool out_asked;           /* under lock: want_out posted, or POLLOUT on */
    kerf_sink sink;           /* mostly of one piece: its beginning */

    uint64_t pace; /* loop: bytes per second; 0: any */
    unsigned number;
    char peer[64];
    kerf_post again; /* what TLS has read already: the poll knows nothing */
    kerf_post want_out;
    kerf_timer *linger;
    kerf_orphan orphan; /* once finishing */
};

/* Leaves off what is past `most` bytes; returns the new n. */
int kerf_conn_clip(struct iovec *iov, int n, size_t most);
void kerf_conn_ask(kerf_conn *conn, int events); /* of the poll */
/* The connection is over: tells the owner, who then closes it. */
void kerf_conn_end(kerf_conn *conn, kerf_err err, const char *why);
/* The same, when the peer shall get what was sent last: of TLS why not. */
void kerf_conn_end_slowly(kerf_conn *conn, kerf_err err, const char *why);
/* Our side found fault: the peer is told, then the owner. */
void kerf_conn_reject(kerf_conn *conn, kerf_err err, const kerf_detail *why);
/* Closes the socket and fails what is queued. */
void kerf_conn_shut(kerf_conn *conn);
void kerf_conn_on_readable(kerf_conn *conn);
void kerf_conn_on_writable(kerf_conn *conn);

/* The socket failed. What the peer said before that is still there to be read,
 * such as why it left. The caller has a reference. */
void kerf_conn_end_broken(kerf_conn *conn, const char *why);
void kerf_conn_on_want_out(void *conn);
void kerf_conn_on_again(void *conn);
/* Goes on with the handshake; nothing is to be done but in KERF_READ_SHAKE. */
void kerf_conn_shake(kerf_conn *conn);
/* done() for each of a list. */
void kerf_conn_finish_outs(kerf_out *list, kerf_err err);

/* Adds what is left of a piece and its pad, where `at` bytes of the whole are
 * done and the piece starts at *start, which moves on. Returns the new n; up to
 * two entries are added. */
int kerf_conn_add_piece(struct iovec *iov, int n, void *piece, size_t len,
                        uint64_t *start, uint64_t at, void *pad);

#endif
