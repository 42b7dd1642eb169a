#include "scope-table.h"
#include "fail.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { READ_BYTES = 65536 };
/* A machine's whole list of pods is well below a megabyte. */
enum { FRAME_BYTES_MAX = 8 << 20, TABLE_BYTES_MAX = 64 << 20 };

struct table { struct meaning *rows; size_t count, room, bytes; };

static struct table current, next;

static void clear(struct table *t) {
  for (size_t i = 0; i < t->count; i++) free(t->rows[i].kept);
  free(t->rows);
  *t = (struct table){0};
}

static int by_scope(const void *left, const void *right) {
  return strcmp(((const struct meaning *)left)->scope, ((const struct meaning *)right)->scope);
}

static int by_v4(const void *left, const void *right) { return memcmp(left, right, V4_BYTES); }
static int by_v6(const void *left, const void *right) { return memcmp(left, right, V6_BYTES); }

uint32_t u32_at(const unsigned char *at) {
  uint32_t value;
  memcpy(&value, at, sizeof value);
  return value;
}

int is_among(const struct addresses *of, const void *address, size_t bytes) {
  return bsearch(address, of->bytes, of->count, bytes, bytes == V4_BYTES ? by_v4 : by_v6) != NULL;
}

const struct meaning *meaning_of(const char *scope) {
  struct meaning wanted = {.scope = scope};
  if (current.count == 0) return NULL;
  return bsearch(&wanted, current.rows, current.count, sizeof wanted, by_scope);
}

/* A count and so many addresses; moves `at` behind them. */
static struct addresses take_addresses(unsigned char *kept, uint32_t bytes, uint32_t *at, size_t each) {
  if (bytes - *at < 4 || u32_at(kept + *at) > (bytes - *at - 4) / each) fail(1, "half a list of addresses");
  struct addresses of = {kept + *at + 4, u32_at(kept + *at)};
  qsort(kept + *at + 4, of.count, each, each == V4_BYTES ? by_v4 : by_v6);
  *at += 4 + of.count * each;
  return of;
}

static void take_batches(struct meaning *of, uint32_t at, uint32_t bytes) {
  of->batches = of->kept + at;
  of->bytes = bytes - at;
  for (uint32_t batch = 0; batch < of->bytes;) {
    uint32_t left = of->bytes - batch;
    if (left < 4 || u32_at(of->batches + batch) > left - 4) fail(1, "half a batch");
    batch += 4 + u32_at(of->batches + batch);
  }
}

/* One frame: a scope, a zero, its addresses of both families, its batches. An empty one ends the list, which is
 * then whole, and takes the place of the one before. */
static void take_frame(const unsigned char *frame, uint32_t bytes) {
  if (bytes == 0) {
    clear(&current);
    current = next;
    next = (struct table){0};
    if (current.count) qsort(current.rows, current.count, sizeof *current.rows, by_scope);
    return;
  }
  uint32_t at = strnlen((const char *)frame, bytes) + 1;
  if (at > bytes) fail(1, "a frame without a scope");
  if ((next.bytes += bytes) > TABLE_BYTES_MAX) fail(1, "more than %d bytes of scopes", TABLE_BYTES_MAX);
  unsigned char *kept = malloc(bytes);
  if (!kept) fail(1, "no memory");
  memcpy(kept, frame, bytes);
  struct meaning of = {.scope = (char *)kept, .kept = kept};
  of.v4 = take_addresses(kept, bytes, &at, V4_BYTES);
  of.v6 = take_addresses(kept, bytes, &at, V6_BYTES);
  take_batches(&of, at, bytes);
  if (next.count == next.room) {
    next.room = next.room ? next.room * 2 : 64;
    next.rows = realloc(next.rows, next.room * sizeof *next.rows);
    if (!next.rows) fail(1, "no memory");
  }
  next.rows[next.count++] = of;
}

int read_table(void) {
  static unsigned char *pending;
  static size_t pending_bytes, pending_room;
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
    uint32_t bytes = u32_at(pending + at);
    if (bytes > FRAME_BYTES_MAX) fail(1, "a frame of %u bytes", bytes);
    if (pending_bytes - at - 4 < bytes) break;
    take_frame(pending + at + 4, bytes);
    at += 4 + bytes;
  }
  memmove(pending, pending + at, pending_bytes -= at);
  return 1;
}
