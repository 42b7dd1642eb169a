/*
 * altrace-gate: closes the kernel's gate for a killed agent within the time that a thread can wait for.
 *
 *   altrace-gate ASK SAY GID
 *
 * The enforcer starts it, keeps it running, and writes to its standard input what each scope means: the
 * batches of netfilter messages that close the gate for it, made and checked there. The node writes a line
 * into the named pipe ASK and reads one from SAY:
 *
 *   <number> <deadline> <scope>     the deadline on the machine's monotonic clock, in nanoseconds
 *   <number> <errno>                0: the kernel has it
 *
 * It adds to the killed sets and does nothing else: what it is asked has no address in it and no rule. A
 * kill is said to the enforcer as well, which remembers it and undoes it; this remembers nothing. What is read
 * too late is not done (ETIME), because a revive may have come in between. A scope that no pod of this machine
 * has is ENOENT.
 *
 * Ends when its standard input does. Needs CAP_NET_ADMIN in the machine's network namespace.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { WRONG_USAGE = 2, LINE_MAX_BYTES = 512, READ_BYTES = 65536, ANSWER_BYTES = 65536 };
/* A machine's whole list of pods is well below a megabyte. */
enum { FRAME_BYTES_MAX = 8 << 20, TABLE_BYTES_MAX = 64 << 20 };

static void fail(int code, const char *format, ...) __attribute__((noreturn, format(printf, 2, 3)));
static void fail(int code, const char *format, ...) {
  va_list args;
  va_start(args, format);
  fputs("altrace-gate: ", stderr);
  vfprintf(stderr, format, args);
  fputc('\n', stderr);
  va_end(args);
  exit(code);
}

/* What one scope means: `bytes` of a length and a batch, and again. The name is behind them. */
struct meaning { char *scope; unsigned char *batches; uint32_t bytes; };
struct table { struct meaning *rows; size_t count, room, bytes; };

static struct table current, next;

static void clear(struct table *t) {
  for (size_t i = 0; i < t->count; i++) free(t->rows[i].batches);
  free(t->rows);
  *t = (struct table){0};
}

static int by_scope(const void *left, const void *right) {
  return strcmp(((const struct meaning *)left)->scope, ((const struct meaning *)right)->scope);
}

static uint32_t u32(const unsigned char *at) {
  uint32_t value;
  memcpy(&value, at, sizeof value);
  return value;
}

/* One frame of the enforcer: a scope, a zero, its batches. An empty one ends the list, which is then whole. */
static void take_frame(const unsigned char *frame, uint32_t bytes) {
  if (bytes == 0) {
    clear(&current);
    current = next;
    next = (struct table){0};
    if (current.count) qsort(current.rows, current.count, sizeof *current.rows, by_scope);
    return;
  }
  size_t name = strnlen((const char *)frame, bytes);
  if (name == bytes) fail(1, "a frame without a scope");
  uint32_t length = bytes - name - 1;
  for (uint32_t at = 0; at < length;) {
    if (length - at < 4 || u32(frame + name + 1 + at) > length - at - 4) fail(1, "half a batch");
    at += 4 + u32(frame + name + 1 + at);
  }
  if ((next.bytes += bytes) > TABLE_BYTES_MAX) fail(1, "more than %d bytes of scopes", TABLE_BYTES_MAX);
  if (next.count == next.room) {
    next.room = next.room ? next.room * 2 : 64;
    next.rows = realloc(next.rows, next.room * sizeof *next.rows);
    if (!next.rows) fail(1, "no memory");
  }
  unsigned char *kept = malloc(bytes);
  if (!kept) fail(1, "no memory");
  memcpy(kept, frame + name + 1, length);
  memcpy(kept + length, frame, name + 1);
  next.rows[next.count++] = (struct meaning){(char *)kept + length, kept, length};
}

static unsigned char *pending;
static size_t pending_bytes, pending_room;

/* Returns 0 at the end of the input. */
static int read_table(void) {
  if (pending_room - pending_bytes < READ_BYTES) {
    pending_room = pending_bytes + READ_BYTES;
    pending = realloc(pending, pending_room);
    if (!pending) fail(1, "no memory");
  }
  ssize_t count = read(STDIN_FILENO, pending + pending_bytes, READ_BYTES);
  if (count < 0) return errno == EAGAIN || errno == EINTR;
  if (count == 0) return 0;
  pending_bytes += count;
  size_t at = 0;
  while (pending_bytes - at >= 4) {
    uint32_t bytes = u32(pending + at);
    if (bytes > FRAME_BYTES_MAX) fail(1, "a frame of %u bytes", bytes);
    if (pending_bytes - at - 4 < bytes) break;
    take_frame(pending + at + 4, bytes);
    at += 4 + bytes;
  }
  memmove(pending, pending + at, pending_bytes -= at);
  return 1;
}

/* The first error in an answer, or 0 for an acknowledgement; EPROTO when it holds neither. */
static int word_of(const unsigned char *answer, ssize_t bytes, int before) {
  int word = before;
  for (ssize_t at = 0; at + (ssize_t)sizeof(struct nlmsghdr) <= bytes;) {
    struct nlmsghdr head;
    memcpy(&head, answer + at, sizeof head);
    if (head.nlmsg_len < sizeof head || head.nlmsg_len > bytes - at) break;
    if (head.nlmsg_type == NLMSG_ERROR && head.nlmsg_len >= sizeof head + sizeof(int)) {
      int code;
      memcpy(&code, answer + at + sizeof head, sizeof code);
      if (word == EPROTO || code) word = -code;
      if (word) return word;
    }
    at += NLMSG_ALIGN(head.nlmsg_len);
  }
  return word;
}

/* The kernel serves a batch within `send`, so what it has to say lies there when that returns. */
static int change(int netfilter, const unsigned char *batch, uint32_t bytes) {
  static unsigned char answer[ANSWER_BYTES];
  while (recv(netfilter, answer, sizeof answer, 0) >= 0 || errno == ENOBUFS) continue;
  if (send(netfilter, batch, bytes, 0) != (ssize_t)bytes) return errno ? errno : EIO;
  int word = EPROTO;
  for (;;) {
    ssize_t count = recv(netfilter, answer, sizeof answer, 0);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno == EAGAIN ? word : errno;
    word = word_of(answer, count, word);
  }
}

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + t.tv_nsec;
}

static int close_gate(int netfilter, uint64_t deadline, char *scope) {
  if (now_ns() > deadline) return ETIME;
  struct meaning wanted = {.scope = scope};
  const struct meaning *found =
      current.count ? bsearch(&wanted, current.rows, current.count, sizeof wanted, by_scope) : NULL;
  if (!found) return ENOENT;
  for (uint32_t at = 0; at < found->bytes;) {
    uint32_t bytes = u32(found->batches + at);
    int code = change(netfilter, found->batches + at + 4, bytes);
    if (code) return code;
    at += 4 + bytes;
  }
  return 0;
}

/* What is no question is passed over in silence: nobody waits for a number that was not given. */
static void answer(int netfilter, int say, char *line) {
  char *end = NULL, said[64];
  uint64_t number = strtoull(line, &end, 10);
  if (end == line || *end != ' ') return;
  char *rest = end + 1;
  uint64_t deadline = strtoull(rest, &end, 10);
  if (end == rest || *end != ' ') return;
  int code = close_gate(netfilter, deadline, end + 1);
  int bytes = snprintf(said, sizeof said, "%llu %d\n", (unsigned long long)number, code);
  /* A pipe that is full has no reader, and what nobody reads is not missed. */
  if (write(say, said, bytes) < 0) return;
}

/* Lines are shorter than what a pipe takes whole, so those of two writers do not mix. */
static void read_questions(int ask, int netfilter, int say) {
  static char text[LINE_MAX_BYTES * 8];
  static size_t length;
  ssize_t count = read(ask, text + length, sizeof text - 1 - length);
  if (count <= 0) return;
  length += count;
  text[length] = 0;
  char *from = text;
  for (char *end; (end = memchr(from, '\n', text + length - from)); from = end + 1) {
    *end = 0;
    answer(netfilter, say, from);
  }
  length -= from - text;
  if (length > LINE_MAX_BYTES) length = 0;
  memmove(text, from, length);
}

static int open_pipe(const char *path, gid_t group, mode_t mode) {
  struct stat found;
  if (mkfifo(path, 0600) && errno != EEXIST) fail(1, "%s: %s", path, strerror(errno));
  if (lstat(path, &found) || !S_ISFIFO(found.st_mode) || found.st_uid != geteuid())
    fail(1, "%s is no pipe of ours", path);
  /* Both ends, so that the pipe has them for as long as this runs, and a reader is never at its end. */
  int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0 || fchown(fd, -1, group) || fchmod(fd, mode)) fail(1, "%s: %s", path, strerror(errno));
  return fd;
}

static int open_netfilter(void) {
  struct sockaddr_nl self = {.nl_family = AF_NETLINK};
  int on = 1, bytes = 1 << 20;
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_NETFILTER);
  if (fd < 0 || bind(fd, (void *)&self, sizeof self)) fail(1, "netlink: %s", strerror(errno));
  /* An error then does not bring the whole batch back. */
  setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
  return fd;
}

int main(int argc, char **argv) {
  char *end = NULL;
  long group = argc == 4 ? strtol(argv[3], &end, 10) : -1;
  if (argc != 4 || *argv[3] == 0 || *end || group < 0 || group > 2147483646)
    fail(WRONG_USAGE, "expected ASK SAY GID");
  signal(SIGPIPE, SIG_IGN);
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  int netfilter = open_netfilter();
  int say = open_pipe(argv[2], group, 0640);
  int ask = open_pipe(argv[1], group, 0620);
  /* What was asked before this ran is long past. */
  for (char dropped[LINE_MAX_BYTES]; read(ask, dropped, sizeof dropped) > 0;) continue;
  fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
  puts("ready");
  fflush(stdout);
  struct pollfd from[] = {{.fd = ask, .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
  for (;;) {
    if (poll(from, 2, -1) < 0 && errno != EINTR) fail(1, "poll: %s", strerror(errno));
    if (from[0].revents & POLLIN) read_questions(ask, netfilter, say);
    if (from[1].revents && !read_table()) return 0;
  }
}
