/*
 * session_own.h - the inside of a session, shared by session.c (life),
 * session_new.c, session_access.c, session_control.c, session_parts.c,
 * session_pace.c and session_tensors.c only. All on the
 * loop's thread.
 */
#ifndef KERF_CLOUD_SESSION_OWN_H
#define KERF_CLOUD_SESSION_OWN_H

#include "cloud/ahead.h"
#include "cloud/cloud.h"
#include "cloud/pace.h"

#include <stddef.h>

#define KERF_FETCHES_MAX 16
#define KERF_HELD_MAX (KERF_MODELS_MAX + 64) /* all served, some replaced */

/* A part on its way to the edge, chunk by chunk. */
struct kerf_fetch {
    kerf_served *served; /* counted */
    kerf_role role;
    uint64_t at, end;
    uint16_t part;
};

/* A request whose coded tensors follow it in blocks, in order. */
struct kerf_coming {
    uint64_t values[KERF_PORTS_MAX]; /* 0: not in blocks */
    uint64_t grain[KERF_PORTS_MAX];
    uint8_t codec[KERF_PORTS_MAX];
    size_t count;  /* of tensors; 0: none is in blocks */
    size_t tensor; /* whose block is next */
    uint64_t at;   /* the first value of that block */
    uint64_t id;
    uint64_t moved_ns; /* when its last frame was complete */
    bool open;         /* some are missing yet */
    bool reading;      /* a block is being read */
};

typedef enum kerf_session_state {
    KERF_SESSION_NEW,
    KERF_SESSION_OPEN,
} kerf_session_state;

struct kerf_session {
    kerf_session *prev, *next;
    kerf_session *older, *newer; /* while NEW */
    unsigned step;               /* kerf_conn_how_far(), as it was looked at */
    int refs;                    /* the list's and the shipping post's */
    kerf_session_state state;
    kerf_conn *control; /* owned, as tensors; a NEW one has only this */
    struct kerf_coming coming;
    /* What each request touches, side by side, from coming.count to held[0]:
     * KERF_SESSION_NEAR. */
    kerf_cloud *cloud;
    kerf_conn *tensors;
    kerf_lane *lane; /* once OPEN; counted */
    uint64_t answer_max;
    uint64_t *place;      /* cloud->asked_ns of its address; once OPEN */
    uint64_t ran_here_ns; /* when a request came that here.h ran */
    kerf_slot *slot;      /* being received into */
    kerf_frame_type turn; /* what to answer instead: BUSY or FAILED, or 0 */
    kerf_err turn_err;
    uint32_t turn_retry_ms;
    unsigned busy_row;      /* BUSYs since a request was taken, told anew */
    uint64_t busy_until_ns; /* when the last of these lets it come back */
    const kerf_served *may_last; /* was looked at; not to be followed */
    size_t held_count;
    kerf_served *held[KERF_HELD_MAX]; /* offered, newest first; counted */
    kerf_detail turn_why;
    uint64_t told;    /* the number of what it was given to run; 0: nothing */
    uint64_t runs_ns; /* when it said READY to that; 0: not yet */
    bool refused;     /* ... that it cannot */
    bool loads;       /* it has all of it, and said LOADING */
    bool said_bye;
    bool left; /* its end was told, or another session takes its place */

    uint64_t since_ns;
    kerf_hello hello;
    char shown[KERF_NAME_MAX]; /* name, safe to print */
    uint8_t token[KERF_TOKEN_LEN];
    kerf_knot by_token; /* while OPEN */

    uint64_t shipped_bytes, shipped_wire;
    struct kerf_fetch fetch[KERF_FETCHES_MAX]; /* fetch[0] is under way */
    size_t fetch_count;
    bool chunk_sending;
    bool chunk_now; /* while it is handed over: no post */
    kerf_out chunk;
    uint8_t chunk_head[KERF_HEAD_STEP];
    kerf_post chunk_sent;
    /* session_pace.c */
    kerf_pace pace;
    kerf_timer *pace_timer; /* or NULL: nothing was shipped yet */
    bool pacing;            /* it runs */
    uint64_t shipped_ns;    /* when a part was sent */
    unsigned pings;         /* without PONG */
};

/* Bytes from coming.count on. */
#define KERF_SESSION_NEAR \
    (offsetof(kerf_session, held[1]) - offsetof(kerf_session, coming.count))

extern const kerf_conn_ops kerf_session_control_ops, kerf_session_tensor_ops;

void kerf_session_end(kerf_session *s, const char *why);
void kerf_session_unref(kerf_session *s);
void kerf_session_on_close(void *session, kerf_conn *conn, kerf_err err,
                           const char *why);
/* What both connections may carry. */
KERF_NODISCARD kerf_err kerf_session_on_common(kerf_session *s, kerf_conn *conn,
                                               const kerf_frame_in *frame,
                                               kerf_detail *why);

/* session_new.c: connections that are NEW. step: what they have shown. */
void kerf_session_add_new(kerf_session *s, unsigned step);
void kerf_session_remove_new(kerf_session *s);
/* There is a place for one more: if need be, one goes. */
void kerf_sessions_make_way(kerf_cloud *cloud);
/* May this line be logged? Else it is counted. */
bool kerf_session_may_log(kerf_cloud *cloud, kerf_say what);
void kerf_sessions_tell_left_out(kerf_cloud *cloud, bool end);

/* session_tensors.c: the blocks of a request stopped coming. */
bool kerf_session_waits(const kerf_session *s, uint64_t now_ns);

/* session_access.c: may the edge have this model? Errors: KERF_EDENIED. */
bool kerf_session_may(const kerf_session *s, const char *model);
KERF_NODISCARD kerf_err kerf_session_check_may(kerf_session *s,
                                               const kerf_served *served,
                                               kerf_detail *why);
/* ... the one that it wants, or any that there is? */
KERF_NODISCARD kerf_err kerf_session_check_any(const kerf_session *s,
                                               kerf_detail *why);

/* ... and the new session s gets a place, if need be that of the oldest session
 * with the same certificate name. */
void kerf_session_make_room(const kerf_session *s);

/* session_control.c */
void kerf_session_offer_all(kerf_session *s); /* it has just connected */
void kerf_session_leave(kerf_session *s);     /* it ends; its lane is there */
void kerf_session_drop_held(kerf_session *s, size_t i);
/* The bundle that was offered under this id, or NULL. */
kerf_served *kerf_session_held(kerf_session *s, const uint8_t *id);

/* session_parts.c: FETCH */
KERF_NODISCARD kerf_err kerf_session_on_fetch(kerf_session *s,
                                              const kerf_frame_in *frame,
                                              kerf_detail *why);

/* session_pace.c */
void kerf_session_pace_open(kerf_session *s);
/* A part is about to be sent. */
void kerf_session_pace_shipping(kerf_session *s);
void kerf_session_pace_pong(kerf_session *s, const kerf_frame_in *frame);
/* Some edge has asked for something lately, on whatever link. */
bool kerf_session_pace_beside(const kerf_session *s);
/* How much of a file to send at a time: the less, the sooner the edge looks
 * after its tensors again. */
size_t kerf_session_pace_chunk(const kerf_session *s);

#endif
