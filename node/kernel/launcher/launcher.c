/*
 * altrace-launcher: holds the sockets that need a privilege, and runs a program that has none.
 *
 *   altrace-launcher --port 14001 --pairs 2 --uid 4737 --gid 4737 -- node cli/altrace.js node ...
 *   altrace-launcher --netlink -- node cli/altrace.js enforcer ...
 *
 * The first opens, for each data loop, one listener on 127.0.0.1 and one on ::1 with IP_TRANSPARENT,
 * which takes CAP_NET_ADMIN, and names their numbers in ALTRACE_TRANSPARENT_FDS (v4,v6,v4,v6,...). Beside them it
 * opens a socket that is connected to itself and bears a mark, by which the program closes the kernel gate
 * (ALTRACE_KNOCK_FD; see node/kernel/knock-form.ts). The
 * second opens the two netlink sockets of the kernel gate (ALTRACE_NETLINK_FDS: netfilter, sock_diag).
 *
 * The listeners belong to this process, which never ends on its own account while a program runs. So
 * while the program is restarted, connections wait in the backlog; none is refused. With --uid the
 * program gets no capability, no supplementary group and no way to gain either.
 *
 * SIGTERM, SIGINT   passed on; ends with the program's exit code
 * SIGHUP            the program is told to end and is started again, for an upgrade in place
 * A program that ends otherwise is started again, after 50 ms at first and 2 s at most. One that ends
 * with 2 has wrong settings, and starting it again would not mend them: this ends with 2 as well.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MARK_KNOCK = 0x40 };
enum { FIRST_FD = 3, PAIRS_MAX = 64, BACKLOG = 4096, WRONG_USAGE = 2 };
enum { RESPAWN_FIRST_MS = 50, RESPAWN_MAX_MS = 2000, STEADY_MS = 5000, CAPABILITY_LAST = 63 };

struct options {
  long port, pairs, uid, gid;
  int netlink;
  char **command;
};

static void fail(int code, const char *format, ...) __attribute__((noreturn, format(printf, 2, 3)));
static void fail(int code, const char *format, ...) {
  va_list args;
  va_start(args, format);
  fputs("altrace-launcher: ", stderr);
  vfprintf(stderr, format, args);
  fputc('\n', stderr);
  va_end(args);
  exit(code);
}

static long number(const char *flag, const char *text, long min, long max) {
  char *end = NULL;
  errno = 0;
  long value = text ? strtol(text, &end, 10) : 0;
  if (!text || errno || end == text || *end || value < min || value > max)
    fail(WRONG_USAGE, "%s: expected a whole number from %ld to %ld", flag, min, max);
  return value;
}

static struct options read_options(int argc, char **argv) {
  struct options o = {.port = 0, .pairs = 1, .uid = -1, .gid = -1, .netlink = 0, .command = NULL};
  for (int i = 1; i < argc; i++) {
    if (!strcmp(argv[i], "--")) { o.command = argv + i + 1; break; }
    if (!strcmp(argv[i], "--netlink")) { o.netlink = 1; continue; }
    const char *flag = argv[i], *value = i + 1 < argc ? argv[++i] : NULL;
    if (!strcmp(flag, "--port")) o.port = number(flag, value, 1, 65535);
    else if (!strcmp(flag, "--pairs")) o.pairs = number(flag, value, 1, PAIRS_MAX);
    else if (!strcmp(flag, "--uid")) o.uid = number(flag, value, 1, 2147483646);
    else if (!strcmp(flag, "--gid")) o.gid = number(flag, value, 1, 2147483646);
    else fail(WRONG_USAGE, "%s: no such flag", flag);
  }
  if (!o.command || !o.command[0]) fail(WRONG_USAGE, "no program after --");
  if (!o.port && !o.netlink) fail(WRONG_USAGE, "--port or --netlink is needed");
  if ((o.uid < 0) != (o.gid < 0)) fail(WRONG_USAGE, "--uid and --gid belong together");
  /* A captured connection is judged by a program that could also change the rules: never both. */
  if (o.port && o.netlink) fail(WRONG_USAGE, "--port and --netlink are for two different programs");
  if (o.port && o.uid < 0) fail(WRONG_USAGE, "--port needs --uid and --gid of the program");
  return o;
}

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

static void name_fds(const char *variable, const int *fds, int count) {
  char text[PAIRS_MAX * 2 * 5] = "";
  for (int i = 0; i < count; i++)
    snprintf(text + strlen(text), sizeof text - strlen(text), "%s%d", i ? "," : "", fds[i]);
  setenv(variable, text, 1);
}

static void open_sockets(const struct options *o) {
  int fds[PAIRS_MAX * 2], count = 0;
  /* Whatever was inherited is not the program's business, and its numbers are wanted. */
  syscall(SYS_close_range, FIRST_FD, ~0U, 0);
  if (o->netlink) {
    fds[count++] = netlink_socket(NETLINK_NETFILTER);
    fds[count++] = netlink_socket(NETLINK_SOCK_DIAG);
    name_fds("ALTRACE_NETLINK_FDS", fds, count);
    return;
  }
  probe_port(AF_INET, o->port);
  probe_port(AF_INET6, o->port);
  for (int i = 0; i < o->pairs; i++) {
    fds[count++] = listener(AF_INET, o->port, 1);
    fds[count++] = listener(AF_INET6, o->port, 1);
  }
  name_fds("ALTRACE_TRANSPARENT_FDS", fds, count);
  int knock = knock_socket();
  if (knock >= 0) name_fds("ALTRACE_KNOCK_FD", &knock, 1);
  else unsetenv("ALTRACE_KNOCK_FD");
}

static void drop_privileges(const struct options *o) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  struct __user_cap_data_struct none[2] = {{0}, {0}};
  /* From the bounding set first: that itself takes a capability, and only some containers give it. */
  for (int i = 0; i <= CAPABILITY_LAST; i++) prctl(PR_CAPBSET_DROP, i, 0, 0, 0);
  if (setgroups(0, NULL) || setresgid(o->gid, o->gid, o->gid) || setresuid(o->uid, o->uid, o->uid))
    fail(1, "cannot become %ld:%ld: %s", o->uid, o->gid, strerror(errno));
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  if (syscall(SYS_capset, &header, none)) fail(1, "capset: %s", strerror(errno));
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) fail(1, "no_new_privs: %s", strerror(errno));
}

static pid_t start(const struct options *o, const sigset_t *before) {
  pid_t self = getpid(), child = fork();
  if (child < 0) fail(1, "fork: %s", strerror(errno));
  if (child > 0) return child;
  if (o->uid >= 0) drop_privileges(o);
  /* After the change of user, which clears it. A program without its launcher could not be replaced. */
  prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
  if (getppid() != self) _exit(1);
  sigprocmask(SIG_SETMASK, before, NULL);
  execvp(o->command[0], o->command);
  fprintf(stderr, "altrace-launcher: %s: %s\n", o->command[0], strerror(errno));
  _exit(WRONG_USAGE);
}

static long now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Waits, but not through a signal to end. */
static int pause_unless_ending(const sigset_t *ending, long ms) {
  struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
  return sigtimedwait(ending, NULL, &t) > 0;
}

static int exit_code(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv) {
  struct options o = read_options(argc, argv);
  open_sockets(&o);
  sigset_t watched, ending, before;
  sigemptyset(&ending);
  sigaddset(&ending, SIGTERM);
  sigaddset(&ending, SIGINT);
  watched = ending;
  sigaddset(&watched, SIGHUP);
  sigaddset(&watched, SIGCHLD);
  sigprocmask(SIG_BLOCK, &watched, &before);
  int is_ending = 0, is_replacing = 0;
  long delay = RESPAWN_FIRST_MS, started = now_ms();
  pid_t child = start(&o, &before);
  for (;;) {
    int signal = sigwaitinfo(&watched, NULL), status = 0;
    if (signal == SIGTERM || signal == SIGINT) is_ending = 1, kill(child, SIGTERM);
    if (signal == SIGHUP) is_replacing = 1, kill(child, SIGTERM);
    if (signal != SIGCHLD) continue;
    pid_t ended;
    int is_over = 0, code = 0;
    /* As pid 1 of a container this also reaps what others left behind. */
    while ((ended = waitpid(-1, &status, WNOHANG)) > 0)
      if (ended == child) is_over = 1, code = exit_code(status);
    if (!is_over) continue;
    if (is_ending || (code == WRONG_USAGE && !is_replacing)) return code;
    fprintf(stderr, "altrace-launcher: the program ended with %d and is started again\n", code);
    if (now_ms() - started > STEADY_MS) delay = RESPAWN_FIRST_MS;
    if (!is_replacing && pause_unless_ending(&ending, delay)) return code;
    if (!is_replacing && (delay *= 2) > RESPAWN_MAX_MS) delay = RESPAWN_MAX_MS;
    is_replacing = 0;
    started = now_ms();
    child = start(&o, &before);
  }
}
