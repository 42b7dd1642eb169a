/* Requests to the kernel that are served within the `send`, so that every answer lies there when it returns. */
#include <stdint.h>
#include <sys/types.h>

/* A socket that never waits. Ends the program where there can be none. */
int open_netlink(int protocol);

/* Sends one request. Returns 0 or an errno: the kernel's own, or why there is no word of its. */
int change(int netlink, const void *request, uint32_t bytes);

/* The same for `count` requests in one message, each of which asks for an acknowledgement. Counts those that were done. What
 * one of them means may be gone already (ENOENT), which is no error here. */
int change_each(int netlink, const void *requests, uint32_t bytes, uint32_t count, uint32_t *done);

/* The first error in an answer, 0 for an acknowledgement, or `before` when it holds neither. */
int word_of(const unsigned char *answer, ssize_t bytes, int before);

/* What an earlier request that failed half-way has left must not answer the next one. */
void discard_answers(int netlink);
