/*
 * fleet.h - a fleet's keys in one folder, and what `kerf keygen` does to them.
 *
 *     DIR/authority/        secret: N.key, N.crt of each authority, index
 *     DIR/clouds/NAME/      for that cloud: ca.crt crl.pem access kerf.crt
 *                           kerf.key
 *     DIR/edges/NAME/       for that edge: the same without access
 *
 * Threads: one per fleet; of several processes one at a time has it open.
 */
#ifndef KERF_TRUST_FLEET_H
#define KERF_TRUST_FLEET_H

#include "trust/fleet_index.h"

typedef struct kerf_fleet kerf_fleet;

typedef struct kerf_fleet_ask {
    kerf_key_kind key;
    int64_t from_s; /* valid from; 0: now */
    int days;
    bool force;   /* over what is there */
    bool replace; /* renew: revoke what the name has had */
} kerf_fleet_ask;

/* Makes DIR with its first authority. name: of the fleet. Errors: KERF_EINVAL
 * (there is one), those of files. */
KERF_NODISCARD kerf_err kerf_fleet_make(const char *dir, const char *name,
                                        const kerf_fleet_ask *ask,
                                        kerf_detail *why);
/* Errors: KERF_ENOENT, KERF_EBUSY (another process has it open),
 * KERF_ECORRUPT. */
KERF_NODISCARD kerf_err kerf_fleet_open(kerf_fleet **out, const char *dir,
                                        kerf_detail *why);
void kerf_fleet_close(kerf_fleet *fleet); /* accepts NULL */

const kerf_index *kerf_fleet_index(const kerf_fleet *fleet);
/* Of the newest authority. */
int64_t kerf_fleet_until(const kerf_fleet *fleet);
/* "DIR/edges/NAME" into out[1024]. Returns out. */
char *kerf_fleet_path(const kerf_fleet *fleet, char *out, kerf_side side,
                      const char *name);

/* A key and a certificate, and the folder with both. It ends with the
 * authority at the latest. Errors: KERF_EINVAL (name, host; it is there). */
KERF_NODISCARD kerf_err kerf_fleet_issue(kerf_fleet *fleet, kerf_side side,
                                         const char *name,
                                         const char *const *host, size_t count,
                                         const kerf_fleet_ask *ask,
                                         kerf_detail *why);
/* The same again for what is there, with a new key. The one before stays valid,
 * unless ask->replace: then it is as if kerf_fleet_revoke() were asked, too. */
KERF_NODISCARD kerf_err kerf_fleet_renew(kerf_fleet *fleet, const char *name,
                                         const kerf_fleet_ask *ask,
                                         kerf_detail *why);
/* what: a name, for all of its certificates, or one's serial number in hex.
 * earlier: all of that name but the last. Errors: KERF_ENOENT; KERF_EINVAL (it
 * is already); KERF_ETOOBIG (clouds would not take so long a list). */
KERF_NODISCARD kerf_err kerf_fleet_revoke(kerf_fleet *fleet, const char *what,
                                          bool earlier, kerf_detail *why);
/* Until when the longest of the name's earlier certificates is valid; 0: none
 * is. */
int64_t kerf_fleet_earlier(const kerf_fleet *fleet, const char *name);
/* How many are on the lists, of KERF_REVOKED_MAX. */
size_t kerf_fleet_revoked(const kerf_fleet *fleet);
/* A new authority beside the old one, which stays trusted until
 * kerf_fleet_retire(). */
KERF_NODISCARD kerf_err kerf_fleet_rotate(kerf_fleet *fleet,
                                          const kerf_fleet_ask *ask,
                                          kerf_detail *why);
/* Ends the trust in the old one. Errors: KERF_EINVAL: there is none, or, unless
 * forced, some names have no certificate of the new one yet. */
KERF_NODISCARD kerf_err kerf_fleet_retire(kerf_fleet *fleet, bool force,
                                          kerf_detail *why);

#endif
