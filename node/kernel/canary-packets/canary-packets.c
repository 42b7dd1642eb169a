/* Packets that no ordinary socket writes: what a canary tries beside connections and datagrams, as root of a pod may.
 *
 * Standard input has a line for each attempt, `<word> <form> <address> <port>`. Most are datagrams of UDP in some disguise with the
 * word in them, and whether they arrive is heard where they would. Of `echo` and `protocol` whoever has the address would say that
 * they came, by a reply or by an error that repeats the word; of the forms in FLAGS, segments of TCP that belong to no connection, by
 * a reset, if nobody listens at that port: then `<word> answered` is printed. Ends with 1 where it may not write packets.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <netpacket/packet.h>
#include <net/ethernet.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define LISTEN_MS 400
#define WAYS_MAX 128
#define WORD_BYTES 36
#define PACKET_BYTES_MAX 256
/* Of no registered protocol (RFC 3692). */
#define NO_PROTOCOL 253
/* Where segments that belong to no connection come from, one each: below the ports that a kernel gives out. */
#define OWN_PORT 20000
#define NEIGHBOUR_MS 200

/* Nobody's addresses (RFC 5737, RFC 3849). */
static const char *const SPOOFED_4 = "198.51.100.9";
static const char *const SPOOFED_6 = "2001:db8:9::9";

struct way {
  char word[WORD_BYTES + 1];
  char form[16];
  int family;
  int port;
  /* Of a segment; else 0. */
  int own_port;
  union {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
  } to, from;
  socklen_t length;
};

static struct way awaited[WAYS_MAX];
static int awaited_count;
/* By family: packets with a header of our own, the control protocol, and segments that come in. Frames: of any. */
static int raw4, raw6, control4, control6, tcp4, tcp6, frames;

static const struct {
  const char *form;
  uint8_t flags;
} FLAGS[] = {
    {"fin", TH_FIN},
    {"null", 0},
    {"xmas", TH_FIN | TH_PUSH | TH_URG},
    {"syn-fin", TH_SYN | TH_FIN},
    {"syn-ack", TH_SYN | TH_ACK},
};

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

/* Over what is sent and the addresses that it is sent between. */
static uint16_t check_of(const struct way *way, uint8_t protocol, const void *body, size_t length) {
  int is4 = way->family == AF_INET;
  const void *from = is4 ? (const void *)&way->from.v4.sin_addr : &way->from.v6.sin6_addr;
  const void *to = is4 ? (const void *)&way->to.v4.sin_addr : &way->to.v6.sin6_addr;
  uint32_t sum = sum_of(from, is4 ? 4 : 16, 0);
  sum = sum_of(to, is4 ? 4 : 16, sum) + protocol + (uint32_t)length;
  return folded(sum_of(body, length, sum));
}

/* A datagram with the word in it. Returns its length. */
static size_t datagram(const struct way *way, uint8_t *out) {
  struct udphdr head = {.source = htons(40000), .dest = htons((uint16_t)way->port)};
  size_t length = sizeof head + WORD_BYTES + 1;
  head.len = htons((uint16_t)length);
  memcpy(out, &head, sizeof head);
  memcpy(out + sizeof head, way->word, WORD_BYTES);
  out[sizeof head + WORD_BYTES] = '\n';
  head.check = check_of(way, IPPROTO_UDP, out, length);
  if (head.check == 0) head.check = 0xffff;
  memcpy(out, &head, sizeof head);
  return length;
}

/* The head of a segment, with nothing behind it. */
static size_t segment(const struct way *way, uint8_t flags, uint8_t *out) {
  struct tcphdr head = {.th_sport = htons((uint16_t)way->own_port), .th_dport = htons((uint16_t)way->port)};
  head.th_seq = htonl(1000);
  head.th_ack = flags & TH_ACK ? htonl(1000) : 0;
  head.th_off = 5;
  head.th_flags = flags;
  head.th_win = htons(1024);
  memcpy(out, &head, sizeof head);
  head.th_sum = check_of(way, IPPROTO_TCP, out, sizeof head);
  memcpy(out, &head, sizeof head);
  return sizeof head;
}

/* `at`: the fragment's place, and whether more follow. Returns the packet's length. */
static size_t packet4(const struct way *way, uint8_t protocol, uint16_t at, const void *body, size_t length, uint8_t *out) {
  /* Where the packet went, to be written by the way. */
  static const uint8_t RECORD_ROUTE[12] = {7, 11, 4};
  size_t options = strcmp(way->form, "options") == 0 ? sizeof RECORD_ROUTE : 0;
  struct iphdr head = {.version = 4, .ihl = (5 + options / 4) & 15, .ttl = 64, .protocol = protocol};
  head.tot_len = htons((uint16_t)(sizeof head + options + length));
  head.id = htons((uint16_t)(getpid() | 1));
  head.frag_off = htons(at);
  head.saddr = way->from.v4.sin_addr.s_addr;
  head.daddr = way->to.v4.sin_addr.s_addr;
  head.check = folded(sum_of(RECORD_ROUTE, options, sum_of(&head, sizeof head, 0)));
  memcpy(out, &head, sizeof head);
  memcpy(out + sizeof head, RECORD_ROUTE, options);
  memcpy(out + sizeof head + options, body, length);
  return sizeof head + options + length;
}

static size_t packet6(const struct way *way, uint8_t next, const void *extension, const void *body, size_t length, uint8_t *out) {
  size_t extended = extension == NULL ? 0 : 8;
  struct ip6_hdr head = {.ip6_src = way->from.v6.sin6_addr, .ip6_dst = way->to.v6.sin6_addr};
  head.ip6_flow = htonl(6u << 28);
  head.ip6_plen = htons((uint16_t)(extended + length));
  head.ip6_nxt = next;
  head.ip6_hlim = 64;
  memcpy(out, &head, sizeof head);
  if (extended != 0) memcpy(out + sizeof head, extension, extended);
  memcpy(out + sizeof head + extended, body, length);
  return sizeof head + extended + length;
}

static void send4(const struct way *way, uint8_t protocol, uint16_t at, const void *body, size_t length) {
  uint8_t packet[PACKET_BYTES_MAX];
  size_t size = packet4(way, protocol, at, body, length, packet);
  sendto(raw4, packet, size, 0, &way->to.any, way->length);
}

static void send6(const struct way *way, uint8_t next, const void *extension, const void *body, size_t length) {
  uint8_t packet[PACKET_BYTES_MAX];
  size_t size = packet6(way, next, extension, body, length, packet);
  struct sockaddr_in6 to = way->to.v6;
  to.sin6_port = 0;
  sendto(raw6, packet, size, 0, (struct sockaddr *)&to, sizeof to);
}

/* The pod's link, and who is at its other end: whoever passes on what is for elsewhere, or everybody where the newer family
 * alone is spoken. */
static struct sockaddr_ll other_end(void) {
  static struct sockaddr_ll found = {.sll_family = AF_PACKET, .sll_halen = ETH_ALEN, .sll_addr = {255, 255, 255, 255, 255, 255}};
  if (found.sll_ifindex != 0) return found;
  struct if_nameindex *links = if_nameindex();
  for (struct if_nameindex *link = links; link != NULL && link->if_index != 0 && found.sll_ifindex == 0; link++)
    if (strcmp(link->if_name, "lo") != 0) found.sll_ifindex = (int)link->if_index;
  if_freenameindex(links);
  char line[256], name[IFNAMSIZ];
  unsigned to, gateway = 0;
  FILE *routes = fopen("/proc/net/route", "re");
  while (routes != NULL && fgets(line, sizeof line, routes) != NULL)
    if (sscanf(line, "%15s %x %x", name, &to, &gateway) == 3 && to == 0 && gateway != 0) break;
    else gateway = 0;
  if (routes != NULL) fclose(routes);
  if (gateway == 0) return found;
  struct arpreq asked = {0};
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {gateway}};
  memcpy(&asked.arp_pa, &address, sizeof address);
  memcpy(asked.arp_dev, name, sizeof name);
  found.sll_ifindex = (int)if_nametoindex(name);
  /* It was asked for by what was sent before this, and answers soon. */
  for (int ms = 0; ms < NEIGHBOUR_MS; ms += 10, usleep(10000)) {
    if (ioctl(control4, SIOCGARP, &asked) != 0 || (asked.arp_flags & ATF_COM) == 0) continue;
    memcpy(found.sll_addr, asked.arp_ha.sa_data, ETH_ALEN);
    break;
  }
  return found;
}

static void frame(uint16_t kind, const void *body, size_t length) {
  struct sockaddr_ll to = other_end();
  to.sll_protocol = htons(kind);
  sendto(frames, body, length, 0, (struct sockaddr *)&to, sizeof to);
}

/* To an address that the link's other end has for itself alone, which the pod's own kernel would not send. */
static void loopback(const struct way *way) {
  struct way to = *way;
  to.to.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  uint8_t body[PACKET_BYTES_MAX], packet[PACKET_BYTES_MAX];
  size_t length = datagram(&to, body);
  frame(ETH_P_IP, packet, packet4(&to, IPPROTO_UDP, 0, body, length, packet));
}

/* In the tag of no network at all, which whoever takes the frame takes off. */
static void tagged(const struct way *way, const uint8_t *body, size_t length) {
  int is4 = way->family == AF_INET;
  uint8_t packet[PACKET_BYTES_MAX] = {0, 0, is4 ? 0x08 : 0x86, is4 ? 0x00 : 0xdd};
  size_t size = is4 ? packet4(way, IPPROTO_UDP, 0, body, length, packet + 4)
                    : packet6(way, IPPROTO_UDP, NULL, body, length, packet + 4);
  frame(ETH_P_8021Q, packet, 4 + size);
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

/* Whether it is one of these forms. */
static int flagged(struct way *way) {
  for (size_t i = 0; i < sizeof FLAGS / sizeof *FLAGS; i++) {
    if (strcmp(way->form, FLAGS[i].form) != 0) continue;
    uint8_t body[sizeof(struct tcphdr)];
    way->own_port = OWN_PORT + awaited_count;
    size_t length = segment(way, FLAGS[i].flags, body);
    await(way);
    if (way->family == AF_INET) send4(way, IPPROTO_TCP, 0, body, length);
    else send6(way, IPPROTO_TCP, NULL, body, length);
    return 1;
  }
  return 0;
}

static void try(struct way *way) {
  uint8_t body[PACKET_BYTES_MAX];
  if (flagged(way)) return;
  if (strcmp(way->form, "loopback") == 0) return loopback(way);
  if (strcmp(way->form, "echo") == 0) return echo(way);
  if (strcmp(way->form, "spoofed") == 0) {
    inet_pton(AF_INET, SPOOFED_4, &way->from.v4.sin_addr);
    if (way->family == AF_INET6) inet_pton(AF_INET6, SPOOFED_6, &way->from.v6.sin6_addr);
  }
  size_t length = datagram(way, body);
  if (strcmp(way->form, "priority-tag") == 0) return tagged(way, body, length);
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
  int kind = family == AF_PACKET ? SOCK_DGRAM : SOCK_RAW;
  int fd = socket(family, kind | SOCK_CLOEXEC, protocol);
  if (fd < 0 && family != AF_INET6) {
    perror("altrace-canary: a socket for packets");
    exit(1);
  }
  return fd;
}

static void answered(struct way *way) {
  printf("%s answered\n", way->word);
  *way = awaited[--awaited_count];
}

/* A reset, from where a segment went to where it came from. */
static void hear_segment(int fd) {
  uint8_t packet[2048];
  struct sockaddr_in6 from;
  socklen_t size = sizeof from;
  ssize_t length = recvfrom(fd, packet, sizeof packet, MSG_DONTWAIT, (struct sockaddr *)&from, &size);
  size_t at = fd == tcp4 && length > 20 ? (size_t)(packet[0] & 15) * 4 : 0;
  struct tcphdr head;
  if (length < 0 || (size_t)length < at + sizeof head) return;
  memcpy(&head, packet + at, sizeof head);
  if ((head.th_flags & TH_RST) == 0) return;
  for (int i = 0; i < awaited_count; i++) {
    struct way *way = &awaited[i];
    int isIts = fd == tcp4 ? memcmp(&((struct sockaddr_in *)&from)->sin_addr, &way->to.v4.sin_addr, 4) == 0
                           : memcmp(&from.sin6_addr, &way->to.v6.sin6_addr, 16) == 0;
    if (way->own_port == 0 || !isIts || ntohs(head.th_sport) != way->port || ntohs(head.th_dport) != way->own_port) continue;
    return answered(way);
  }
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
    return answered(way);
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
  tcp4 = opened(AF_INET, IPPROTO_TCP);
  tcp6 = opened(AF_INET6, IPPROTO_TCP);
  frames = opened(AF_PACKET, 0);
  char line[256], host[64];
  while (fgets(line, sizeof line, stdin) != NULL) {
    struct way way = {0};
    if (sscanf(line, "%36s %15s %63s %d", way.word, way.form, host, &way.port) != 4) return 2;
    if (strlen(way.word) == WORD_BYTES && address(&way, host)) try(&way);
  }
  int fds[4] = {control4, control6, tcp4, tcp6};
  struct pollfd ears[4];
  for (int i = 0; i < 4; i++) ears[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
  long end = now_ms() + LISTEN_MS;
  for (long left = LISTEN_MS; left > 0 && awaited_count > 0; left = end - now_ms()) {
    if (poll(ears, 4, (int)left) <= 0) continue;
    for (int i = 0; i < 4; i++)
      if (ears[i].revents & POLLIN) i < 2 ? hear(ears[i].fd) : hear_segment(ears[i].fd);
  }
  return 0;
}
