import {
  type TrustedKey as KeyMessage,
  type Trust,
  TrustRole,
} from "../proto/gen/altrace/v1/record_pb.ts";
import type { Scope } from "../proto/ids.ts";
import { kidOf } from "./kid-of.ts";
import type { OpName, RecordOp } from "./record-op.ts";

// Whose signature counts for what.
//
// T1. The operator key of the pin is the root: it alone signs the bundle (scope `trust`), so one
//     record is enough to rebuild the whole view and no history of bundles is needed.
// T2. A key of the bundle counts while the current bundle lists it; a node's key while its current
//     node/<id> record does. Nothing else adds a key.
// T3. What widens authority (revive, policy, limit, key, trust) takes an operator; what narrows it
//     (kill, a larger distrust) a coordinator may sign too. An enrolment key adds a node once.

/** What a node is given at installation and never takes from the network. */
export type TrustPin = { readonly mesh: string; readonly operatorPublicKey: Uint8Array };

export type TrustRoleName = "operator" | "coordinator" | "enrolment" | "node";

export type TrustedKey = {
  readonly kid: string;
  /** Raw Ed25519 public key, 32 bytes. */
  readonly publicKey: Uint8Array;
  readonly role: TrustRoleName;
  /** The node whose key this is; set exactly for role `node`. */
  readonly nodeId: string | undefined;
  /** The root of T1. */
  readonly pinned: boolean;
  /** Wall-clock validity, ms since the Unix epoch; 0 means no bound. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
};

const ROLE_NAMES: { readonly [K in TrustRole]: TrustRoleName | undefined } = {
  [TrustRole.UNSPECIFIED]: undefined,
  [TrustRole.OPERATOR]: "operator",
  [TrustRole.COORDINATOR]: "coordinator",
  [TrustRole.ENROLMENT]: "enrolment",
  [TrustRole.NODE]: "node",
};

/** Current keys of the mesh, by the pin and the current `trust` and `node/<id>` records. */
export class TrustView {
  readonly mesh: string;
  readonly #pinned: TrustedKey;
  #bundle = new Map<string, TrustedKey>();
  readonly #nodes = new Map<string, TrustedKey>();
  /** Node ids by kid: two nodes may claim one key, and then the kid names neither. */
  readonly #nodesOfKid = new Map<string, Set<string>>();

  constructor(pin: TrustPin) {
    this.mesh = pin.mesh;
    this.#pinned = {
      kid: kidOf(pin.operatorPublicKey),
      publicKey: pin.operatorPublicKey,
      role: "operator",
      nodeId: undefined,
      pinned: true,
      notBeforeMs: 0,
      notAfterMs: 0,
    };
  }

  /**
   * Takes in a record that has become its scope's current one; others than `trust` and `node/<id>`
   * change nothing.
   *
   * @returns Whether keys may have changed.
   */
  learn(record: { readonly parsed: Scope; readonly op: RecordOp }): boolean {
    const { parsed: scope, op } = record;
    if (scope.kind === "trust" && op.case === "trust") {
      this.#bundle = bundleOf(op.value);
      return true;
    }
    if (scope.kind !== "node") return false;
    this.#forgetNode(scope.id);
    const key = op.case === "trust" ? op.value.keys[0] : undefined;
    const trusted = key && trustedKey(key, scope.id);
    if (trusted) this.#addNode(scope.id, trusted);
    return true;
  }

  /** The key of that name. The pin comes before the bundle, the bundle before nodes. */
  lookup(kid: string): TrustedKey | undefined {
    if (kid === this.#pinned.kid) return this.#pinned;
    const listed = this.#bundle.get(kid);
    if (listed) return listed;
    const ids = this.#nodesOfKid.get(kid);
    const only = ids?.size === 1 ? ids.values().next().value : undefined;
    return only === undefined ? undefined : this.#nodes.get(only);
  }

  /** The key that signs a node's acks, heartbeats and requests; `undefined` for an unknown node. */
  nodeKey(nodeId: string): TrustedKey | undefined {
    return this.#nodes.get(nodeId);
  }

  /** Nodes that are enrolled and not removed, in no particular order. */
  nodeIds(): readonly string[] {
    return [...this.#nodes.keys()];
  }

  /** Keys of that role that were not taken out of use, outside their validity or not. */
  keysOf(role: Exclude<TrustRoleName, "node">): readonly TrustedKey[] {
    const listed = [...this.#bundle.values()].filter(
      (key) => key.role === role && key.notAfterMs !== TAKEN_OUT_MS,
    );
    if (role !== "operator") return listed;
    return [this.#pinned, ...listed.filter((key) => key.kid !== this.#pinned.kid)];
  }

  /** Names of the listed keys that were coordinators' and are in force no more, or not yet. */
  formerCoordinators(nowMs: number): readonly string[] {
    return [...this.#bundle.values()]
      .filter((key) => key.role === "coordinator" && !isInForce(key, nowMs))
      .map(({ kid }) => kid);
  }

  /**
   * Whether this key's signature suffices for a record with that op on that scope.
   *
   * @param nowMs Wall clock, ms since the Unix epoch: a key counts within its validity only.
   */
  maySign(key: TrustedKey, op: OpName, scope: Scope, nowMs: number): boolean {
    return isInForce(key, nowMs) && roleMaySign(key, op, scope);
  }

  #addNode(nodeId: string, key: TrustedKey): void {
    this.#nodes.set(nodeId, key);
    const ids = this.#nodesOfKid.get(key.kid) ?? new Set();
    this.#nodesOfKid.set(key.kid, ids.add(nodeId));
  }

  #forgetNode(nodeId: string): void {
    const key = this.#nodes.get(nodeId);
    if (!key) return;
    this.#nodes.delete(nodeId);
    const ids = this.#nodesOfKid.get(key.kid);
    ids?.delete(nodeId);
    if (ids?.size === 0) this.#nodesOfKid.delete(key.kid);
  }
}

/**
 * The end of the validity of a key that an operator has taken out of use, ms since the Unix epoch: over by
 * any clock. It stays listed, so that what it signed before can still be told from what nobody signed.
 */
export const TAKEN_OUT_MS = 1;

/** True within the key's validity, both ends included. */
export function isInForce(key: TrustedKey, nowMs: number): boolean {
  if (key.notBeforeMs !== 0 && nowMs < key.notBeforeMs) return false;
  return key.notAfterMs === 0 || nowMs <= key.notAfterMs;
}

/** Looks up a raw public key that may sign at that time, by its kid. */
export type KeyLookup = (kid: string) => Uint8Array | undefined;

/** Of coordinators. */
export function coordinatorKey(trust: Pick<TrustView, "lookup">, nowMs: number): KeyLookup {
  return keyOfRole(trust, "coordinator", nowMs);
}

/** Of coordinators, in force or not any more. For what may be older than the end of a validity. */
export function formerCoordinatorKey(trust: Pick<TrustView, "lookup">): KeyLookup {
  return (kid) => {
    const key = trust.lookup(kid);
    return key?.role === "coordinator" ? key.publicKey : undefined;
  };
}

/** Of operators. */
export function operatorKey(trust: Pick<TrustView, "lookup">, nowMs: number): KeyLookup {
  return keyOfRole(trust, "operator", nowMs);
}

/** Of one node. */
export function nodeKeyOf(
  trust: Pick<TrustView, "nodeKey">,
  node: string,
  nowMs: number,
): KeyLookup {
  const key = trust.nodeKey(node);
  return (kid) => (key?.kid === kid && isInForce(key, nowMs) ? key.publicKey : undefined);
}

function keyOfRole(
  trust: Pick<TrustView, "lookup">,
  role: TrustRoleName,
  nowMs: number,
): KeyLookup {
  return (kid) => {
    const key = trust.lookup(kid);
    return key?.role === role && isInForce(key, nowMs) ? key.publicKey : undefined;
  };
}

/** T1 and T3, as one table. Validity is looked at elsewhere. */
export function roleMaySign(key: TrustedKey, op: OpName, scope: Scope): boolean {
  switch (key.role) {
    case "operator":
      return scope.kind === "trust" ? key.pinned : true;
    case "coordinator":
      return coordinatorMaySign(op, scope);
    case "enrolment":
      return op === "trust" && scope.kind === "node";
    case "node":
      return false;
  }
}

/** T3, of coordinators. */
export function coordinatorMaySign(op: OpName, scope: Scope): boolean {
  if (op === "kill") return scope.kind !== "key" && scope.kind !== "node";
  // A larger distrust only lowers what a request may cost, and it must rise without a person. That it
  // is larger is seen to by the merge, and that its era is an operator's by `openRecord`.
  return op === "limit" && scope.kind === "distrust";
}

function bundleOf(trust: Trust): Map<string, TrustedKey> {
  const keys = new Map<string, TrustedKey>();
  for (const message of trust.keys) {
    const key = trustedKey(message, undefined);
    if (key) keys.set(key.kid, key);
  }
  return keys;
}

function trustedKey(message: KeyMessage, nodeId: string | undefined): TrustedKey | undefined {
  const role = ROLE_NAMES[message.role];
  // A node's key belongs in node records alone, every other key in the bundle alone.
  if (role === undefined || (role === "node") !== (nodeId !== undefined)) return undefined;
  return {
    kid: message.kid,
    publicKey: message.publicKey,
    role,
    nodeId,
    pinned: false,
    notBeforeMs: Number(message.notBeforeMs),
    notAfterMs: Number(message.notAfterMs),
  };
}
