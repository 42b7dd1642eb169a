import type { Scope } from "./ids.ts";

/** Every subject of the bus in one place. Streams, patterns and who publishes where follow from it. */

/** The stream that holds the mesh's state: one message a subject, republished to `alt.bc.>`. */
export const CONTROL_STREAM = "ALT_CTL";
/** The stream of revoked contracts; entries leave by age once every contract they name has expired. */
export const REVOCATION_STREAM = "ALT_REV";

/** The ledger's journal: every change of it, in one chain, until a snapshot covers it. */
export const JOURNAL_STREAM = "ALT_LEASE";
/** Parts of policies that are too large for one message, each by its hash. */
export const PART_STREAM = "ALT_PART";
/** Which coordinator leads the ledger. */
export const LEADER_STREAM = "ALT_COORD";

export const CONTROL_PREFIX = "alt.ctl.";
export const REVOCATION_PREFIX = "alt.rev.";
export const COMMITTED_PREFIX = "alt.bc.";
export const FAST_PREFIX = "alt.fast.";
export const REVIVE_PREFIX = "alt.revive.";
export const JOURNAL_PREFIX = "alt.lj.";
export const LEADER_PREFIX = "alt.coord.";
export const PART_PREFIX = "alt.part.";

/** Every stream, and the prefix of the subjects that it takes. */
export const STREAM_PREFIXES: readonly (readonly [stream: string, prefix: string])[] = [
  [CONTROL_STREAM, CONTROL_PREFIX],
  [REVOCATION_STREAM, REVOCATION_PREFIX],
  [JOURNAL_STREAM, JOURNAL_PREFIX],
  [LEADER_STREAM, LEADER_PREFIX],
  [PART_STREAM, PART_PREFIX],
];

/** The stream that takes appends on this subject. */
export function streamOf(subject: string): string | undefined {
  return STREAM_PREFIXES.find(([, prefix]) => subject.startsWith(prefix))?.[0];
}

/** The journal's only chain: one ledger lends for the whole mesh. */
export const JOURNAL_SUBJECT = "alt.lj.0";
export const LEADER_SUBJECT = "alt.coord.leader";

/** Committed copies of state records, as the server republishes them. */
export const COMMITTED_PATTERN = "alt.bc.>";
/**
 * Those of them that nodes hear: all but what is killed and revived. Of a kill they have been told on the fast
 * path, and a copy for each of them would be a third of what a kill costs the server.
 */
export const COMMITTED_TO_NODES = [
  "alt.bc.policy",
  "alt.bc.trust",
  "alt.bc.budget.>",
  "alt.bc.distrust.>",
  "alt.bc.redaction.*",
  "alt.bc.key.*",
  "alt.bc.node.*",
] as const;
/** Copies of what the stream of revoked contracts holds; its sequences are not the control stream's. */
export const REVOKED_COPIES_PREFIX = "alt.bc.kill.contract.";
/** Kills ahead of their commit. */
export const FAST_PATTERN = "alt.fast.kill.>";
/** Revives, once a coordinator knows that they are committed. */
export const REVIVE_PATTERN = "alt.revive.kill.>";
/** Coordinators' digests. */
export const DIGEST_SUBJECT = "alt.dig";
export const ACK_PATTERN = "alt.ack.*";
export const HEARTBEAT_PATTERN = "alt.hb.*";
export const REQUEST_PATTERN = "alt.req.*.*";
export const HEAL_PATTERN = "alt.heal.*";
/** How far coordinators' own logs are, for one another. */
export const OWN_LOG_PATTERN = "alt.log.*";
/** What the control plane asks of nodes. */
export const CALL_PATTERN = "alt.call.*";

/** @param sha256Hex Of the part's bytes. */
export const partSubject = (sha256Hex: string): string => PART_PREFIX + sha256Hex;
export const ackSubject = (node: string): string => `alt.ack.${node}`;
export const heartbeatSubject = (node: string): string => `alt.hb.${node}`;
export const healSubject = (node: string): string => `alt.heal.${node}`;
export const ownLogSubject = (replica: string): string => `alt.log.${replica}`;
export const callSubject = (node: string): string => `alt.call.${node}`;

/** What a node asks of the control plane. */
export const REQUEST_METHODS = [
  "nonce",
  "lease",
  "settle",
  "standing",
  "fetch",
  "state",
  "enrol",
  "contract",
  "carve",
  "witness",
  "certify",
  "batch",
  "distrust",
  "rate",
  "ship",
  "sync",
] as const;
export type RequestMethod = (typeof REQUEST_METHODS)[number];
/** All questions of one node. */
export const requestsOf = (node: string): string => `alt.req.${node}.*`;
export const requestSubject = (node: string, method: RequestMethod): string =>
  `alt.req.${node}.${method}`;

/** The subject on which a scope's record is appended. A record on any other subject is refused. */
export function controlSubject(scope: Scope): string {
  switch (scope.kind) {
    case "global":
      return "alt.ctl.kill.global";
    case "team":
      return `alt.ctl.kill.team.${scope.team}`;
    case "agent":
      return `alt.ctl.kill.agent.${scope.team}.${scope.agent}`;
    case "contract":
      // Called a kill here too, so that it is heard ahead of its commit like every other one.
      return `alt.rev.kill.contract.${scope.id}`;
    case "certificate":
      return `alt.ctl.kill.certificate.${scope.id}`;
    case "policy":
      return "alt.ctl.policy";
    case "trust":
      return "alt.ctl.trust";
    case "budget":
      return `alt.ctl.budget.${scope.account.replaceAll("/", ".")}`;
    case "key":
      return `alt.ctl.key.${scope.id}`;
    case "node":
      return `alt.ctl.node.${scope.id}`;
    case "redaction":
      return `alt.ctl.redaction.${scope.id}`;
    case "distrust":
      // Names of models hold dots, which would be tokens of their own on the bus.
      return `alt.ctl.distrust.${hexToken(scope.provider)}.${hexToken(scope.model)}`;
  }
}

/** A text as one token: its bytes in hexadecimal, which no two texts share. */
function hexToken(text: string): string {
  return Buffer.from(text).toString("hex");
}

/** The same record's subject on the fast path, the committed broadcast or the stream, by prefix. */
export function withPrefix(
  subject: string,
  prefix: typeof FAST_PREFIX | typeof COMMITTED_PREFIX | typeof REVIVE_PREFIX,
): string {
  return prefix + subject.slice(subject.indexOf(".", "alt.".length) + 1);
}

/** True when `subject` is the stream, fast or committed subject of the scope. */
export function isSubjectOf(subject: string, scope: Scope): boolean {
  const own = controlSubject(scope);
  return (
    subject === own ||
    subject === withPrefix(own, COMMITTED_PREFIX) ||
    subject === withPrefix(own, FAST_PREFIX)
  );
}
