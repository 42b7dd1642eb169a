import type { MeshRecord } from "../mesh/record.ts";
import type { OpName } from "../mesh/record-op.ts";

/** Who can sign the command's record once more when another one was faster. */
export type CommandKind =
  /** A kill: the coordinator signs, so it signs again on top of whatever came in between. */
  | "kill"
  /** Signed by an operator, or by the enrolment key for a node's first record: carried as it is. */
  | "carried";

/** A command and how far it got. */
export type Command = {
  /** UUIDv7, the same through every retry. */
  readonly cmdId: string;
  readonly kind: CommandKind;
  readonly scope: string;
  readonly op: OpName;
  /** Wall clock, ms since the Unix epoch. */
  readonly acceptedAtMs: number;
  /** Version and hash of its record; they change when a kill is signed again. */
  v: number;
  hashHex: string;
  /** The record, until it is committed. */
  bytes: Uint8Array | undefined;
  /** The same, opened; a command from an earlier run is opened when it goes on. */
  record: MeshRecord | undefined;
  /** On this coordinator's disk. */
  accepted: boolean;
  /** In the stream. */
  committed: boolean;
  /** Another record took its version; it will never be committed. */
  conflict: boolean;
};

/** The command as it is stored: JSON, the record in base64. */
export function encodeCommand(command: Command): Uint8Array {
  const { bytes, record: _record, accepted: _accepted, ...rest } = command;
  const stored = { ...rest, bytes: bytes && Buffer.from(bytes).toString("base64") };
  return Buffer.from(JSON.stringify(stored));
}

/** @throws TypeError or SyntaxError: not what `encodeCommand` wrote. */
export function decodeCommand(value: Uint8Array): Command {
  const stored = JSON.parse(Buffer.from(value).toString()) as Record<string, unknown>;
  const { cmdId, kind, scope, op, acceptedAtMs, v, hashHex, bytes, committed, conflict } = stored;
  for (const text of [cmdId, scope, op, hashHex, bytes ?? ""]) {
    if (typeof text !== "string") throw new TypeError("a text of the command is missing");
  }
  if (kind !== "kill" && kind !== "carried") throw new TypeError("kind");
  if (!Number.isSafeInteger(acceptedAtMs) || !Number.isSafeInteger(v)) throw new TypeError("v");
  if (typeof committed !== "boolean" || typeof conflict !== "boolean") throw new TypeError("state");
  return {
    cmdId: cmdId as string,
    kind,
    scope: scope as string,
    op: op as OpName,
    acceptedAtMs: acceptedAtMs as number,
    v: v as number,
    hashHex: hashHex as string,
    bytes: bytes === undefined ? undefined : Buffer.from(bytes as string, "base64"),
    record: undefined,
    accepted: true,
    committed,
    conflict,
  };
}

/** Whether the command still has to reach the stream. */
export function isPending(command: Command): boolean {
  return command.bytes !== undefined && !command.committed && !command.conflict;
}
