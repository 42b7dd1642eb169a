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
 * With --handover PATH a launcher takes the sockets over from the one that serves at PATH, if there is one, and serves
 * there itself. The one before tells its program to end, and says when it has; connections wait in the backlog of the
 * sockets, which both hold, and the new program begins. The one before stays, without a program, until it is told
 * to end: should the new launcher end first, it goes on in its place.
 *
 * SIGTERM, SIGINT   passed on; ends with the program's exit code
 * SIGHUP            the program is told to end and is started again, for an upgrade in place
 * A program that ends otherwise is started again, after 50 ms at first and 2 s at most. One that ends
 * with 2 has wrong settings, and starting it again would not mend them: this ends with 2 as well.
 */
#define _GNU_SOURCE
#include "fail.h"
#include "handover.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
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
  const char *handover;
  char **command;
};

static long number(const char *flag, const char *text, long min, long max) {
  char *end = NULL;
  errno = 0;
  long value = text ? strtol(text, &end, 10) : 0;
  if (!text || errno || end == text || *end || value < min || value > max)
    fail(WRONG_USAGE, "%s: expected a whole number from %ld to %ld", flag, min, max);
  return value;
}

static struct options read_options(int argc, char **argv) {
  struct options o = {.port = 0, .pairs = 1, .uid = -1, .gid = -1, .netlink = 0, .handover = NULL, .command = NULL};
  for (int i = 1; i < argc; i++) {
    if (!strcmp(argv[i], "--")) { o.command = argv + i + 1; break; }
    if (!strcmp(argv[i], "--netlink")) { o.netlink = 1; continue; }
    const char *flag = argv[i], *value = i + 1 < argc ? argv[++i] : NULL;
    if (!strcmp(flag, "--port")) o.port = number(flag, value, 1, 65535);
    else if (!strcmp(flag, "--pairs")) o.pairs = number(flag, value, 1, PAIRS_MAX);
    else if (!strcmp(flag, "--uid")) o.uid = number(flag, value, 1, 2147483646);
    else if (!strcmp(flag, "--gid")) o.gid = number(flag, value, 1, 2147483646);
    else if (!strcmp(flag, "--handover") && value) o.handover = value;
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

/* What the launcher before has handed over is what its options and ours both say. */
static void check_handed(const struct options *o, const int *fds, size_t count) {
  for (size_t i = 0; i < count; i++) {
    struct sockaddr_in6 at = {0};
    socklen_t bytes = sizeof at, word = sizeof(int);
    int is_listening = 0, family = i % 2 ? AF_INET6 : AF_INET;
    if (getsockname(fds[i], (void *)&at, &bytes) || at.sin6_family != family || ntohs(at.sin6_port) != o->port ||
        getsockopt(fds[i], SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &word) || !is_listening)
      fail(1, "what was handed over is no listener of port %ld", o->port);
  }
  if (count % 2 || count > PAIRS_MAX * 2) fail(1, "%zu sockets were handed over", count);
}

/* The sockets of the launcher before come first, as many as it had. Returns how many there are. */
static size_t open_listeners(const struct options *o, int *fds, size_t handed) {
  size_t count = handed;
  check_handed(o, fds, handed);
  if (handed == 0) {
    probe_port(AF_INET, o->port);
    probe_port(AF_INET6, o->port);
  }
  while (count < (size_t)o->pairs * 2) {
    fds[count++] = listener(AF_INET, o->port, 1);
    fds[count++] = listener(AF_INET6, o->port, 1);
  }
  name_fds("ALTRACE_TRANSPARENT_FDS", fds, count);
  int knock = knock_socket();
  if (knock >= 0) name_fds("ALTRACE_KNOCK_FD", &knock, 1);
  else unsetenv("ALTRACE_KNOCK_FD");
  return count;
}

static void open_netlink(void) {
  int fds[] = {netlink_socket(NETLINK_NETFILTER), netlink_socket(NETLINK_SOCK_DIAG)};
  name_fds("ALTRACE_NETLINK_FDS", fds, 2);
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

/* What one launcher is about. Of `door` and `other` one is -1 at least: who hands over serves nobody else. */
struct launcher {
  struct options o;
  int fds[PAIRS_MAX * 2];
  size_t count;
  int door, other;
  sigset_t before, ending;
  pid_t child;
  int is_ending, is_replacing, code;
  long delay, started;
};

static void begin(struct launcher *l) {
  l->is_replacing = 0;
  l->started = now_ms();
  l->child = start(&l->o, &l->before);
}

/* Returns 1 when there is nothing left to do. */
static int program_ended(struct launcher *l) {
  l->child = 0;
  if (l->is_ending) return 1;
  if (l->other >= 0) {
    say_ended(l->other);
    return 0;
  }
  if (l->code == WRONG_USAGE && !l->is_replacing) return 1;
  fprintf(stderr, "altrace-launcher: the program ended with %d and is started again\n", l->code);
  if (now_ms() - l->started > STEADY_MS) l->delay = RESPAWN_FIRST_MS;
  if (!l->is_replacing && pause_unless_ending(&l->ending, l->delay)) return 1;
  if (!l->is_replacing && (l->delay *= 2) > RESPAWN_MAX_MS) l->delay = RESPAWN_MAX_MS;
  begin(l);
  return 0;
}

static int take_signal(struct launcher *l, int signal) {
  if (signal == SIGTERM || signal == SIGINT) {
    l->is_ending = 1;
    if (!l->child) return 1;
    kill(l->child, SIGTERM);
  }
  if (signal == SIGHUP && l->child && l->other < 0) l->is_replacing = 1, kill(l->child, SIGTERM);
  if (signal != SIGCHLD) return 0;
  pid_t ended;
  int is_over = 0, status = 0;
  /* As pid 1 of a container this also reaps what others left behind. */
  while ((ended = waitpid(-1, &status, WNOHANG)) > 0)
    if (ended == l->child) is_over = 1, l->code = exit_code(status);
  return is_over && program_ended(l);
}

/* Somebody would take over: from here on this one only waits. */
static void leave(struct launcher *l) {
  l->other = hand_over(l->door, l->fds, l->o.netlink ? 0 : l->count);
  if (l->other < 0) return;
  fprintf(stderr, "altrace-launcher: another launcher takes over\n");
  close(l->door);
  l->door = -1;
  kill(l->child, SIGTERM);
}

/* The launcher that took over has ended. Returns 1 where a third one goes on in its place. */
static int come_back(struct launcher *l) {
  close(l->other);
  l->other = -1;
  if (is_served(l->o.handover)) return !l->child;
  fprintf(stderr, "altrace-launcher: the launcher that took over is gone, and this one goes on\n");
  l->door = serve(l->o.handover);
  /* A program that still runs was told to end, and is started again when it has. */
  if (l->child) l->is_replacing = 1;
  else begin(l);
  return 0;
}

static int run(struct launcher *l) {
  sigset_t watched = l->ending;
  struct signalfd_siginfo info;
  sigaddset(&watched, SIGHUP);
  sigaddset(&watched, SIGCHLD);
  sigprocmask(SIG_BLOCK, &watched, &l->before);
  int signals = signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signals < 0) fail(1, "signalfd: %s", strerror(errno));
  begin(l);
  for (;;) {
    struct pollfd from[] = {
        {.fd = signals, .events = POLLIN}, {.fd = l->door, .events = POLLIN}, {.fd = l->other, .events = POLLIN}};
    if (poll(from, 3, -1) < 0 && errno != EINTR) fail(1, "poll: %s", strerror(errno));
    while (read(signals, &info, sizeof info) == sizeof info)
      if (take_signal(l, info.ssi_signo)) return l->code;
    if (from[1].revents && l->door >= 0 && l->child) leave(l);
    /* It says nothing more: what comes is its end. */
    if (from[2].revents && l->other >= 0 && come_back(l)) return l->code;
  }
}

int main(int argc, char **argv) {
  struct launcher l = {.o = read_options(argc, argv), .door = -1, .other = -1, .delay = RESPAWN_FIRST_MS};
  int before = -1;
  /* Whatever was inherited is not the program's business, and its numbers are wanted. */
  syscall(SYS_close_range, FIRST_FD, ~0U, 0);
  if (l.o.handover) before = take_over(l.o.handover, l.fds, &l.count);
  if (l.o.netlink) open_netlink();
  else l.count = open_listeners(&l.o, l.fds, l.count);
  /* The connection stays open as long as this runs, whereby the one before knows that it does. */
  if (before >= 0 && !wait_for_end(before)) close(before);
  if (l.o.handover) l.door = serve(l.o.handover);
  sigemptyset(&l.ending);
  sigaddset(&l.ending, SIGTERM);
  sigaddset(&l.ending, SIGINT);
  return run(&l);
}
