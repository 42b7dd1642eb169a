/* The TCP sockets of this network whose peer is one of a scope's addresses. */
#include "scope-table.h"
#include <linux/inet_diag.h>

struct sockets { struct inet_diag_msg *rows; size_t count, room; };

int leads_to(const struct meaning *of, const struct inet_diag_msg *socket);

/* Makes the list anew. Returns 0 or an errno; it is whole only with 0. */
int list_sockets(int diag, struct sockets *in, const struct meaning *of);

/* Puts the one with these two ends on the list, if it leads to the scope. Returns 0 or an errno. */
int find_socket(int diag, struct sockets *in, const struct meaning *of, int family, const struct inet_diag_sockid *id);

/* Ends a few of those on the list, from `at` on, that lead to the scope, as `ss -K` does: the peer gets a reset, the owner
 * an error. Each is named by the kernel's own cookie, so it is never one that came after it. Moves `at`, counts
 * those that it has ended, and returns 0 or an errno; one that has ended by itself is none. */
int end_some_of(int diag, const struct sockets *in, size_t *at, const struct meaning *of, uint32_t *ended);
