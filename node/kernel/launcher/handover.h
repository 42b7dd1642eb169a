/* How one launcher takes the sockets of another over, so that the port is never without a listener. */
#include <stddef.h>

enum { HANDED_MAX = 128 };

/* Takes the sockets of the launcher that serves at `path`, which ends its program when it is told that somebody is ready.
 * Returns the connection, which says when that is over, and -1 where nobody serves there. */
int take_over(const char *path, int *fds, size_t *count);

/* Whether a launcher serves at `path`. Asking changes nothing for it. */
int is_served(const char *path);

/* To the launcher before: its program may end. */
void say_ready(int connection);

/* What such a connection was readable for. Returns 0 when the other one is gone. */
int hear_ready(int connection);
int hear_end(int connection);

/* Serves at `path` from now on, in the place of whoever did. */
int serve(const char *path);

/* Answers one who would take over. Returns the connection once the sockets are there, else -1. */
int hand_over(int door, const int *fds, size_t count);

/* The program has ended: the other one may start its own. */
void say_ended(int connection);
