import { createHash } from "node:crypto";
import {
  type AccountLimit,
  type Distrust,
  type Key,
  type Limit,
  type Policy,
  type Record as RecordMessage,
  type Redact,
  type Trust,
  type TrustedKey as TrustedKeyMessage,
  TrustRole,
  Unit,
} from "../proto/gen/altrace/v1/record_pb.ts";
import { parseAgentId, type Scope } from "../proto/ids.ts";
import { accountLimitsOf } from "./account-limits-of.ts";
import { kidOf } from "./kid-of.ts";
import { BODY_BYTES_MAX, flawOfParts } from "./policy-parts.ts";
import { isRedactReason, PERSON_TAG_BYTES } from "./redaction.ts";

/**
 * What a record may say about what: which op belongs to which scope, and the bounds of every field.
 *
 * Everything here is decided by the record alone, so every replica says the same of the same bytes.
 */

/** What a record does to its scope. */
export type RecordOp = Exclude<RecordMessage["op"], { case: undefined }>;
export type OpName = RecordOp["case"];

export const REASON_BYTES_MAX = 256;
export const OPERATOR_BYTES_MAX = 128;
export const CAUSE_BYTES_MAX = 64;
export const NKEY_BYTES_MAX = 64;
/** Operators, coordinators and enrolment keys together. */
export const TRUSTED_KEYS_MAX = 64;
/** A hundred times the bill that was held; beyond that a price is not distrusted but wrong. */
export const DISTRUST_MILLI_MAX = 100_000n;
export const DISTRUST_MILLI_MIN = 1_000n;
/** A record without a policy, a few signatures included, is some hundred bytes. */
export const SINCE_BYTES_MAX = 4_096;
/** Three units in four windows, and some to spare for windows that have just ended. */
export const ACCOUNT_LIMITS_MAX = 16;

const OPS_OF_SCOPE: { readonly [K in Scope["kind"]]: readonly OpName[] } = {
  global: ["kill", "revive"],
  team: ["kill", "revive"],
  agent: ["kill", "revive"],
  contract: ["kill"],
  certificate: ["kill"],
  policy: ["policy"],
  trust: ["trust"],
  budget: ["limit"],
  distrust: ["limit"],
  key: ["key", "kill"],
  node: ["trust", "kill"],
  redaction: ["redact"],
};

const CAUSE_PATTERN = /^[a-z][a-z0-9_]*$/;
const NKEY_PATTERN = /^[A-Z2-7]+$/;
const CONTRACT_ID_PATTERN = /^[A-Za-z0-9_-]{43}$/;
const WINDOW_PATTERN =
  /^(?:total|month:\d{4}-\d{2}|day:\d{4}-\d{2}-\d{2}|hour:\d{4}-\d{2}-\d{2}T\d{2})$/;
const COUNT_MAX = BigInt(Number.MAX_SAFE_INTEGER);

/** True when records of this scope may carry this op at all, whoever signs. */
export function isOpOfScope(scope: Scope, op: OpName): boolean {
  return OPS_OF_SCOPE[scope.kind].includes(op);
}

/** The first field of `op` that is out of bounds, in words; `undefined` when all are good. */
export function flawOfOp(scope: Scope, op: RecordOp): string | undefined {
  switch (op.case) {
    case "kill":
      if (!isShortText(op.value.reason, REASON_BYTES_MAX)) return "kill.reason";
      if (!isContractEnd(scope, op.value.contractEndMs)) return "kill.contract_end_ms";
      return isCause(op.value.cause) ? undefined : "kill.cause";
    case "revive":
      return isShortText(op.value.reason, REASON_BYTES_MAX) ? undefined : "revive.reason";
    case "policy":
      return flawOfPolicy(op.value);
    case "trust":
      return scope.kind === "node" ? flawOfNodeTrust(op.value) : flawOfBundle(op.value);
    case "limit":
      return flawOfLimit(scope, op.value);
    case "key":
      return flawOfKey(op.value);
    case "redact":
      return flawOfRedact(op.value);
  }
}

/** True for text that fits, reads the same once encoded, and has no control characters, which could rewrite a terminal. */
export function isShortText(text: string, bytesMax: number): boolean {
  if (!text.isWellFormed()) return false;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused.
  return Buffer.byteLength(text) <= bytesMax && !/[\u0000-\u001f\u007f-\u009f]/.test(text);
}

function isCause(cause: string): boolean {
  return cause === "" || (cause.length <= CAUSE_BYTES_MAX && CAUSE_PATTERN.test(cause));
}

function isContractEnd(scope: Scope, endMs: bigint): boolean {
  return endMs === 0n || (scope.kind === "contract" && endMs > 0n && endMs <= COUNT_MAX);
}

function flawOfPolicy(policy: Policy): string | undefined {
  if (policy.sha256.length !== 32) return "policy.sha256";
  if (policy.parts.length > 0) return flawOfParts(policy);
  if (policy.body.length === 0 || policy.body.length > BODY_BYTES_MAX) return "policy.body";
  if (policy.size !== BigInt(policy.body.length)) return "policy.size";
  const actual = createHash("sha256").update(policy.body).digest();
  return actual.equals(policy.sha256) ? undefined : "policy.sha256";
}

function flawOfBundle(trust: Trust): string | undefined {
  if (trust.keys.length === 0 || trust.keys.length > TRUSTED_KEYS_MAX) return "trust.keys";
  const kids = new Set(trust.keys.map((key) => key.kid));
  if (kids.size !== trust.keys.length) return "trust.keys: a kid twice";
  for (const key of trust.keys) {
    // A node's key is trusted through its own node/<id> record, never through the bundle.
    if (!isSigningRole(key.role)) return "trust.keys.role";
    const flaw = flawOfTrustedKey(key);
    if (flaw) return flaw;
  }
  return undefined;
}

function isSigningRole(role: TrustRole): boolean {
  return (
    role === TrustRole.OPERATOR || role === TrustRole.COORDINATOR || role === TrustRole.ENROLMENT
  );
}

function flawOfNodeTrust(trust: Trust): string | undefined {
  const [key, second] = trust.keys;
  if (!key || second) return "trust.keys: a node has one key";
  return key.role === TrustRole.NODE ? flawOfTrustedKey(key) : "trust.keys.role";
}

function flawOfTrustedKey(key: TrustedKeyMessage): string | undefined {
  if (key.publicKey.length !== 32) return "trust.keys.public_key";
  if (key.kid !== kidOf(key.publicKey)) return "trust.keys.kid";
  if (key.nkey !== "" && !(key.nkey.length <= NKEY_BYTES_MAX && NKEY_PATTERN.test(key.nkey))) {
    return "trust.keys.nkey";
  }
  return isValidity(key.notBeforeMs, key.notAfterMs) ? undefined : "trust.keys: validity";
}

function flawOfLimit(scope: Scope, limit: Limit): string | undefined {
  if (scope.kind === "distrust") {
    if (limit.of.case !== "distrust") return "limit.of";
    return flawOfDistrust(limit.of.value);
  }
  const limits = accountLimitsOf(limit);
  if (limits.length === 0 || limits.length > ACCOUNT_LIMITS_MAX) return "limit.of";
  const rows = new Set(limits.map(({ unit, window }) => `${unit} ${window}`));
  if (rows.size !== limits.length) return "limit.accounts: a unit and window twice";
  return limits.map(flawOfAccountLimit).find((flaw) => flaw !== undefined);
}

function flawOfDistrust({ milli, era, since }: Distrust): string | undefined {
  if (milli < DISTRUST_MILLI_MIN || milli > DISTRUST_MILLI_MAX) return "limit.distrust.milli";
  if (era > COUNT_MAX) return "limit.distrust.era";
  const isSinceGood = since.length <= SINCE_BYTES_MAX && (era > 0n || since.length === 0);
  return isSinceGood ? undefined : "limit.distrust.since";
}

function flawOfAccountLimit({ unit, window, limit: amount }: AccountLimit): string | undefined {
  if (unit !== Unit.USD_MICROS && unit !== Unit.TOKENS && unit !== Unit.CALLS) {
    return "limit.account.unit";
  }
  if (!WINDOW_PATTERN.test(window)) return "limit.account.window";
  return amount <= COUNT_MAX ? undefined : "limit.account.limit";
}

function flawOfKey(key: Key): string | undefined {
  if (key.sha256.length !== 32) return "key.sha256";
  if (!parseAgentId(key.agent)) return "key.agent";
  if (key.contract !== "" && !CONTRACT_ID_PATTERN.test(key.contract)) return "key.contract";
  return isValidity(key.notBeforeMs, key.notAfterMs) ? undefined : "key: validity";
}

function flawOfRedact({ person, madeByMs, reason }: Redact): string | undefined {
  if (person.length !== PERSON_TAG_BYTES) return "redact.person";
  if (madeByMs < 0n || madeByMs > COUNT_MAX) return "redact.made_by_ms";
  return isRedactReason(reason) ? undefined : "redact.reason";
}

function isValidity(notBeforeMs: bigint, notAfterMs: bigint): boolean {
  if (notBeforeMs < 0n || notAfterMs < 0n) return false;
  if (notBeforeMs > COUNT_MAX || notAfterMs > COUNT_MAX) return false;
  return notAfterMs === 0n || notBeforeMs < notAfterMs;
}
