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
};

export type FleetQuestion = { readonly id: number } & (
  | { readonly t: "status" }
  /** When each node had the command in force; what was not asked for is forgotten. */
  | { readonly t: "enforced"; readonly cmdId: string }
  /** Connections that are no nodes: they answer every broadcast, and that is all. */
  | { readonly t: "bare_connect" }
  /** A durable pull consumer for each node, which answers and acknowledges every message. */
  | { readonly t: "pull_connect"; readonly stream: string }
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

export type FleetAnswer = { readonly id: number } & (
  | { readonly t: "done" }
  | { readonly t: "status"; readonly status: FleetStatus }
  | { readonly t: "enforced"; readonly atNs: readonly number[] }
);

/** First byte of a broadcast that is answered at once; any other is checked, and its answer signed. */
export const UNSIGNED = 0;
/** Where bare connections hear a broadcast, and the prefix under which they answer. */
export const BARE_SUBJECT = "bench.bare";
export const REFERENCE_ACK_PREFIX = "bench.ack.";
/** As large as an ack of a node is. */
export const REFERENCE_ACK_BYTES = 260;
