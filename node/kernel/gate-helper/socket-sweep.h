/* The TCP sockets of this network whose peer is one of a scope's addresses. */
#include "scope-table.h"
#include <linux/inet_diag.h>

struct sockets { struct inet_diag_msg *rows; size_t count, room; };

int leads_to(const struct meaning *of, const struct inet_diag_msg *socket);

/* Makes the list anew. Returns 0 or an errno; it is whole only with 0. */
int list_sockets(int diag, struct sockets *in, const struct meaning *of);

/* Puts the one with these two ends on the list, if it leads to the scope. Returns 0 or an errno. */
int find_socket(int diag, struct sockets *in, const struct meaning *of, int family, const struct inet_diag_sockid *id);

/* Ends one as `ss -K` does: its peer gets a reset, its owner an error. It is named by the kernel's own cookie,
 * so it is never one that came after it. Returns 0 also for one that has ended by itself, and counts the others. */
int end_socket(int diag, const struct inet_diag_msg *socket, uint32_t *ended);
