import type { MessagePort } from "node:worker_threads";
import type { Authority } from "../authority/authority.ts";
import type { Delegation } from "../authority/delegation.ts";
import type { HolderJwk } from "../authority/holder-key.ts";
import type { Rate } from "../authority/rate.ts";
import type { PackedBundle } from "../mesh/policy-parts.ts";
import type { RateRow } from "../mesh/rate-share.ts";
import type { LadderCause } from "../policy/compiled-policy.ts";
import type { KernelFault } from "../proto/kernel-faults.ts";
import type { Reason } from "../proto/reasons.ts";
import type { Shortfall } from "./actors/ledger-port.ts";
import type { InspectionGrant } from "./dataplane/tls/host-certificates.ts";
import type { Cost, KilledBy, Standing } from "./decision/facts.ts";
import type { MeshAnswer, MeshStatus } from "./mesh-status.ts";
import type { HoldInfo } from "./open-holds.ts";
import type { Pseudonym, Redaction } from "./person-messages.ts";
import type { NoShare, RateNeed } from "./rate-need.ts";
import type { StrangerNews } from "./stranger-sightings.ts";

/**
 * Every message between the threads of a node. Each thread owns what architecture says it owns;
 * state that must be seen within microseconds is in the table, not here.
 */

/** Which row of the table serves a key, and since when. Valid while the row has this generation. */
export type RowGrant = {
  /** The contract that the key was born with; absent for keys that run under policy alone. */
  readonly contract?: ContractGrant;
  readonly row: number;
  readonly generation: number;
  /** Value of `key_generation` this answer was made under; a later one means ask again. */
  readonly keyGeneration: number;
  readonly agentId: string;
  readonly keyId: string;
  readonly contractId: string | undefined;
  /** Wall-clock validity of the key, ms since the Unix epoch; 0 means no bound. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
};

/**
 * Instead of a key's hash: any key of the agent that no contract binds, for an agent that is known by
 * its address. No hash is spelt like that.
 */
export function agentHandle(agentId: string): string {
  return `${AGENT_HANDLE}${agentId}`;
}

/** The agent of such a handle; `undefined` for a key's hash. */
export function agentOfHandle(handle: string): string | undefined {
  return handle.startsWith(AGENT_HANDLE) ? handle.slice(AGENT_HANDLE.length) : undefined;
}

const AGENT_HANDLE = "agent:";

/** Instead of a key's hash: a contract that its agent holds by a key of its own. */
export function heldHandle(contractId: string): string {
  return `${HELD_HANDLE}${contractId}`;
}

/** The contract of such a handle; `undefined` for anything else. */
export function contractOfHandle(handle: string): string | undefined {
  return handle.startsWith(HELD_HANDLE) ? handle.slice(HELD_HANDLE.length) : undefined;
}

const HELD_HANDLE = "contract:";

/** A verified contract as loops judge by it. */
export type ContractGrant = {
  /** Ids of the chain, root first. */
  readonly ids: readonly string[];
  /** Holders of the chain, `team/agent` each, root first. */
  readonly holders: readonly string[];
  /** On whose behalf. */
  readonly person: string;
  /** What the whole chain grants. */
  readonly effective: Authority;
  /** What its own requests may use of its rate. */
  readonly rate: Rate;
  /** The one address that its key counts from; empty: any. */
  readonly source: string;
  /** Monotonic ns after which the mesh thread is asked again. */
  readonly freshUntilNs: bigint;
  /** Delegations that may still be made below it. */
  readonly depthLeft: number;
  /** The agent's own key, of which each request proves possession; absent: a node holds it. */
  readonly holder?: HolderJwk;
};

/** What a holder delegated by itself, to be given an account. */
export type Funding = {
  /** Tokens, root first. */
  readonly chain: string;
  /** The node that is to serve it, where its agent holds it; empty for this one. */
  readonly node: string;
};

export type DelegationAnswer =
  | {
      readonly contract: string;
      /** The new contract's virtual key, told once and kept by nobody; absent where it has none. */
      readonly key?: string;
      readonly chain: string;
    }
  | { readonly refused: Reason; readonly detail: string };

// Data loop and mesh thread.
export type LoopToMesh =
  | {
      readonly t: "resolve";
      readonly id: number;
      readonly keySha256: string;
      readonly source: string;
      /** The key looks like one that a contract is born with. */
      readonly isContract?: boolean;
    }
  /** An allowed and recorded wish to delegate from the contract of that key. */
  | {
      readonly t: "delegate";
      readonly id: number;
      readonly keySha256: string;
      readonly delegation: Delegation | Funding;
    }
  /** Every connection that the cut named is closed on this loop. */
  | { readonly t: "cut_done"; readonly id: number; readonly count: number; readonly atNs: bigint };

export type MeshToLoop =
  | { readonly t: "delegated"; readonly id: number; readonly answer: DelegationAnswer }
  | {
      readonly t: "resolved";
      readonly id: number;
      readonly grant: RowGrant | undefined;
      readonly refused: Reason | undefined;
    }
  /** What was told of that key does not hold any more: it is to be asked for again. */
  | { readonly t: "forget"; readonly keySha256: string }
  /** A scope was killed: its cell already says so. Close what it covers, 10 a turn. */
  | ({ readonly t: "cut"; readonly id: number } & CutScope);

/** What a kill has cut. */
export type CutScope = {
  readonly by: KilledBy;
  readonly scope: string;
  /** The kernel has it as well, so a captured client hears nothing but a reset. */
  readonly isGated: boolean;
  /** Ids of the contracts that it covers; connections are filed under their own alone. */
  readonly contracts: readonly string[];
};

// Data loop and control thread.
export type LoopToControl =
  | { readonly t: "listening"; readonly gatewayPort: number; readonly forwardPort: number }
  | { readonly t: "policy_ready"; readonly version: number }
  | { readonly t: "policy_failed"; readonly version: number; readonly message: string }
  /** The row's balances do not cover `need`: top up, or say it is exhausted. */
  | {
      readonly t: "top_up";
      readonly id: number;
      readonly row: number;
      readonly generation: number;
      readonly agentId: string;
      readonly contractId: string | undefined;
      readonly need: Cost;
      /** What would do with the lowest output limit that policy lets this node set; else absent. */
      readonly floor?: Cost;
      readonly overrunMicros: bigint;
    }
  /** The row has less of its agent's rate than a request needs: bring it, or say when there may be more. */
  | ({ readonly t: "need_rate"; readonly id: number } & RateNeed)
  /** What stands for a person in records? */
  | { readonly t: "person"; readonly id: number; readonly person: string }
  /** Requests that ended: what was held (now returned to the row less what was spent) and what was spent. */
  | { readonly t: "settled"; readonly items: readonly SettledItem[] }
  | { readonly t: "events"; readonly items: readonly AgentEvent[] }
  | { readonly t: "connections"; readonly id: number; readonly items: readonly ConnectionInfo[] }
  | { readonly t: "open_by_agent"; readonly id: number; readonly items: readonly AgentOpen[] }
  | { readonly t: "holds"; readonly id: number; readonly items: readonly HoldInfo[] }
  | { readonly t: "metrics"; readonly id: number; readonly json: unknown }
  /** Exchanges that are open now, and strangers; told once a second while there is news. */
  | { readonly t: "open"; readonly count: number }
  | ({ readonly t: "strangers" } & StrangerNews)
  | { readonly t: "captured"; readonly fault: string | undefined }
  | { readonly t: "drained"; readonly open: number }
  | { readonly t: "closed" };

export type ControlToLoop =
  /** Compile it, say ready; it is in force once the table's policy_version says so. */
  | { readonly t: "policy"; readonly version: number; readonly bundle: Uint8Array }
  | ({ readonly t: "topped_up"; readonly id: number } & TopUpAnswer)
  /** With nothing: the row has its share. */
  | { readonly t: "rate_lent"; readonly id: number; readonly none: NoShare | undefined }
  /** Holds of that model are to count on bills this far above them: more than before, or of a later era. */
  | {
      readonly t: "distrust";
      readonly model: string;
      readonly distrustMilli: number;
      readonly era: number;
    }
  /** Absent: there is nothing to be had. */
  | { readonly t: "pseudonym"; readonly id: number; readonly pseudonym?: Pseudonym }
  /** Keys were erased: what stood for a person does so no more. */
  | { readonly t: "persons_erased" }
  | { readonly t: "list_connections"; readonly id: number }
  | { readonly t: "list_holds"; readonly id: number }
  | { readonly t: "count_open"; readonly id: number }
  | { readonly t: "collect_metrics"; readonly id: number }
  | { readonly t: "standing"; readonly agentId: string; readonly standing: Standing }
  /** What this node may show certificates for from now on. */
  | ({ readonly t: "inspection" } & InspectionGrant)
  /** Take in what the kernel captures; `captured` answers. */
  | { readonly t: "capture" }
  /** Finish what runs until the deadline: stop accepting, and then cut; or go on accepting, and cut nothing. */
  | { readonly t: "drain" | "outlive"; readonly deadlineMs: number };

export type TopUpOutcome = "ok" | "exhausted" | "overrun_exhausted" | "unavailable" | "row_gone";

export type TopUpAnswer = {
  readonly outcome: TopUpOutcome;
  /**
   * With `exhausted`: what of the need this node could have paid. Where a floor was named it lies in
   * the row now.
   */
  readonly left?: Cost;
  /** With a no that the ledger gave: what is needed to repeat it. */
  readonly refusal?: StandingRefusal;
};

/** The ledger's no to an account, as far as it may be repeated without asking anybody. */
export type StandingRefusal = {
  /** It stands while the account's row says this number. */
  readonly no: number;
  /** And until then, monotonic nanoseconds. */
  readonly untilNs: bigint;
  /** And while no money went back to the ledger, as the table counts it. */
  readonly returned: number;
  /** What did not fit, beyond what this node has. */
  readonly need: Cost;
  /** What would have. */
  readonly available: Cost;
  /** What this node has for the account beside what lies in its row. */
  readonly lendable: Cost;
  readonly shortfall: Shortfall | undefined;
};

export type SettledItem = {
  readonly requestId: string;
  readonly agentId: string;
  /** Who pays, where it is not the agent's own account. */
  readonly contractId?: string | undefined;
  readonly row: number;
  readonly generation: number;
  readonly held: Cost;
  readonly spent: Cost;
  readonly overrunHeldMicros: bigint;
  readonly overrunSpentMicros: bigint;
  /** `provider/model`, for the distrust of prices. */
  readonly model: string;
  /** What of `spent` the row could not pay; absent where it paid all. */
  readonly uncovered?: (Cost & { readonly overrunMicros: bigint }) | undefined;
  /** The bill over its hold, thousandths, where that is more than the price entry allows for. */
  readonly distrustMilli?: number | undefined;
};

export type AgentEvent = {
  readonly agentId: string;
  readonly requestId: string;
  readonly atMs: number;
  readonly allowed: boolean;
  readonly stage: number;
  readonly reason: Reason | "ok";
  /** Where the agent stood when it was judged. */
  readonly standing: Standing;
  /** What the ladder makes of it; absent for what never feeds the score. */
  readonly cause: LadderCause | undefined;
  /** Equal decisions before it that it stands for too, where they came too fast to be told singly. */
  readonly more?: number;
};

/** What one agent has open on one loop. */
export type AgentOpen = {
  readonly agentId: string;
  readonly exchanges: number;
  /** Of them, answers that are streams. */
  readonly streams: number;
  /** Held for them all together. */
  readonly held: Cost;
};

export type ConnectionInfo = {
  readonly id: string;
  readonly agentId: string;
  readonly door: string;
  readonly peer: string;
  readonly requestId: string;
  readonly streaming: boolean;
  readonly ageMs: number;
  readonly bytesUp: number;
  readonly bytesDown: number;
  readonly held: Cost | undefined;
};

/** What a node tells the mesh of its policy. */
export type PolicyWord = {
  /** Version of the one in force; 0 before the first. */
  readonly version: number;
  /** Version of the newest that this node could not put in force; 0: there is none. */
  readonly refusedVersion: number;
  /** Why, for operators; bounded. */
  readonly refused: string;
};

// Control thread and mesh thread.
export type ControlToMesh =
  | { readonly t: "loop_port"; readonly loop: number; readonly port: MessagePort }
  | {
      readonly t: "ask";
      readonly id: number;
      readonly method: string;
      readonly request: Uint8Array;
      readonly timeoutMs: number;
    }
  | {
      readonly t: "counts";
      readonly agents: number;
      readonly connections: number;
      readonly policy: PolicyWord;
    }
  | { readonly t: "free_row"; readonly agentId: string }
  | { readonly t: "status"; readonly id: number }
  /** So many keys that the current order of that scope names are erased, and the log says so. */
  | ({ readonly t: "redacted"; readonly count: number } & Pick<Redaction, "scope" | "record">)
  | { readonly t: "stop" };

export type MeshToControl =
  | { readonly t: "ready" | "stopped" }
  /** How the mesh thread came to be run before the others, and its niceness. */
  | {
      readonly t: "priority";
      readonly way: "raised" | "others_lowered" | "unchanged";
      readonly niceness: number;
    }
  | {
      readonly t: "answer";
      readonly id: number;
      readonly reply: MeshAnswer | undefined;
      readonly fault: string | undefined;
    }
  /** The current policy record changed; a bundle in parts is verified where they are opened. */
  | {
      readonly t: "policy";
      readonly version: number;
      readonly sha256: string;
      readonly bundle: Uint8Array | PackedBundle;
    }
  /** A `limit` record changed. */
  | { readonly t: "limit"; readonly scope: string }
  /** Others lack what that row has of a rate. */
  | ({ readonly t: "rate_recall" } & RateRow)
  /** The mesh distrusts the price of a model; told before any policy that names it. */
  | {
      readonly t: "distrust";
      /** `provider/model`. */
      readonly model: string;
      readonly distrustMilli: number;
      /** How often an operator has set it so far. */
      readonly era: number;
      /** SHA-256 of the record, hexadecimal. */
      readonly record: string;
    }
  /** A certificate counts no more, by its SHA-256 in hexadecimal. */
  | { readonly t: "revoked"; readonly fingerprint: string }
  /** A row now serves this agent; its actor should be active. */
  | { readonly t: "row"; readonly grant: RowGrant }
  | {
      readonly t: "row_freed";
      readonly row: number;
      readonly generation: number;
      readonly agentId: string;
      readonly contractId?: string | undefined;
    }
  /** An operator's revive of an agent is in force, whether it was killed or not. */
  | { readonly t: "revived"; readonly agentId: string }
  /** What is wrong with this machine's kernel layer, as its enforcer says. */
  | { readonly t: "kernel"; readonly faults: readonly KernelFault[] }
  /** Merged kill state changed. */
  | { readonly t: "kills"; readonly scopes: readonly string[] }
  | ({ readonly t: "redaction" } & Redaction)
  | { readonly t: "status"; readonly id: number; readonly status: MeshStatus };
