/* The sockets that need a privilege, and their names in the program's environment. */
#include <stddef.h>

enum { PAIRS_MAX = 64 };

/* Names open descriptors to the program. */
void name_fds(const char *variable, const int *fds, int count);

/* As many pairs of listeners, and the socket of the knocks. `handed` of them are there: those of the launcher before come
 * first, as many as it had. Returns how many there are. */
size_t open_listeners(long port, size_t pairs, int *fds, size_t handed);

void open_netlink(void);
