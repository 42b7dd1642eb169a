/*
 * altrace-gate: closes the kernel's gate for a killed agent within the time that a thread can wait for, and
 * ends the sockets that lead to the agent.
 *
 *   altrace-gate ASK SAY FLOWS GID
 *
 * The enforcer starts it, keeps it running, and writes to its standard input what each scope means: its
 * addresses, and the batches of netfilter messages that close the gate for them, made and checked there.
 * The node writes a line into the named pipe ASK and looks at the file SAY:
 *
 *   <number> <deadline> <scope>     the deadline on the machine's monotonic clock, in nanoseconds
 *   = <number> <deadline> <scope>   the gate is closed already, for a while: only what came of the sockets is told,
 *                                   and then it is closed for good
 *
 * SAY has PLACES places of PLACE_BYTES. The answer to a number lies at the place number % PLACES, blanks
 * behind it, and ends with the number again, so that half of one is no answer:
 *
 *   <number> <errno> <number>                              0: the kernel has it
 *   <number> 0 <errno> <sockets> <time> <number>           later, when the sockets were ended: how that
 *                                                          went, how many they were, and when it was done
 *
 * Finding sockets takes the kernel longer than all else that is done for a kill. So those of all governed pods are
 * listed ahead, a few times a second; a kill ends what is on that list, then what the node has taken in since, and then
 * what a list made after the gate had closed has beyond both. The node writes the two ends of each connection that it
 * takes in into the named pipe FLOWS, which wakes nobody: it is read when a list is made, and for a kill.
 *
 * It adds to the killed sets, ends sockets of those that it has added, and does nothing else: what it is asked
 * has no address in it and no rule. A kill is said to the enforcer as well, which remembers it, sweeps again and
 * undoes it; this remembers nothing. What is read too late is not done (ETIME), because a revive may have come
 * in between. A scope that no pod of this machine has is ENOENT.
 *
 * Ends when its standard input does. Needs CAP_NET_ADMIN in the machine's network namespace.
 */
#define _GNU_SOURCE
#include "fail.h"
#include "netlink.h"
#include "told-sockets.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/sched/types.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { WRONG_USAGE = 2, LINE_MAX_BYTES = 512, PLACES = 64, PLACE_BYTES = 128 };
enum { SWEEPS_MAX = 64 };
/* How old a list may be, and how little of a processor lists take: so long is rested for each nanosecond of one. */
enum { LIST_AGE_MS = 250, REST_FOR_ONE = 200 };
/* Kills that follow one another come before the list that is made after them. */
static const uint64_t QUIET_NS = 1000000;
/* What a kill takes, and less than programs get that do not say. */
static const uint64_t SLICE_NS = 300000;
/* Covers every governed pod. */
static const char EVERYBODY[] = "global";
/* After so long a revive may have come, and what the agent holds then is its own. */
static const uint64_t SWEEP_NS = 200000000;

struct ends { int ask, say, flows, netfilter, diag; };

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + t.tv_nsec;
}

static int close_gate(int netfilter, uint64_t deadline, const char *scope) {
  if (now_ns() > deadline) return ETIME;
  const struct meaning *found = meaning_of(scope);
  if (!found) return ENOENT;
  for (uint32_t at = 0; at < found->bytes;) {
    uint32_t bytes = u32_at(found->batches + at);
    int code = change(netfilter, found->batches + at + 4, bytes);
    if (code) return code;
    at += 4 + bytes;
  }
  return 0;
}

static void say(int fd, uint64_t number, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void say(int fd, uint64_t number, const char *format, ...) {
  char words[PLACE_BYTES], place[PLACE_BYTES + 1];
  va_list args;
  va_start(args, format);
  vsnprintf(words, sizeof words, format, args);
  va_end(args);
  memset(place, ' ', sizeof place);
  int bytes = snprintf(place, sizeof place, "%ju %s %ju", (uintmax_t)number, words, (uintmax_t)number);
  if (bytes > PLACE_BYTES) return;
  place[bytes] = ' ';
  /* What nobody reads is not missed. */
  if (pwrite(fd, place, PLACE_BYTES, number % PLACES * PLACE_BYTES) < 0) return;
}

/* Kills whose sockets are still to be ended. What finds no room is left to the enforcer, which sweeps after every
 * kill. */
struct sweep {
  uint64_t number, until;
  char scope[LINE_MAX_BYTES];
  size_t at;
  uint32_t ended;
  /* What the kernel first said of one that it did not end. The others are ended all the same. */
  int failed;
  /* The gate is closed for a while, and for good once the sockets have ended: a change of the sets wakes whoever
   * follows the rules, who would be run in place of those who reset connections. */
  int is_for_good;
};
static struct sweep sweeps[SWEEPS_MAX];
static size_t sweep_count;

/* Sockets of all governed pods, and whether the list was made after the gate had closed for all of `sweeps`. */
static struct sockets known;
static int is_after_kills;
static uint64_t next_list, last_kill;

static int list_anew(const struct ends *to) {
  uint64_t before = now_ns();
  hear_told(to->flows);
  forget_told();
  const struct meaning *everybody = meaning_of(EVERYBODY);
  known.count = 0;
  int code = everybody ? list_sockets(to->diag, &known, everybody) : 0;
  for (size_t i = 0; i < sweep_count; i++) sweeps[i].at = sweeps[i].failed = 0;
  is_after_kills = code == 0;
  uint64_t now = now_ns(), rest = (now - before) * REST_FOR_ONE, age = LIST_AGE_MS * 1000000ull;
  next_list = now + (rest > age ? rest : age);
  return code;
}

static void begin_sweep(uint64_t number, uint64_t until, const char *scope, int is_for_good) {
  is_after_kills = 0;
  last_kill = now_ns();
  /* A node that names a later time would have its sweep go on, and feed it, for as long. */
  if (until == 0 || until > last_kill + SWEEP_NS) until = last_kill + SWEEP_NS;
  if (sweep_count == SWEEPS_MAX) return;
  struct sweep *sweep = &sweeps[sweep_count++];
  *sweep = (struct sweep){.number = number, .until = until, .is_for_good = is_for_good};
  snprintf(sweep->scope, sizeof sweep->scope, "%s", scope);
}

/* What the sets then say does not change what became of the sockets: the enforcer, told as well, sees to them. */
static void finish_sweep(const struct ends *to, size_t i, int code) {
  if (code == 0) code = sweeps[i].failed;
  say(to->say, sweeps[i].number, "0 %d %u %ju", code, sweeps[i].ended, (uintmax_t)now_ns());
  if (!sweeps[i].is_for_good) close_gate(to->netfilter, sweeps[i].until, sweeps[i].scope);
  sweeps[i] = sweeps[--sweep_count];
}

/* Ends a few sockets of one kill. Returns 0 when none are left on the list, or nobody has the scope any more. */
static int end_some(const struct ends *to, struct sweep *sweep, int *code) {
  const struct meaning *of = meaning_of(sweep->scope);
  *code = of ? 0 : ENOENT;
  if (!of) return 0;
  int failed = end_some_of(to->diag, &known, &sweep->at, of, &sweep->ended);
  if (!sweep->failed) sweep->failed = failed;
  if (sweep->at < known.count) return 1;
  hear_told(to->flows);
  int is_more = find_told(to->diag, &known, of);
  return is_more || sweep->at < known.count;
}

/* One piece of what is to be done, between which questions are answered. Returns for how many milliseconds
 * nothing is, or -1. */
static int work(const struct ends *to) {
  static size_t turn;
  for (size_t looks = 0, count = sweep_count; looks < count; looks++) {
    size_t i = turn++ % count;
    int code = now_ns() > sweeps[i].until ? ETIME : 0;
    /* The next piece is another kill's: one whose sockets do not end must not hold up the others. */
    if (code == 0 && end_some(to, &sweeps[i], &code)) return 0;
    if (code == 0 && !is_after_kills) continue;
    finish_sweep(to, i, code);
    return 0;
  }
  uint64_t now = now_ns(), due = sweep_count ? last_kill + QUIET_NS : next_list;
  if (!sweep_count && !meaning_of(EVERYBODY)) return -1;
  if (now < due) return (due - now) / 1000000 + 1;
  int code = list_anew(to);
  while (code && sweep_count) finish_sweep(to, 0, code);
  return 0;
}

/* What is no question is passed over in silence: nobody waits for a number that was not given. */
static void answer(const struct ends *to, char *line) {
  char *end = NULL;
  int is_closed = line[0] == '=';
  line += is_closed;
  uint64_t number = strtoull(line, &end, 10);
  if (end == line || *end != ' ') return;
  char *rest = end + 1;
  uint64_t deadline = strtoull(rest, &end, 10);
  if (end == rest || *end != ' ') return;
  if (is_closed) {
    if (now_ns() > deadline || !meaning_of(end + 1)) return;
    if (sweep_count == SWEEPS_MAX) close_gate(to->netfilter, deadline, end + 1);
    begin_sweep(number, deadline, end + 1, 0);
    return;
  }
  int code = close_gate(to->netfilter, deadline, end + 1);
  say(to->say, number, "%d", code);
  if (code == 0) begin_sweep(number, 0, end + 1, 1);
}

/* Lines are shorter than what a pipe takes whole, so those of two writers do not mix. */
static void read_questions(const struct ends *to) {
  static char text[LINE_MAX_BYTES * 8];
  static size_t length;
  ssize_t count = read(to->ask, text + length, sizeof text - 1 - length);
  if (count <= 0) return;
  length += count;
  text[length] = 0;
  char *from = text;
  for (char *end; (end = memchr(from, '\n', text + length - from)); from = end + 1) {
    *end = 0;
    answer(to, from);
  }
  length -= from - text;
  if (length > LINE_MAX_BYTES) length = 0;
  memmove(text, from, length);
}

static int open_pipe(const char *path, gid_t group) {
  struct stat found;
  if (mkfifo(path, 0600) && errno != EEXIST) fail(1, "%s: %s", path, strerror(errno));
  if (lstat(path, &found) || !S_ISFIFO(found.st_mode) || found.st_uid != geteuid())
    fail(1, "%s is no pipe of ours", path);
  /* Both ends, so that the pipe has them for as long as this runs, and a reader is never at its end. */
  int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0 || fchown(fd, -1, group) || fchmod(fd, 0620)) fail(1, "%s: %s", path, strerror(errno));
  return fd;
}

/* Where the answers lie. What lay there before is nobody's any more. */
static int open_places(const char *path, gid_t group) {
  struct stat found;
  if (lstat(path, &found) == 0 && (!S_ISREG(found.st_mode) || found.st_uid != geteuid()))
    fail(1, "%s is no file of ours", path);
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0 || ftruncate(fd, 0) || ftruncate(fd, PLACES * PLACE_BYTES)) fail(1, "%s: %s", path, strerror(errno));
  if (fchown(fd, -1, group) || fchmod(fd, 0640)) fail(1, "%s: %s", path, strerror(errno));
  return fd;
}

/* A kill comes before what agents do. To be preferred takes a right; to be run at once when woken takes none,
 * since Linux 6.12, of a program that says how little it does at a time. */
static void run_soon(void) {
  struct sched_attr wanted = {.size = SCHED_ATTR_SIZE_VER0, .sched_runtime = SLICE_NS};
  setpriority(PRIO_PROCESS, 0, -10);
  wanted.sched_nice = getpriority(PRIO_PROCESS, 0);
  if (syscall(SYS_sched_setattr, 0, &wanted, 0)) return;
}

int main(int argc, char **argv) {
  char *end = NULL;
  long group = argc == 5 ? strtol(argv[4], &end, 10) : -1;
  if (argc != 5 || *argv[4] == 0 || *end || group < 0 || group > 2147483646)
    fail(WRONG_USAGE, "expected ASK SAY FLOWS GID");
  signal(SIGPIPE, SIG_IGN);
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  run_soon();
  struct ends to = {.netfilter = open_netlink(NETLINK_NETFILTER), .diag = open_netlink(NETLINK_SOCK_DIAG)};
  to.say = open_places(argv[2], group);
  to.flows = open_pipe(argv[3], group);
  to.ask = open_pipe(argv[1], group);
  /* What was asked before this ran is long past. */
  for (char dropped[LINE_MAX_BYTES]; read(to.ask, dropped, sizeof dropped) > 0;) continue;
  fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
  puts("ready");
  fflush(stdout);
  struct pollfd from[] = {{.fd = to.ask, .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
  for (;;) {
    if (poll(from, 2, work(&to)) < 0 && errno != EINTR) fail(1, "poll: %s", strerror(errno));
    if (from[0].revents & POLLIN) read_questions(&to);
    if (from[1].revents && !read_table()) return 0;
  }
}
