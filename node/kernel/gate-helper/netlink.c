#define _GNU_SOURCE
#include "netlink.h"
#include "fail.h"
#include <errno.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>

static unsigned char answer[65536];

int open_netlink(int protocol) {
  struct sockaddr_nl self = {.nl_family = AF_NETLINK};
  int on = 1, bytes = 1 << 20;
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
  if (fd < 0 || bind(fd, (void *)&self, sizeof self)) fail(1, "netlink: %s", strerror(errno));
  /* An error then does not bring the whole batch back. */
  setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
  return fd;
}

int word_of(const unsigned char *from, ssize_t bytes, int before) {
  int word = before;
  for (ssize_t at = 0; at + (ssize_t)sizeof(struct nlmsghdr) <= bytes;) {
    struct nlmsghdr head;
    memcpy(&head, from + at, sizeof head);
    if (head.nlmsg_len < sizeof head || head.nlmsg_len > bytes - at) break;
    if (head.nlmsg_type == NLMSG_ERROR && head.nlmsg_len >= sizeof head + sizeof(int)) {
      int code;
      memcpy(&code, from + at + sizeof head, sizeof code);
      if (word == before || code) word = -code;
      if (word) return word;
    }
    at += NLMSG_ALIGN(head.nlmsg_len);
  }
  return word;
}

void discard_answers(int netlink) {
  while (recv(netlink, answer, sizeof answer, 0) >= 0 || errno == ENOBUFS) continue;
}

int change_each(int netlink, const void *requests, uint32_t bytes, uint32_t count, uint32_t *done) {
  discard_answers(netlink);
  if (send(netlink, requests, bytes, 0) != (ssize_t)bytes) return errno ? errno : EIO;
  int first = 0;
  /* The kernel puts each acknowledgement into a message of its own. */
  for (uint32_t answers = 0;; answers++) {
    ssize_t length = recv(netlink, answer, sizeof answer, 0);
    if (length < 0 && errno != EAGAIN) return errno;
    if (length < 0) return first || answers == count ? first : EPROTO;
    int word = word_of(answer, length, EPROTO);
    *done += word == 0;
    if (word && word != ENOENT && !first) first = word;
  }
}

int change(int netlink, const void *request, uint32_t bytes) {
  discard_answers(netlink);
  if (send(netlink, request, bytes, 0) != (ssize_t)bytes) return errno ? errno : EIO;
  int word = EPROTO;
  for (;;) {
    ssize_t count = recv(netlink, answer, sizeof answer, 0);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno == EAGAIN ? word : errno;
    word = word_of(answer, count, word);
    if (word && word != EPROTO) return word;
  }
}
