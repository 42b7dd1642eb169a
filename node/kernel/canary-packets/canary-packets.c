/* Packets that no ordinary socket writes: what a canary tries beside connections and datagrams, as root of a pod may.
 *
 * Standard input has a line for each attempt, `<word> <form> <address> <port>`; all are sent, each with its word as payload. Most
 * are datagrams of UDP in some disguise, and whether they arrive is heard where they would. Of `echo` and `protocol` the machine
 * itself would say that they came, by a reply or by an error that repeats the word: then `<word> answered` is printed.
 * Ends with 1 where it may not write packets.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LISTEN_MS 400
#define WAYS_MAX 128
#define WORD_BYTES 36
#define PACKET_BYTES_MAX 256
/* Of no registered protocol (RFC 3692). */
#define NO_PROTOCOL 253

/* Nobody's addresses (RFC 5737, RFC 3849). */
static const char *const SPOOFED_4 = "198.51.100.9";
static const char *const SPOOFED_6 = "2001:db8:9::9";

struct way {
  char word[WORD_BYTES + 1];
  char form[16];
  int family;
  int port;
  union {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
  } to, from;
  socklen_t length;
};

static struct way awaited[WAYS_MAX];
static int awaited_count;
/* By family: packets with a header of our own, and the control protocol. */
static int raw4, raw6, control4, control6;

static uint32_t sum_of(const void *bytes, size_t length, uint32_t sum) {
  const uint8_t *at = bytes;
  for (size_t i = 0; i + 1 < length; i += 2) sum += (uint32_t)(at[i] << 8 | at[i + 1]);
  if (length % 2 != 0) sum += (uint32_t)(at[length - 1] << 8);
  return sum;
}

static uint16_t folded(uint32_t sum) {
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return htons((uint16_t)~sum);
}

/* A datagram with the word in it. Returns its length. */
static size_t datagram(const struct way *way, uint8_t *out) {
  struct udphdr head = {.source = htons(40000), .dest = htons((uint16_t)way->port)};
  size_t length = sizeof head + WORD_BYTES + 1;
  head.len = htons((uint16_t)length);
  memcpy(out, &head, sizeof head);
  memcpy(out + sizeof head, way->word, WORD_BYTES);
  out[sizeof head + WORD_BYTES] = '\n';
  int is4 = way->family == AF_INET;
  const void *from = is4 ? (const void *)&way->from.v4.sin_addr : &way->from.v6.sin6_addr;
  const void *to = is4 ? (const void *)&way->to.v4.sin_addr : &way->to.v6.sin6_addr;
  uint32_t sum = sum_of(from, is4 ? 4 : 16, 0);
  sum = sum_of(to, is4 ? 4 : 16, sum) + IPPROTO_UDP + (uint32_t)length;
  head.check = folded(sum_of(out, length, sum));
  if (head.check == 0) head.check = 0xffff;
  memcpy(out, &head, sizeof head);
  return length;
}

/* The kernel fills in length and checksum. `at`: the fragment's place, and whether more follow. */
static void send4(const struct way *way, uint8_t protocol, uint16_t at, const void *body, size_t length) {
  /* Where the packet went, to be written by the way. */
  static const uint8_t RECORD_ROUTE[12] = {7, 11, 4};
  size_t options = strcmp(way->form, "options") == 0 ? sizeof RECORD_ROUTE : 0;
  uint8_t packet[PACKET_BYTES_MAX] = {0};
  struct iphdr head = {.version = 4, .ihl = (5 + options / 4) & 15, .ttl = 64, .protocol = protocol};
  head.id = htons((uint16_t)(getpid() | 1));
  head.frag_off = htons(at);
  head.saddr = way->from.v4.sin_addr.s_addr;
  head.daddr = way->to.v4.sin_addr.s_addr;
  memcpy(packet, &head, sizeof head);
  memcpy(packet + sizeof head, RECORD_ROUTE, options);
  memcpy(packet + sizeof head + options, body, length);
  sendto(raw4, packet, sizeof head + options + length, 0, &way->to.any, way->length);
}

static void send6(const struct way *way, uint8_t next, const void *extension, const void *body, size_t length) {
  uint8_t packet[PACKET_BYTES_MAX] = {0};
  size_t extended = extension == NULL ? 0 : 8;
  struct ip6_hdr head = {.ip6_src = way->from.v6.sin6_addr, .ip6_dst = way->to.v6.sin6_addr};
  head.ip6_flow = htonl(6u << 28);
  head.ip6_plen = htons((uint16_t)(extended + length));
  head.ip6_nxt = next;
  head.ip6_hlim = 64;
  memcpy(packet, &head, sizeof head);
  if (extended != 0) memcpy(packet + sizeof head, extension, extended);
  memcpy(packet + sizeof head + extended, body, length);
  struct sockaddr_in6 to = way->to.v6;
  to.sin6_port = 0;
  sendto(raw6, packet, sizeof head + extended + length, 0, (struct sockaddr *)&to, sizeof to);
}

static void await(const struct way *way) {
  if (awaited_count < WAYS_MAX) awaited[awaited_count++] = *way;
}

static void echo(const struct way *way) {
  uint8_t packet[8 + WORD_BYTES] = {way->family == AF_INET ? ICMP_ECHO : ICMP6_ECHO_REQUEST};
  memcpy(packet + 8, way->word, WORD_BYTES);
  if (way->family == AF_INET) {
    uint16_t check = folded(sum_of(packet, sizeof packet, 0));
    memcpy(packet + 2, &check, sizeof check);
  }
  struct way to = *way;
  if (way->family == AF_INET6) to.to.v6.sin6_port = 0;
  /* Of the newer protocol the kernel fills in the checksum. */
  sendto(way->family == AF_INET ? control4 : control6, packet, sizeof packet, 0, &to.to.any, way->length);
  await(way);
}

/* In two: the first holds no more than the datagram's own header, where the family lets it. */
static void fragments(const struct way *way, const uint8_t *body, size_t length) {
  if (way->family == AF_INET) {
    send4(way, IPPROTO_UDP, IP_MF, body, 8);
    send4(way, IPPROTO_UDP, 1, body + 8, length - 8);
    return;
  }
  uint8_t first[8] = {IPPROTO_UDP, 0, 0, 1, 0, 0, 0, (uint8_t)(getpid() | 1)};
  uint8_t second[8] = {IPPROTO_UDP, 0, 0, 8, 0, 0, 0, (uint8_t)(getpid() | 1)};
  send6(way, IPPROTO_FRAGMENT, first, body, 8);
  send6(way, IPPROTO_FRAGMENT, second, body + 8, length - 8);
}

static void try6(const struct way *way, const uint8_t *body, size_t length) {
  /* Each of eight bytes: padding, or zeros, before the datagram. */
  static const uint8_t PADDED[8] = {IPPROTO_UDP, 0, 1, 4};
  static const uint8_t ZEROS[8] = {IPPROTO_UDP};
  const char *form = way->form;
  if (strcmp(form, "hop-by-hop") == 0) send6(way, IPPROTO_HOPOPTS, PADDED, body, length);
  if (strcmp(form, "destination") == 0) send6(way, IPPROTO_DSTOPTS, PADDED, body, length);
  if (strcmp(form, "routing") == 0) send6(way, IPPROTO_ROUTING, ZEROS, body, length);
  if (strcmp(form, "atomic") == 0) send6(way, IPPROTO_FRAGMENT, ZEROS, body, length);
  if (strcmp(form, "spoofed") == 0) send6(way, IPPROTO_UDP, NULL, body, length);
  if (strcmp(form, "protocol") == 0) send6(way, NO_PROTOCOL, NULL, way->word, WORD_BYTES);
}

static void try(struct way *way) {
  uint8_t body[PACKET_BYTES_MAX];
  if (strcmp(way->form, "echo") == 0) return echo(way);
  if (strcmp(way->form, "spoofed") == 0) {
    inet_pton(AF_INET, SPOOFED_4, &way->from.v4.sin_addr);
    if (way->family == AF_INET6) inet_pton(AF_INET6, SPOOFED_6, &way->from.v6.sin6_addr);
  }
  size_t length = datagram(way, body);
  if (strcmp(way->form, "protocol") == 0) await(way);
  if (strcmp(way->form, "fragments") == 0) return fragments(way, body, length);
  if (way->family == AF_INET6) return try6(way, body, length);
  if (strcmp(way->form, "protocol") == 0) return send4(way, NO_PROTOCOL, 0, way->word, WORD_BYTES);
  send4(way, IPPROTO_UDP, 0, body, length);
}

/* Whether there is a way to that address; then `from` is the one that it is dialled from. */
static int address(struct way *way, const char *host) {
  int is4 = strchr(host, ':') == NULL;
  way->family = is4 ? AF_INET : AF_INET6;
  way->length = is4 ? sizeof way->to.v4 : sizeof way->to.v6;
  way->to.any.sa_family = (sa_family_t)way->family;
  way->to.v4.sin_port = htons((uint16_t)way->port);
  void *at = is4 ? (void *)&way->to.v4.sin_addr : &way->to.v6.sin6_addr;
  if (inet_pton(way->family, host, at) != 1) return 0;
  int probe = socket(way->family, SOCK_DGRAM, 0);
  socklen_t length = sizeof way->from;
  int isThere = probe >= 0 && connect(probe, &way->to.any, way->length) == 0 &&
                getsockname(probe, &way->from.any, &length) == 0;
  if (probe >= 0) close(probe);
  return isThere;
}

static int opened(int family, int protocol) {
  int fd = socket(family, SOCK_RAW | SOCK_CLOEXEC, protocol);
  if (fd < 0 && family == AF_INET) {
    perror("altrace-canary: a socket for packets");
    exit(1);
  }
  return fd;
}

/* An answer, or an error that repeats what it is about, from the address that was written to. */
static void hear(int fd) {
  uint8_t packet[2048];
  ssize_t length = recv(fd, packet, sizeof packet, MSG_DONTWAIT);
  for (int i = 0; length > 0 && i < awaited_count; i++) {
    struct way *way = &awaited[i];
    size_t at = fd == control4 && length > 20 ? (size_t)(packet[0] & 15) * 4 : 0;
    int isOwn = fd == control4 ? packet[at] == ICMP_ECHO : packet[at] == ICMP6_ECHO_REQUEST;
    if (isOwn || memmem(packet, (size_t)length, way->word, WORD_BYTES) == NULL) continue;
    printf("%s answered\n", way->word);
    *way = awaited[--awaited_count];
    return;
  }
}

static long now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int main(void) {
  raw4 = opened(AF_INET, IPPROTO_RAW);
  control4 = opened(AF_INET, IPPROTO_ICMP);
  raw6 = opened(AF_INET6, IPPROTO_RAW);
  control6 = opened(AF_INET6, IPPROTO_ICMPV6);
  char line[256], host[64];
  while (fgets(line, sizeof line, stdin) != NULL) {
    struct way way = {0};
    if (sscanf(line, "%36s %15s %63s %d", way.word, way.form, host, &way.port) != 4) return 2;
    if (strlen(way.word) == WORD_BYTES && address(&way, host)) try(&way);
  }
  struct pollfd ears[2] = {{.fd = control4, .events = POLLIN}, {.fd = control6, .events = POLLIN}};
  long end = now_ms() + LISTEN_MS;
  for (long left = LISTEN_MS; left > 0 && awaited_count > 0; left = end - now_ms()) {
    if (poll(ears, 2, (int)left) <= 0) continue;
    for (int i = 0; i < 2; i++)
      if (ears[i].revents & POLLIN) hear(ears[i].fd);
  }
  return 0;
}
