/*
 * signed.h - what is said of the signatures of pairs that are served. The cloud
 * has no keys: edges check them. Threads: the loop's.
 */
#ifndef KERF_CLOUD_SIGNED_H
#define KERF_CLOUD_SIGNED_H

#include "cloud/cloud.h"

/* Of a pair that is now served, if there is a signature beside it. */
void kerf_signed_tell(kerf_cloud *cloud, const kerf_served *s);
/* Tells again, once a day, of those that end soon. Errors: KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_signed_watch(kerf_cloud *cloud);

#endif
