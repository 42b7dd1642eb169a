#define _GNU_SOURCE
#include "sockets.h"
#include "fail.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MARK_KNOCK = 0x40, BACKLOG = 4096 };

static void set(int fd, int level, int option, const char *name) {
  int on = 1;
  if (setsockopt(fd, level, option, &on, sizeof on)) fail(1, "%s: %s", name, strerror(errno));
}

/* `shared`: several listeners share the port, one for each data loop. */
static int listener(int family, long port, int shared) {
  int fd = socket(family, SOCK_STREAM, 0);
  if (fd < 0) fail(1, "socket: %s", strerror(errno));
  set(fd, SOL_SOCKET, SO_REUSEADDR, "SO_REUSEADDR");
  if (shared) set(fd, SOL_SOCKET, SO_REUSEPORT, "SO_REUSEPORT");
  struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
  struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
  v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  v6.sin6_addr = in6addr_loopback;
  if (family == AF_INET) set(fd, SOL_IP, IP_TRANSPARENT, "IP_TRANSPARENT");
  else {
    set(fd, SOL_IPV6, IPV6_TRANSPARENT, "IPV6_TRANSPARENT");
    set(fd, SOL_IPV6, IPV6_V6ONLY, "IPV6_V6ONLY");
  }
  int failed = family == AF_INET ? bind(fd, (void *)&v4, sizeof v4) : bind(fd, (void *)&v6, sizeof v6);
  if (failed) fail(1, "port %ld: %s", port, strerror(errno));
  if (listen(fd, BACKLOG)) fail(1, "listen: %s", strerror(errno));
  return fd;
}

/* Two launchers of one user would share a port in silence, each with half of the connections. */
static void probe_port(int family, long port) { close(listener(family, port, 0)); }

static int netlink_socket(int protocol) {
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, protocol), bytes = 1 << 20;
  struct sockaddr_nl self = {.nl_family = AF_NETLINK};
  if (fd < 0 || bind(fd, (void *)&self, sizeof self)) fail(1, "netlink: %s", strerror(errno));
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
  return fd;
}

/* Nobody else's datagrams come in by it, and what is sent by it comes back. Where it cannot be marked, which takes
 * the same right as the listeners, kills take a longer way. */
static int knock_socket(void) {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), mark = MARK_KNOCK;
  struct sockaddr_in self = {.sin_family = AF_INET};
  socklen_t bytes = sizeof self;
  self.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (fd < 0) fail(1, "socket: %s", strerror(errno));
  if (setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark)) {
    close(fd);
    return -1;
  }
  if (bind(fd, (void *)&self, sizeof self) || getsockname(fd, (void *)&self, &bytes) ||
      connect(fd, (void *)&self, sizeof self))
    fail(1, "a socket to itself: %s", strerror(errno));
  return fd;
}

void name_fds(const char *variable, const int *fds, int count) {
  char text[PAIRS_MAX * 2 * 5] = "";
  for (int i = 0; i < count; i++)
    snprintf(text + strlen(text), sizeof text - strlen(text), "%s%d", i ? "," : "", fds[i]);
  setenv(variable, text, 1);
}

/* What the launcher before has handed over is what its options and ours both say. */
static void check_handed(long port, const int *fds, size_t count) {
  for (size_t i = 0; i < count; i++) {
    struct sockaddr_in6 at = {0};
    socklen_t bytes = sizeof at, word = sizeof(int);
    int is_listening = 0, family = i % 2 ? AF_INET6 : AF_INET;
    if (getsockname(fds[i], (void *)&at, &bytes) || at.sin6_family != family || ntohs(at.sin6_port) != port ||
        getsockopt(fds[i], SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &word) || !is_listening)
      fail(1, "what was handed over is no listener of port %ld", port);
  }
  if (count % 2 || count > PAIRS_MAX * 2) fail(1, "%zu sockets were handed over", count);
}

size_t open_listeners(long port, size_t pairs, int *fds, size_t handed) {
  size_t count = handed;
  check_handed(port, fds, handed);
  if (handed == 0) {
    probe_port(AF_INET, port);
    probe_port(AF_INET6, port);
  }
  while (count < pairs * 2) {
    fds[count++] = listener(AF_INET, port, 1);
    fds[count++] = listener(AF_INET6, port, 1);
  }
  name_fds("ALTRACE_TRANSPARENT_FDS", fds, count);
  int knock = knock_socket();
  if (knock >= 0) name_fds("ALTRACE_KNOCK_FD", &knock, 1);
  else unsetenv("ALTRACE_KNOCK_FD");
  return count;
}

void open_netlink(void) {
  int fds[] = {netlink_socket(NETLINK_NETFILTER), netlink_socket(NETLINK_SOCK_DIAG)};
  name_fds("ALTRACE_NETLINK_FDS", fds, 2);
}
