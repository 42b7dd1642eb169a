#include "options.h"
#include "fail.h"
#include "sockets.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What an end in order may take beside twice the program's ALTRACE_DRAIN_MS: its threads have 5 s each. */
enum { END_BESIDE_MS = 40000, DRAIN_MS = 10000, END_MS_MIN = 100, END_MS_MAX = 3600000 };

static long number(const char *flag, const char *text, long min, long max) {
  char *end = NULL;
  errno = 0;
  long value = text ? strtol(text, &end, 10) : 0;
  if (!text || errno || end == text || *end || value < min || value > max)
    fail(WRONG_USAGE, "%s: expected a whole number from %ld to %ld", flag, min, max);
  return value;
}

/* Whoever is waited for at its end has ALTRACE_DRAIN_MS once, and what came meanwhile has it again. What is wrong with
 * the setting its program says. */
static long end_ms(void) {
  const char *drain = getenv("ALTRACE_DRAIN_MS");
  long ms = drain ? strtol(drain, NULL, 10) : DRAIN_MS;
  return END_BESIDE_MS + 2 * (ms < 0 || ms > END_MS_MAX ? DRAIN_MS : ms);
}

struct options read_options(int argc, char **argv) {
  struct options o = {.pairs = 1, .uid = -1, .gid = -1, .end_ms = end_ms()};
  for (int i = 1; i < argc; i++) {
    if (!strcmp(argv[i], "--")) { o.command = argv + i + 1; break; }
    if (!strcmp(argv[i], "--netlink")) { o.netlink = 1; continue; }
    if (!strcmp(argv[i], "--early")) { o.early = 1; continue; }
    const char *flag = argv[i], *value = i + 1 < argc ? argv[++i] : NULL;
    if (!strcmp(flag, "--port")) o.port = number(flag, value, 1, 65535);
    else if (!strcmp(flag, "--pairs")) o.pairs = number(flag, value, 1, PAIRS_MAX);
    else if (!strcmp(flag, "--uid")) o.uid = number(flag, value, 1, 2147483646);
    else if (!strcmp(flag, "--gid")) o.gid = number(flag, value, 1, 2147483646);
    else if (!strcmp(flag, "--end-ms")) o.end_ms = number(flag, value, END_MS_MIN, END_MS_MAX);
    else if (!strcmp(flag, "--handover") && value) o.handover = value;
    else fail(WRONG_USAGE, "%s: no such flag", flag);
  }
  if (!o.command || !o.command[0]) fail(WRONG_USAGE, "no program after --");
  if (!o.port && !o.netlink) fail(WRONG_USAGE, "--port or --netlink is needed");
  if ((o.uid < 0) != (o.gid < 0)) fail(WRONG_USAGE, "--uid and --gid belong together");
  /* A captured connection is judged by a program that could also change the rules: never both. */
  if (o.port && o.netlink) fail(WRONG_USAGE, "--port and --netlink are for two different programs");
  /* What it runs takes no turn: it would never say that it is prepared, and two would have the gate. */
  if (o.early && o.netlink) fail(WRONG_USAGE, "--early is for programs that wait for their turn, which one with --netlink does not");
  if (o.port && o.uid < 0) fail(WRONG_USAGE, "--port needs --uid and --gid of the program");
  return o;
}
