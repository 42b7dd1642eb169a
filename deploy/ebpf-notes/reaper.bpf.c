// Ends the TCP sockets of killed addresses when the pinned iterator is read; whoever may read it need
// have no other right. A file of its own, because an iterator is pinned from the first program of one.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#define STATE_LISTEN 10
#define FAMILY_INET 2

// IPv4 addresses of peers, in the network's order.
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 1024);
  __type(key, __u32);
  __type(value, __u8);
} reaped SEC(".maps");

extern int bpf_sock_destroy(struct sock_common *sk) __ksym;

SEC("iter/tcp") int reap(struct bpf_iter__tcp *context) {
  struct sock_common *socket = context->sk_common;
  if (!socket || socket->skc_family != FAMILY_INET || socket->skc_state == STATE_LISTEN) return 0;
  __u32 peer = socket->skc_daddr;
  if (bpf_map_lookup_elem(&reaped, &peer)) bpf_sock_destroy(socket);
  return 0;
}

// Functions of the kernel are open to programs under its own licence alone.
char _license[] SEC("license") = "Dual BSD/GPL";
