#define _GNU_SOURCE
#include "handover.h"
#include "fail.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* The words of the two, a byte each. The sockets come with the first, and the second says that they have arrived:
 * whoever dies between the two changes nothing. */
static const char SOCKETS = 's', ARRIVED = 'a', READY = 'r', ENDED = 'e';
/* What is said between two launchers is said at once, or one of them is stuck. */
enum { ANSWER_MS = 5000 };

union room { char bytes[CMSG_SPACE(HANDED_MAX * sizeof(int))]; struct cmsghdr head; };

static struct sockaddr_un address_of(const char *path) {
  struct sockaddr_un at = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof at.sun_path) fail(2, "--handover: the path is too long");
  strcpy(at.sun_path, path);
  return at;
}

/* Whoever has them can accept what agents send: nobody but this user gets them, or is believed to have them. */
static int is_ours(int connection) {
  struct ucred peer;
  socklen_t bytes = sizeof peer;
  return getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) == 0 && peer.uid == geteuid();
}

static int hear(int connection, char word) {
  struct pollfd from = {.fd = connection, .events = POLLIN};
  char said = 0;
  return poll(&from, 1, ANSWER_MS) == 1 && recv(connection, &said, 1, 0) == 1 && said == word;
}

/* Returns -1 where nobody is there, or only the file of one who is gone. */
static int reach(const char *path) {
  struct sockaddr_un at = address_of(path);
  int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (fd < 0) fail(1, "socket: %s", strerror(errno));
  if (connect(fd, (void *)&at, sizeof at) == 0) return fd;
  if (errno != ENOENT && errno != ECONNREFUSED) fail(1, "%s: %s", path, strerror(errno));
  close(fd);
  return -1;
}

int is_served(const char *path) {
  int fd = reach(path);
  if (fd >= 0) close(fd);
  return fd >= 0;
}

int take_over(const char *path, int *fds, size_t *count) {
  union room room;
  char word = 0;
  struct iovec words = {&word, 1};
  struct msghdr message = {.msg_iov = &words, .msg_iovlen = 1, .msg_control = &room, .msg_controllen = sizeof room};
  struct pollfd from = {.events = POLLIN};
  *count = 0;
  from.fd = reach(path);
  if (from.fd < 0) return -1;
  if (!is_ours(from.fd)) fail(1, "%s is another user's", path);
  if (poll(&from, 1, ANSWER_MS) != 1 || recvmsg(from.fd, &message, 0) != 1 || word != SOCKETS ||
      message.msg_flags & MSG_CTRUNC)
    fail(1, "%s: the launcher there does not hand over", path);
  for (struct cmsghdr *part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    *count = (part->cmsg_len - CMSG_LEN(0)) / sizeof *fds;
    memcpy(fds, CMSG_DATA(part), *count * sizeof *fds);
  }
  if (send(from.fd, &ARRIVED, 1, MSG_NOSIGNAL) != 1) fail(1, "%s: %s", path, strerror(errno));
  return from.fd;
}

/* What has been said already; anything else is the other one's end. */
static int has_said(int connection, char word) {
  char said = 0;
  return recv(connection, &said, 1, MSG_DONTWAIT) == 1 && said == word;
}

int hear_ready(int connection) { return has_said(connection, READY); }

int hear_end(int connection) { return has_said(connection, ENDED); }

int serve(const char *path) {
  struct sockaddr_un at = address_of(path);
  int door = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (door < 0) fail(1, "socket: %s", strerror(errno));
  if (unlink(path) && errno != ENOENT) fail(1, "%s: %s", path, strerror(errno));
  mode_t before = umask(0177);
  if (bind(door, (void *)&at, sizeof at) || listen(door, 1)) fail(1, "%s: %s", path, strerror(errno));
  umask(before);
  return door;
}

int hand_over(int door, const int *fds, size_t count) {
  union room room = {0};
  struct iovec words = {(void *)&SOCKETS, 1};
  struct msghdr message = {.msg_iov = &words, .msg_iovlen = 1};
  int other = accept4(door, NULL, NULL, SOCK_CLOEXEC);
  if (other < 0) return -1;
  if (count) {
    message.msg_control = &room;
    message.msg_controllen = CMSG_SPACE(count * sizeof *fds);
    room.head = (struct cmsghdr){CMSG_LEN(count * sizeof *fds), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(&room.head), fds, count * sizeof *fds);
  }
  if (is_ours(other) && sendmsg(other, &message, MSG_NOSIGNAL) == 1 && hear(other, ARRIVED)) return other;
  close(other);
  return -1;
}

/* To one that has gone meanwhile nothing can be said, which is found out otherwise. */
static void say(int connection, char word) {
  if (send(connection, &word, 1, MSG_NOSIGNAL) < 0) return;
}

void say_ready(int connection) { say(connection, READY); }

void say_ended(int connection) { say(connection, ENDED); }
