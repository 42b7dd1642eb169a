// Refuses a killed agent by its control group, and counts what agents send. Ending sockets is reaper.bpf.c.
//
// An option beside the rules of nftables, never in their place: see README.md. Built and tried by
// test/kernel/ebpf.test.ts.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#define FAMILY_VSOCK 40
#define TYPE_RAW 3
#define REFUSE 0
#define ALLOW 1

struct count {
  __u64 packets, bytes, refused;
};

// Control groups whose agent is killed, by the group's id.
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 65536);
  __type(key, __u64);
  __type(value, __u8);
} killed SEC(".maps");

// What each control group has sent. The oldest make room, so that no agent fills it.
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 65536);
  __type(key, __u64);
  __type(value, struct count);
} sent SEC(".maps");

static __always_inline int is_killed(__u64 group) {
  return bpf_map_lookup_elem(&killed, &group) != NULL;
}

static __always_inline int unless_killed(void) {
  return is_killed(bpf_get_current_cgroup_id()) ? REFUSE : ALLOW;
}

SEC("cgroup/connect4") int connect4(struct bpf_sock_addr *context) { return unless_killed(); }
SEC("cgroup/connect6") int connect6(struct bpf_sock_addr *context) { return unless_killed(); }
SEC("cgroup/sendmsg4") int sendmsg4(struct bpf_sock_addr *context) { return unless_killed(); }
SEC("cgroup/sendmsg6") int sendmsg6(struct bpf_sock_addr *context) { return unless_killed(); }

// Raw sockets of the internet families. Packet sockets and AF_VSOCK are made elsewhere in the kernel
// and do not come by here; a seccomp profile is what refuses those.
SEC("cgroup/sock_create") int sock_create(struct bpf_sock *socket) {
  return socket->type == TYPE_RAW || socket->family == FAMILY_VSOCK ? REFUSE : ALLOW;
}

SEC("cgroup_skb/egress") int egress(struct __sk_buff *packet) {
  __u64 group = bpf_skb_cgroup_id(packet);
  int refused = is_killed(group);
  struct count zero = {0}, *count = bpf_map_lookup_elem(&sent, &group);
  if (!count) {
    bpf_map_update_elem(&sent, &group, &zero, BPF_NOEXIST);
    count = bpf_map_lookup_elem(&sent, &group);
  }
  if (count) {
    __sync_fetch_and_add(&count->packets, 1);
    __sync_fetch_and_add(&count->bytes, packet->len);
    if (refused) __sync_fetch_and_add(&count->refused, 1);
  }
  return refused ? REFUSE : ALLOW;
}

char _license[] SEC("license") = "Dual BSD/GPL";
