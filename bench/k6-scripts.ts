/** One of the scripts in `k6/`, which are told what to do by `-e NAME=value`. */
export type K6Script = {
  readonly name: string;
  /** Whose key it asks with. */
  readonly asks: "target" | "neighbour" | "adversary" | "contract";
  /** What is done to `target` while it runs. */
  readonly during: "nothing" | "kill" | "kills";
  /** It asks something behind the node, through the forward proxy. */
  readonly isThroughProxy?: boolean;
  /** Metrics of it that are told. */
  readonly told: readonly (readonly [metric: string, of: string])[];
};

export const K6_SCRIPTS: readonly K6Script[] = [
  {
    name: "throughput",
    asks: "neighbour",
    during: "nothing",
    told: [
      ["answered", "rate"],
      ["refused_share", "value"],
    ],
  },
  {
    name: "gateway-json",
    asks: "neighbour",
    during: "nothing",
    told: [
      ["answer_ms", "p(50)"],
      ["answer_ms", "p(99)"],
      ["refused_share", "value"],
    ],
  },
  {
    name: "gateway-sse",
    asks: "neighbour",
    during: "nothing",
    told: [
      ["first_byte_ms", "p(50)"],
      ["last_byte_ms", "p(50)"],
      ["last_byte_ms", "p(99)"],
      ["not_whole_share", "value"],
    ],
  },
  {
    name: "mixed",
    asks: "target",
    during: "nothing",
    told: [
      ["small_alone_ms", "p(50)"],
      ["small_beside_ms", "p(50)"],
      ["small_alone_ms", "p(99)"],
      ["small_beside_ms", "p(99)"],
      ["large_ms", "p(50)"],
    ],
  },
  {
    name: "kill-block",
    asks: "target",
    during: "kill",
    told: [
      ["refused_by_kill", "count"],
      ["succeeded_after_first_refusal", "count"],
      ["refusal_ms", "p(50)"],
      ["refusal_ms", "p(99)"],
    ],
  },
  {
    name: "revoke-storm",
    asks: "target",
    during: "kills",
    told: [
      ["target_refused_by_kill", "count"],
      ["target_served", "count"],
      ["neighbour_refused_share", "value"],
      ["neighbour_ms", "p(50)"],
      ["neighbour_ms", "p(99)"],
    ],
  },
  {
    name: "teardown",
    asks: "target",
    during: "kill",
    told: [
      ["streams_told_why", "count"],
      ["streams_not_told_why", "count"],
      ["stream_ms", "p(50)"],
      ["stream_ms", "max"],
    ],
  },
  {
    name: "teardown-tunnels",
    asks: "target",
    during: "kill",
    isThroughProxy: true,
    told: [
      ["tunnels_cut", "count"],
      ["tunnels_refused", "count"],
      ["tunnel_ms", "p(50)"],
      ["tunnel_ms", "max"],
    ],
  },
  {
    name: "teardown-sessions",
    asks: "target",
    during: "kill",
    told: [
      ["sessions_cut", "count"],
      ["sessions_refused", "count"],
      ["session_ms", "p(50)"],
      ["session_ms", "max"],
    ],
  },
  {
    name: "overrun",
    asks: "adversary",
    during: "nothing",
    told: [
      ["spent_micro_usd", "count"],
      ["answered", "count"],
      ["refused_for_money", "count"],
    ],
  },
  {
    name: "delegation-burst",
    asks: "contract",
    during: "nothing",
    told: [
      ["delegated", "rate"],
      ["delegation_refused", "count"],
      ["worker_served", "count"],
      ["worker_refused", "count"],
      ["delegation_ms", "p(50)"],
    ],
  },
];
