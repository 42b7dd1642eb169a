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
 * With --early a program that takes the place of another one is started while that one still serves, with a socket in
 * ALTRACE_TURN_FD. By that it says that it is prepared; only then the one before is told, by SIGHUP, to end as soon as
 * it may, and once it has ended the new one is told that it is its turn. One that ends before it is prepared has
 * changed nothing. Each has a pipe as well, in ALTRACE_FREE_FD: by a word in it a program that was told to end says that it has
 * nothing left to do, and holds nothing that the next one needs. It is ended there and then, and nobody waits for that.
 *
 * SIGTERM, SIGINT   passed on; ends with the program's exit code
 * SIGHUP            the program is replaced, for an upgrade in place: told to end and started again, or as above
 * A program that was told to end and has not within --end-ms is killed, and that is said: nobody else would end it,
 * and what is new waits for its end.
 * A program that ends otherwise is started again, after 50 ms at first and 2 s at most. One that ends
 * with 2 has wrong settings, and starting it again would not mend them: this ends with 2 as well.
 */
#define _GNU_SOURCE
#include "fail.h"
#include "handover.h"
#include "options.h"
#include "sockets.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
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

enum { FIRST_FD = 3 };
enum { RESPAWN_FIRST_MS = 50, RESPAWN_MAX_MS = 2000, STEADY_MS = 5000, CAPABILITY_LAST = 63 };

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

/* A descriptor that it is to inherit, and its name. */
static void pass_on(const char *variable, int fd) {
  if (fd < 0) {
    unsetenv(variable);
    return;
  }
  fcntl(fd, F_SETFD, 0);
  name_fds(variable, &fd, 1);
}

/* `turn`: by which it hears that the program before has ended; -1: there is none before. `freed`: by which it says that
 * it has nothing left to do; -1: nobody would hear it. */
static pid_t start(const struct options *o, const sigset_t *before, int turn, int freed) {
  pid_t self = getpid(), child = fork();
  if (child < 0) fail(1, "fork: %s", strerror(errno));
  if (child > 0) return child;
  if (o->uid >= 0) drop_privileges(o);
  /* After the change of user, which clears it. A program without its launcher could not be replaced. */
  prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
  if (getppid() != self) _exit(1);
  pass_on("ALTRACE_TURN_FD", turn);
  pass_on("ALTRACE_FREE_FD", freed);
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

/* As poll() takes it: without end for 0. */
static int ms_until(long due) {
  long left = due - now_ms();
  return !due ? -1 : left < 0 ? 0 : (int)left;
}

/* Waits, but not through a signal to end. */
static int pause_unless_ending(const sigset_t *ending, long ms) {
  struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
  return sigtimedwait(ending, NULL, &t) > 0;
}

static int exit_code(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* What one launcher is about. Of `door`, `other` and `before` two are -1 at least: who hands over or takes over serves
 * nobody else. `next` is being prepared and hears by `turn` that it is to go on as the child. By `freed` and `next_freed`
 * the two say that they have nothing left to do. */
struct launcher {
  struct options o;
  int fds[PAIRS_MAX * 2];
  size_t count;
  int door, other, before, turn, freed, next_freed;
  sigset_t mask, ending;
  pid_t child, next;
  int is_ending, is_replacing, is_prepared, code;
  /* `due`: when whoever was told to end must have, 0: nobody was. */
  long delay, started, due;
};

static const char YOUR_TURN = 't', FREE = 'f';

static void close_end(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

/* Of a program that can be replaced by one that waits for its turn; `*freed` is where its word will come. */
static pid_t start_telling(struct launcher *l, int turn, int *freed) {
  int ends[2] = {-1, -1};
  close_end(freed);
  if (l->o.early && pipe2(ends, O_CLOEXEC)) fail(1, "pipe: %s", strerror(errno));
  pid_t program = start(&l->o, &l->mask, turn, ends[1]);
  *freed = ends[0];
  close_end(&ends[1]);
  return program;
}

static void begin(struct launcher *l) {
  l->is_replacing = 0;
  l->due = 0;
  l->started = now_ms();
  l->child = start_telling(l, -1, &l->freed);
}

/* Whoever is being prepared is given up, with what it may have said: that was about a turn that does not come. */
static void give_up_next(struct launcher *l) {
  if (l->next) kill(l->next, SIGKILL);
  close_end(&l->turn);
  close_end(&l->next_freed);
  l->next = 0;
}

static void prepare(struct launcher *l) {
  int ends[2];
  give_up_next(l);
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends)) fail(1, "socketpair: %s", strerror(errno));
  l->is_prepared = 0;
  l->next = start_telling(l, ends[1], &l->next_freed);
  l->turn = ends[0];
  close(ends[1]);
}

/* There is no program any more. */
static void go_on(struct launcher *l) {
  if (!l->next) {
    begin(l);
    return;
  }
  l->is_replacing = 0;
  l->due = 0;
  l->started = now_ms();
  l->child = l->next;
  l->next = 0;
  close_end(&l->freed);
  l->freed = l->next_freed;
  l->next_freed = -1;
  /* One that has died meanwhile is found to have. */
  if (send(l->turn, &YOUR_TURN, 1, MSG_NOSIGNAL) < 0) l->code = 1;
  close_end(&l->turn);
}

/* Once: it need not listen to more than that. */
static void tell_to_end(struct launcher *l) {
  if (!l->child || l->is_replacing || l->is_ending) return;
  l->is_replacing = 1;
  l->due = now_ms() + l->o.end_ms;
  kill(l->child, l->o.early ? SIGHUP : SIGTERM);
}

/* Somebody was told to end, and hangs. */
static void end_by_force(struct launcher *l) {
  l->due = 0;
  fprintf(stderr, "altrace-launcher: the program was told to end, has not within %ld ms, and is killed\n", l->o.end_ms);
  if (l->child) kill(l->child, SIGKILL);
  if (l->is_ending && l->next) kill(l->next, SIGKILL);
}

/* It says so once. Its end is heard of otherwise. */
static void hear_prepared(struct launcher *l) {
  char said;
  ssize_t bytes = recv(l->turn, &said, 1, MSG_DONTWAIT);
  l->is_prepared = 1;
  if (bytes != 1) return;
  if (l->before >= 0) say_ready(l->before);
  else tell_to_end(l);
}

/* Returns 1 when there is nothing left to do. */
static int program_ended(struct launcher *l) {
  l->child = 0;
  if (l->is_ending) return !l->next;
  l->due = 0;
  if (l->other >= 0) {
    say_ended(l->other);
    return 0;
  }
  if (l->next) {
    if (!l->is_replacing) fprintf(stderr, "altrace-launcher: the program ended with %d, and the next goes on\n", l->code);
    go_on(l);
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

/* Its word, or its end alone, of which is heard otherwise. */
static void hear_freed(struct launcher *l) {
  char said = 0;
  int is_free = read(l->freed, &said, 1) == 1 && said == FREE;
  close_end(&l->freed);
  if (!is_free) return;
  /* What is left of it is reaped with whatever else ends. */
  kill(l->child, SIGKILL);
  l->code = 0;
  program_ended(l);
}

/* The same of one that it was not the turn of yet. Without a program of its own this launcher was to take another
 * one's place, and does not. */
static int next_ended(struct launcher *l, int code) {
  const char *then = !l->child         ? "this launcher with it; the one before goes on"
                     : l->is_replacing ? "the one before was told to end already: another is started when it has"
                                       : "the one before goes on";
  l->next = 0;
  close_end(&l->turn);
  close_end(&l->next_freed);
  if (!l->is_ending) fprintf(stderr, "altrace-launcher: the next program ended with %d, and %s\n", code, then);
  if (!l->child) l->code = code;
  return !l->child;
}

static int reap(struct launcher *l) {
  pid_t ended;
  int is_over = 0, status = 0;
  /* As pid 1 of a container this also reaps what others left behind. */
  while ((ended = waitpid(-1, &status, WNOHANG)) > 0) {
    if (ended == l->next) is_over |= next_ended(l, exit_code(status));
    else if (ended == l->child) {
      l->code = exit_code(status);
      is_over |= program_ended(l);
    }
  }
  return is_over;
}

static int take_signal(struct launcher *l, int signal) {
  if (signal == SIGTERM || signal == SIGINT) {
    /* Who says it again does not put the end off. */
    if (!l->is_ending) l->due = now_ms() + l->o.end_ms;
    l->is_ending = 1;
    if (l->child) kill(l->child, SIGTERM);
    if (l->next) kill(l->next, SIGTERM);
    return !l->child && !l->next;
  }
  if (signal == SIGHUP && l->child && l->other < 0 && !l->is_replacing && !l->is_ending) {
    if (l->o.early) prepare(l);
    else tell_to_end(l);
  }
  return signal == SIGCHLD && reap(l);
}

/* Somebody would take over, and says when its program is prepared. */
static void leave(struct launcher *l) {
  l->other = hand_over(l->door, l->fds, l->o.netlink ? 0 : l->count);
  if (l->other < 0) return;
  fprintf(stderr, "altrace-launcher: another launcher takes over\n");
  close(l->door);
  l->door = -1;
  give_up_next(l);
}

/* The launcher that took over has ended. Returns 1 where a third one goes on in its place. */
static int come_back(struct launcher *l) {
  close(l->other);
  l->other = -1;
  if (is_served(l->o.handover)) return !l->child;
  fprintf(stderr, "altrace-launcher: the launcher that took over is gone, and this one goes on\n");
  l->door = serve(l->o.handover);
  /* A program that still runs and was told to end is started again when it has. */
  if (!l->child) begin(l);
  return 0;
}

/* Of the launcher before, which has ended its program or is gone. The connection stays open as long as this one runs,
 * whereby the one before knows that it does. */
static void take_place(struct launcher *l) {
  if (!hear_end(l->before)) close(l->before);
  l->before = -1;
  l->door = serve(l->o.handover);
  go_on(l);
}

static void first(struct launcher *l) {
  if (l->before < 0) {
    if (l->o.handover) l->door = serve(l->o.handover);
    begin(l);
  } else if (l->o.early) prepare(l);
  else say_ready(l->before);
}

static int run(struct launcher *l) {
  sigset_t watched = l->ending;
  struct signalfd_siginfo info;
  sigaddset(&watched, SIGHUP);
  sigaddset(&watched, SIGCHLD);
  sigprocmask(SIG_BLOCK, &watched, &l->mask);
  int signals = signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signals < 0) fail(1, "signalfd: %s", strerror(errno));
  first(l);
  for (;;) {
    struct pollfd from[] = {
        {.fd = signals, .events = POLLIN}, {.fd = l->child ? l->door : -1, .events = POLLIN},
        {.fd = l->other, .events = POLLIN}, {.fd = l->is_ending ? -1 : l->before, .events = POLLIN},
        {.fd = l->is_ending || l->is_prepared ? -1 : l->turn, .events = POLLIN},
        {.fd = l->child && l->is_replacing && !l->is_ending ? l->freed : -1, .events = POLLIN}};
    if (poll(from, 6, ms_until(l->due)) < 0 && errno != EINTR) fail(1, "poll: %s", strerror(errno));
    if (l->due && now_ms() >= l->due) end_by_force(l);
    while (read(signals, &info, sizeof info) == sizeof info)
      if (take_signal(l, info.ssi_signo)) return l->code;
    /* What was signalled may have changed who is listened to. */
    if (from[1].revents && l->child) leave(l);
    else if (from[2].revents && from[2].fd == l->other && l->other >= 0) {
      if (hear_ready(l->other)) tell_to_end(l);
      else if (come_back(l)) return l->code;
    } else if (l->is_ending) continue; /* It is nobody's turn any more. */
    else if (from[3].revents && l->before >= 0) take_place(l);
    else if (from[4].revents && from[4].fd == l->turn && l->turn >= 0) hear_prepared(l);
    else if (from[5].revents && from[5].fd == l->freed && l->child && l->is_replacing) hear_freed(l);
  }
}

int main(int argc, char **argv) {
  struct launcher l = {.o = read_options(argc, argv), .door = -1, .other = -1, .before = -1, .turn = -1, .freed = -1, .next_freed = -1};
  l.delay = RESPAWN_FIRST_MS;
  /* Whatever was inherited is not the program's business, and its numbers are wanted. */
  syscall(SYS_close_range, FIRST_FD, ~0U, 0);
  if (l.o.handover) l.before = take_over(l.o.handover, l.fds, &l.count);
  if (l.o.netlink) open_netlink();
  else l.count = open_listeners(l.o.port, l.o.pairs, l.fds, l.count);
  sigemptyset(&l.ending);
  sigaddset(&l.ending, SIGTERM);
  sigaddset(&l.ending, SIGINT);
  return run(&l);
}
