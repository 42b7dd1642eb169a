// Refuses a killed agent by its pod's control group, and counts what the pod sends. Ending sockets is
// reaper.bpf.c.
//
// Of the kernel's own types it names those alone that programs may rely on, so one object serves all kernels.
//
// An option beside the rules of nftables, never in their place: see README.md. Attached by
// node/kernel/ebpf-layer.ts; built and tried by test/kernel/ebpf.test.ts.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define FAMILY_VSOCK 40
#define TYPE_RAW 3
#define REFUSE 0
#define ALLOW 1

struct count {
  __u64 packets, bytes, refused;
};

// Both maps have one value for each group that the programs are attached to, whichever group below it
// runs them: a container that is started anew in a killed pod is killed with it.
struct {
  __uint(type, BPF_MAP_TYPE_CGROUP_STORAGE);
  __type(key, __u64);
  __type(value, __u32);
} killed SEC(".maps");

// Of each processor, so that no two of them wait for each other.
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE);
  __type(key, __u64);
  __type(value, struct count);
} sent SEC(".maps");

static __always_inline int unless_killed(void) {
  __u32 *is_killed = bpf_get_local_storage(&killed, 0);
  return *is_killed ? REFUSE : ALLOW;
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
  struct count *count = bpf_get_local_storage(&sent, 0);
  int answer = unless_killed();
  count->packets += 1;
  count->bytes += packet->len;
  if (answer == REFUSE) count->refused += 1;
  return answer;
}

char _license[] SEC("license") = "Dual BSD/GPL";
