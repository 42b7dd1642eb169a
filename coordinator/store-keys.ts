/**
 * What the coordinator keeps in its store, by key. `ledger/` is the ledger's, `bus` the in-process
 * bus's where they share a store.
 */

/** Start counter and fencing token: decimal text. */
export const EPOCH_KEY = "epoch";
export const RECORD_PREFIX = "record/";
export const COMMAND_PREFIX = "command/";
export const ACK_PREFIX = "ack/";
export const TOKEN_PREFIX = "token/";
export const LOG_PREFIX = "log/";
export const EVIDENCE_PREFIX = "evidence/";
export const PEER_LOG_PREFIX = "peer-log/";
export const PART_STORE_PREFIX = "part/";

/** The current record of a scope: a SignedRecord as it came. */
export const recordKey = (scope: string): string => RECORD_PREFIX + scope;
/** A part of a policy, by its SHA-256. */
export const partKey = (sha256Hex: string): string => PART_STORE_PREFIX + sha256Hex;
/** A command and how far it got: JSON. */
export const commandKey = (cmdId: string): string => COMMAND_PREFIX + cmdId;
/** A node's newest Ack of a command: protobuf. */
export const ackKey = (cmdId: string, node: string): string => `${ACK_PREFIX}${cmdId}/${node}`;
/** An enrolment token by its SHA-256: JSON. */
export const tokenKey = (sha256Hex: string): string => TOKEN_PREFIX + sha256Hex;
/** A log of a node that must exist, and what was cosigned last of it: JSON. */
export const logKey = (origin: string): string => LOG_PREFIX + origin;
/** A log from outside of the mesh, and what was cosigned last of it: JSON. */
export const outsideLogKey = (origin: string): string => `outside-log/${origin}`;
/** Another coordinator's own log, as it was heard last: JSON. */
export const peerLogKey = (origin: string): string => PEER_LOG_PREFIX + origin;
/** Two checkpoints of a log that contradict each other: JSON. */
export const evidenceKey = (origin: string, digest: string): string =>
  `${EVIDENCE_PREFIX}${origin}/${digest}`;
/** Bytes of HOME's list of issued certificates that are in the coordinator's own log: decimal text. */
export const certificateReadKey = "certificates-read";
