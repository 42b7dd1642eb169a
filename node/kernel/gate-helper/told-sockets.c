#include "told-sockets.h"
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

/* As many as the pipe holds at a time, and so many are looked for between two questions. */
enum { TOLD_MAX = 2048, FOUND_AT_ONCE = 16 };

/* As the node writes it; see node/kernel/flow-note.ts. Ports and addresses are in the network's order. */
struct told { uint8_t family, rest[3]; uint16_t port, peer_port; uint8_t address[16], peer[16]; };
_Static_assert(sizeof(struct told) == 40, "a note has 40 bytes");

static struct told told[TOLD_MAX];
static size_t count;

/* Once: whoever writes without end must not keep it here. */
void hear_told(int flows) {
  if (count == TOLD_MAX) forget_told();
  ssize_t bytes = read(flows, told + count, (TOLD_MAX - count) * sizeof *told);
  if (bytes > 0) count += bytes / sizeof *told;
}

void forget_told(void) { count = 0; }

static int is_to(const struct told *one, const struct meaning *of) {
  if (one->family == AF_INET) return is_among(&of->v4, one->peer, V4_BYTES);
  return one->family == AF_INET6 && is_among(&of->v6, one->peer, V6_BYTES);
}

static void find(int diag, struct sockets *in, const struct meaning *of, const struct told *one) {
  struct inet_diag_sockid id = {
      .idiag_sport = one->port,
      .idiag_dport = one->peer_port,
      .idiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE},
  };
  memcpy(id.idiag_src, one->address, sizeof id.idiag_src);
  memcpy(id.idiag_dst, one->peer, sizeof id.idiag_dst);
  /* One that has ended by itself, most often. What is not found so is left to the list. */
  find_socket(diag, in, of, one->family, &id);
}

int find_told(int diag, struct sockets *in, const struct meaning *of) {
  int looks = 0;
  for (size_t i = count; i-- > 0;) {
    if (!is_to(&told[i], of)) continue;
    if (looks++ == FOUND_AT_ONCE) return 1;
    struct told one = told[i];
    told[i] = told[--count];
    find(diag, in, of, &one);
  }
  return 0;
}
