#define _GNU_SOURCE
#include "socket-sweep.h"
#include "netlink.h"
#include <errno.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* Beyond so many addresses the kernel is not asked to choose, and all are looked at here. */
enum { CHOSEN_MAX = 16, CHOICE_BYTES_MAX = 32, SOCKETS_MAX = 1 << 18, ENDED_AT_ONCE = 16 };
/* All but listeners, and those in TIME_WAIT, which have no owner left and may be very many. 12: those that have not
 * shaken hands yet. */
static const uint32_t STATES = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11 | 1 << 12;
/* What the kernel says of those in TIME_WAIT alone, also while their peer has not closed, when it gives FIN_WAIT2 as their
 * state. Older kernels refuse to end them (5.15), and with that refusal a sweep would end. */
enum { TIMER_OF_TIME_WAIT = 3 };

int leads_to(const struct meaning *of, const struct inet_diag_msg *socket) {
  int is_v4 = socket->idiag_family == AF_INET;
  return is_among(is_v4 ? &of->v4 : &of->v6, socket->id.idiag_dst, is_v4 ? V4_BYTES : V6_BYTES);
}

static int keep(struct sockets *in, const struct inet_diag_msg *socket) {
  if (in->count == in->room) {
    size_t room = in->room ? in->room * 2 : 64;
    struct inet_diag_msg *rows = room > SOCKETS_MAX ? NULL : realloc(in->rows, room * sizeof *rows);
    if (!rows) return ENOMEM;
    in->rows = rows;
    in->room = room;
  }
  in->rows[in->count++] = *socket;
  return 0;
}

/* One condition for each address, and behind each a jump to the end, where a socket is taken. The last one's jump
 * goes there by itself. */
static uint16_t choose(unsigned char *code, const struct meaning *of) {
  uint16_t jump = sizeof(struct inet_diag_bc_op), at = 0;
  uint16_t fixed = sizeof(struct inet_diag_bc_op) + sizeof(struct inet_diag_hostcond);
  uint16_t end = of->v4.count * (fixed + V4_BYTES + jump) + of->v6.count * (fixed + V6_BYTES + jump);
  for (uint32_t i = 0; i < of->v4.count + of->v6.count; i++) {
    int is_v4 = i < of->v4.count;
    uint16_t each = is_v4 ? V4_BYTES : V6_BYTES, condition = fixed + each;
    const unsigned char *address = is_v4 ? of->v4.bytes + i * each : of->v6.bytes + (i - of->v4.count) * each;
    /* Behind the last jump there is no other condition, and to go beyond the end is to pass a socket over. */
    uint16_t other = at + condition + jump == end ? condition + jump + sizeof(uint32_t) : condition + jump;
    struct inet_diag_bc_op op = {INET_DIAG_BC_D_COND, condition, other};
    struct inet_diag_hostcond peer = {.family = is_v4 ? AF_INET : AF_INET6, .prefix_len = each * 8, .port = -1};
    memcpy(code + at, &op, sizeof op);
    memcpy(code + at + sizeof op, &peer, sizeof peer);
    memcpy(code + at + fixed, address, each);
    at += condition;
    struct inet_diag_bc_op past = {INET_DIAG_BC_JMP, jump, end - at};
    memcpy(code + at, &past, sizeof past);
    at += jump;
  }
  return end;
}

/* Returns -1 for a list that goes on, else 0 or an errno. */
static int take(struct sockets *in, const struct meaning *of, const unsigned char *answer, ssize_t bytes) {
  for (ssize_t at = 0; at + (ssize_t)sizeof(struct nlmsghdr) <= bytes;) {
    struct nlmsghdr head;
    struct inet_diag_msg socket;
    memcpy(&head, answer + at, sizeof head);
    if (head.nlmsg_len < sizeof head || head.nlmsg_len > bytes - at) return EPROTO;
    if (head.nlmsg_type == NLMSG_DONE) return 0;
    if (head.nlmsg_type == NLMSG_ERROR) return word_of(answer + at, bytes - at, EPROTO);
    if (head.nlmsg_len >= sizeof head + sizeof socket) {
      memcpy(&socket, answer + at + sizeof head, sizeof socket);
      int is_owned = socket.idiag_timer != TIMER_OF_TIME_WAIT;
      int code = is_owned && leads_to(of, &socket) ? keep(in, &socket) : 0;
      if (code) return code;
    }
    at += NLMSG_ALIGN(head.nlmsg_len);
  }
  return -1;
}

int list_sockets(int diag, struct sockets *in, const struct meaning *of) {
  static unsigned char answer[65536];
  /* The older form of the question: it takes both families in one walk over the kernel's table, whose size and
   * not its content is what a list costs. */
  struct {
    struct nlmsghdr head;
    struct inet_diag_req body;
    struct nlattr filter;
    unsigned char code[CHOSEN_MAX * CHOICE_BYTES_MAX];
  } ask = {
      .head = {.nlmsg_type = TCPDIAG_GETSOCK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
      .body = {.idiag_states = STATES},
  };
  uint32_t count = of->v4.count + of->v6.count;
  in->count = 0;
  if (count == 0) return 0;
  ask.head.nlmsg_len = sizeof ask.head + sizeof ask.body;
  if (count <= CHOSEN_MAX) {
    ask.filter.nla_len = sizeof ask.filter + choose(ask.code, of);
    ask.filter.nla_type = INET_DIAG_REQ_BYTECODE;
    ask.head.nlmsg_len += ask.filter.nla_len;
  }
  discard_answers(diag);
  if (send(diag, &ask, ask.head.nlmsg_len, 0) < 0) return errno;
  for (;;) {
    ssize_t bytes = recv(diag, answer, sizeof answer, 0);
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes < 0) return errno;
    int code = take(in, of, answer, bytes);
    if (code >= 0) return code;
  }
}

int find_socket(int diag, struct sockets *in, const struct meaning *of, int family, const struct inet_diag_sockid *id) {
  unsigned char answer[1024];
  struct {
    struct nlmsghdr head;
    struct inet_diag_req_v2 body;
  } ask = {
      .head = {.nlmsg_len = sizeof ask, .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST},
      .body = {.sdiag_family = family, .sdiag_protocol = IPPROTO_TCP, .idiag_states = ~0u, .id = *id},
  };
  discard_answers(diag);
  if (send(diag, &ask, ask.head.nlmsg_len, 0) < 0) return errno;
  ssize_t bytes = recv(diag, answer, sizeof answer, 0);
  if (bytes < 0) return errno;
  /* Where nothing stands between these ends the kernel names whoever listens there, who leads to nobody. */
  int code = take(in, of, answer, bytes);
  return code < 0 ? 0 : code;
}

/* One message to the kernel for all of them: the first peer that is reset wakes whoever waits there, and between two
 * messages that one would be run instead of this. */
int end_some_of(int diag, const struct sockets *in, size_t *at, const struct meaning *of, uint32_t *ended) {
  struct {
    struct nlmsghdr head;
    struct inet_diag_req_v2 body;
  } ask[ENDED_AT_ONCE];
  uint32_t count = 0;
  for (; *at < in->count && count < ENDED_AT_ONCE; *at += 1) {
    const struct inet_diag_msg *socket = &in->rows[*at];
    if (!leads_to(of, socket)) continue;
    memset(&ask[count], 0, sizeof *ask);
    ask[count].head.nlmsg_len = sizeof *ask;
    ask[count].head.nlmsg_type = SOCK_DESTROY;
    ask[count].head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    ask[count].body.sdiag_family = socket->idiag_family;
    ask[count].body.sdiag_protocol = IPPROTO_TCP;
    ask[count].body.idiag_states = ~0u;
    ask[count++].body.id = socket->id;
  }
  return count ? change_each(diag, ask, count * sizeof *ask, count, ended) : 0;
}
