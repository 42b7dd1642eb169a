import type { RecordRefusal } from "../mesh/record-form.ts";

export type CommandRefusal =
  | RecordRefusal
  /** Global, team/<t> and agent/<t>/<a> can be killed. */
  | "malformed_scope"
  /** The same cmd_id was used for something else. */
  | "cmd_id_reused"
  /** The scope has moved on since the record was built: read it again and sign anew. */
  | "conflict"
  /** A limit of a contract that was never opened, or ended long ago. */
  | "contract_unknown"
  /** A limit of a contract above what it was granted. */
  | "limit_above_grant"
  /** A part that the policy names was not handed over. */
  | "policy_part_missing"
  /** An order to erase a person's keys that is of another time than now. */
  | "redaction_expired"
  /** The bundle cannot be read as a policy. */
  | "policy_malformed";

/** A command that was not accepted; nothing of it will happen. */
export class CommandRefused extends Error {
  readonly reason: CommandRefusal;
  constructor(reason: CommandRefusal, message: string, options?: { cause: unknown }) {
    super(message, options);
    this.name = "CommandRefused";
    this.reason = reason;
  }
}
