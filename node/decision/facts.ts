import type { Authority } from "../../authority/authority.ts";
import type { Delegation } from "../../authority/delegation.ts";
import type { Rate } from "../../authority/rate.ts";
import type { Verb } from "../../authority/tools.ts";
import type { RateParts } from "../../mesh/rate-share.ts";
import type { CallArguments } from "../../policy/argument-rules.ts";
import type {
  AgentPolicy,
  CompiledPolicy,
  Dialect,
  ModelPolicy,
} from "../../policy/compiled-policy.ts";
import type { Reason } from "../../proto/reasons.ts";
import type { Funding } from "../thread-messages.ts";

/** Where an agent stands on the ladder; `kill` is derived from scope state, never stored. */
export const STANDINGS = ["normal", "warning", "throttle", "quarantine", "block", "kill"] as const;
export type Standing = (typeof STANDINGS)[number];

/** The route on which agents delegate: the node's own, of no provider. */
export const DELEGATIONS_ROUTE = "altrace.delegations";

/** The way a request came in. */
export type Door = "gateway" | "forward" | "transparent";

/** What a killed scope is; the narrowest question an operator asks. */
export type KilledBy = "global" | "team" | "agent" | "contract";

/** A fact that could not be established, with the reason the stage gives for it. */
export type Missing = { readonly missing: Reason; readonly detail?: string };

/** Who asks, as the credential proves. */
export type Identity = {
  readonly agentId: string;
  readonly keyId: string;
  readonly contractId: string | undefined;
  /** What stands in records for the person it acts for; absent where persons are not recorded. */
  readonly pseudonym?: string;
};

/** The signed contract that the request runs under, verified. */
export type ContractFacts = {
  /** Ids of its chain, root first. */
  readonly ids: readonly string[];
  /** What the whole chain grants. */
  readonly effective: Authority;
  /** What its own requests may use: its rate less what was delegated from it. */
  readonly rate: Rate;
  /** Delegations that may still be made below it. */
  readonly depthLeft: number;
};

/** The request as its dialect reads it. */
export type RequestFacts = {
  /** Registry name of the route: `openai.chat`, `openai.models`, `anthropic.messages`. */
  readonly route: string;
  /** `undefined` where no dialect reads it: a tunnel, plain HTTP to a host that serves no models. */
  readonly dialect: Dialect | undefined;
  readonly method: string;
  readonly stream: boolean;
  readonly bodyBytes: number;
  /** The model's name as the request has it; `undefined` for routes without a model. */
  readonly model: string | undefined;
  /**
   * Tools offered or used; `name` is undefined for one that cannot be judged, no `verb`: it is called,
   * with these `arguments` if it is called here.
   */
  readonly tools: readonly {
    readonly name: string | undefined;
    readonly verb?: Verb;
    readonly arguments?: CallArguments;
  }[];
  /** Names of tools that were offered and taken out: they do not go upstream. Absent: none were. */
  readonly toolsOut?: readonly string[];
  /** First parameter whose price or effect is unknown. */
  readonly unpricedParameter: string | undefined;
  /** It asks for a connection in which nothing will be read or counted. */
  readonly isSession?: true;
};

/** An address that a connection may be made to. */
export type DialAddress = { readonly address: string; readonly family: 4 | 6 };

/**
 * What is done with bytes for a destination. `tunnel`: they pass unread. `inspect`: TLS ends here, and
 * each request in it is put to the chain by itself. `inspected`: such a request. `refuse`: a provider's
 * host in a way that cannot be inspected.
 */
export type DestinationMode = "tunnel" | "inspect" | "inspected" | "refuse";

/** Where a request wants to go that did not come to the gateway's own address. */
export type Destination = {
  /** Lower case, as it was named; a host name or what its author took for one. */
  readonly host: string;
  readonly port: number;
  readonly mode: DestinationMode;
  /** Where a captured connection was going, `address:port`. */
  readonly original?: string;
  /** What it resolved to, all of it permitted. `undefined`: it was not asked for. */
  readonly addresses: readonly DialAddress[] | Missing | undefined;
};

/** One hit of a content rule or detector. No matched text: it never leaves the scanner. */
export type ContentHit = { readonly ruleId: string; readonly end: number };

export type ScanFacts = {
  readonly hits: readonly ContentHit[];
  readonly scannedBytes: number;
  /** False: the data counts as the highest class. */
  readonly complete: boolean;
};

/** Amounts that are held, in the units of accounts. All >= 0. */
export type Cost = { readonly usdMicros: bigint; readonly tokens: bigint; readonly calls: bigint };

/** The bound on what the request can cost, or why there is none. */
export type CostFacts = {
  readonly worst: Cost;
  /** Share of the overrun account that is held beside it, micro-dollars. */
  readonly overrunMicros: bigint;
  /** Output limit that was filled in or lowered, tokens; `undefined` when the request's own stands. */
  readonly outputTokensSet: number | undefined;
};

/**
 * Everything the chain may look at, gathered before it runs. Nothing in here is ever changed.
 *
 * A stage whose fact is `undefined` treats it as not applicable only where its docstring says so;
 * everywhere else an absent fact is a refusal.
 */
export type Facts = {
  readonly requestId: string;
  readonly door: Door;
  /** Wall clock when the facts were gathered, ms since the Unix epoch. */
  readonly nowMs: number;
  /** The head pass runs rows 1 to 4 with the body unread; later rows are then not asked. */
  readonly pass: "head" | "full";
  readonly request: RequestFacts | Missing;
  readonly identity: Identity | Missing;
  /** Absent for a request to the gateway. */
  readonly destination?: Destination | undefined;
  readonly kill: { readonly killedBy: KilledBy | undefined; readonly fresh: boolean };
  readonly standing: Standing;
  /**
   * What of policy's rate was lent to this row, in parts of `RATE_WHOLE`; where it is less than the
   * request needs, more has to be asked for. Absent where policy gives no rate.
   */
  readonly rateShares?: RateParts | undefined;
  readonly policy: CompiledPolicy | undefined;
  readonly grant: AgentPolicy | undefined;
  /** `undefined` where the key is bound to none: then policy alone decides. */
  readonly contract: ContractFacts | Missing | undefined;
  /** What is to be delegated, held against what the delegator has; `undefined` for other requests. */
  readonly delegation?: Delegation | Funding | Missing | undefined;
  /** The policy's model for the requested name; `undefined` for routes without a model. */
  readonly model: ModelPolicy | Missing | undefined;
  /** ISO code of where this node is; `undefined` when not configured. */
  readonly nodeRegion: string | undefined;
  /** This node's name. */
  readonly node: string;
  readonly scan: ScanFacts | Missing;
  readonly cost: CostFacts | Missing | undefined;
  /** Connections of this agent on this loop, this one included. */
  readonly openConnections: number;
  readonly draining: boolean;
};

export function isMissing(fact: object | undefined): fact is Missing {
  // A member is read at half the cost of asking whether it is there, and each request asks some fifty times.
  return fact !== undefined && (fact as Partial<Missing>).missing !== undefined;
}

/** True when what passes is not read here: only its destination is judged. */
export function isTunnel({ destination }: Pick<Facts, "destination">): boolean {
  return destination !== undefined && destination.mode !== "inspected";
}

/** True of a tunnel that stays one: nothing within it will be put to the chain either. */
export function isCarriedUnread({ destination }: Pick<Facts, "destination">): boolean {
  return destination?.mode === "tunnel";
}
