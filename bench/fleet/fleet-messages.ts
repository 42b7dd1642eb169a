/** What a process of light nodes is started with. */
export type FleetSetup = {
  readonly url: string;
  readonly mesh: string;
  /** Hexadecimal. */
  readonly operatorPublicKey: string;
  /** Entries that every node's store begins with. */
  readonly baseFile: string;
  readonly homeDir: string;
  readonly from: number;
  readonly count: number;
  /** Above 0: others come first. */
  readonly niceness: number;
};

export type FleetQuestion = { readonly id: number } & (
  | { readonly t: "status" }
  /** When each node had the command in force; what was not asked for is forgotten. */
  | { readonly t: "enforced"; readonly cmdId: string }
  /** Connections that are no nodes: they answer every broadcast, and that is all. */
  | { readonly t: "bare_connect" }
  /** A durable pull consumer for each node, which answers and acknowledges every message. */
  | { readonly t: "pull_connect"; readonly stream: string }
  /** One more connection of the first node's, which says when it has heard. */
  | { readonly t: "way_connect" }
  | { readonly t: "disconnect" }
);

export type FleetStatus = {
  readonly open: number;
  readonly up: number;
  /** Nodes by the hash of their state. */
  readonly states: Readonly<Record<string, number>>;
  readonly rssBytes: number;
  readonly alarms: Readonly<Record<string, number>>;
};

/** When one node had a command, and when that was in force there; monotonic ns. */
export type EnforcedAt = { readonly receivedNs: number; readonly atNs: number };

export type FleetAnswer = { readonly id: number } & (
  | { readonly t: "done" }
  | { readonly t: "status"; readonly status: FleetStatus }
  | { readonly t: "enforced"; readonly times: readonly EnforcedAt[] }
);

/** First byte of a broadcast that is answered at once; any other is checked, and its answer signed. */
export const UNSIGNED = 0;
/** Where bare connections hear a broadcast, and the prefix under which they answer. */
export const BARE_SUBJECT = "bench.bare";
export const REFERENCE_ACK_PREFIX = "bench.ack.";
/** As large as a signed kill is. */
export const KILL_BYTES = 260;
/** Where one is heard that nobody reads, and where its time is told: monotonic ns, 8 bytes big endian. */
export const WAY_SUBJECT = "bench.way";
export const WAY_ANSWER = "bench.heard";
/** As large as an ack of a node is. */
export const REFERENCE_ACK_BYTES = 260;
