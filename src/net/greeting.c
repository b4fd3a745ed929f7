#include "net/greeting.h"

#define RECORD_HANDSHAKE 22
#define RECORD_DATA 23

/* A byte within a record with messages, which may be cut anywhere. */
static bool
add_message(kerf_greeting *g, uint8_t byte)
{
    if (g->message_left > 0) {
        g->message_left--;
        return true;
    }
    g->message[g->message_got++] = byte;
    if (g->message_got < sizeof g->message)
        return true;
    g->message_got = 0;
    g->message_left = (size_t)g->message[1] << 16 | (size_t)g->message[2] << 8 |
                      g->message[3];
    return g->message_left <= KERF_GREETING_MESSAGE;
}

static bool
add_byte(kerf_greeting *g, uint8_t byte)
{
    if (g->record_left > 0) {
        g->record_left--;
        return g->record[0] != RECORD_HANDSHAKE || add_message(g, byte);
    }
    g->record[g->record_got++] = byte;
    if (g->record_got == sizeof g->record) {
        g->record_got = 0;
        g->record_left = (size_t)g->record[3] << 8 | g->record[4];
    }
    g->sealed = g->record[0] == RECORD_DATA;
    return true;
}

bool
kerf_greeting_add(kerf_greeting *g, const uint8_t *data, size_t len)
{
    if (len > KERF_GREETING_MOST - g->total)
        return false;
    g->total += len;
    for (size_t i = 0; i < len && !g->sealed; i++) {
        if (!add_byte(g, data[i]))
            return false;
    }
    return true;
}
