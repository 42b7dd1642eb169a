import { StoreFault } from "../ports/store.ts";
import { type CommandRefusal, CommandRefused } from "./command-refused.ts";
import { LedgerFault } from "./ledger-actor.ts";

/** The gRPC status names that operators' calls end with. */
export type CallCode =
  | "INVALID_ARGUMENT"
  | "NOT_FOUND"
  | "ALREADY_EXISTS"
  | "PERMISSION_DENIED"
  | "RESOURCE_EXHAUSTED"
  | "FAILED_PRECONDITION"
  | "ABORTED"
  | "UNAVAILABLE";

export type CallRefusalFields = {
  readonly code: CallCode;
  /** Snake-case name. */
  readonly reason: string;
  readonly message: string;
  /** The request's field that is wrong. */
  readonly field?: string;
};

/** A call of an operator that is refused for what it asks. */
export class CallRefused extends Error {
  readonly fields: CallRefusalFields;
  constructor(fields: CallRefusalFields) {
    super(fields.message);
    this.name = "CallRefused";
    this.fields = fields;
  }
}

/** Refusals of records that say who may not, rather than what is malformed. */
const NOT_ALLOWED: ReadonlySet<CommandRefusal> = new Set([
  "key_unknown",
  "signature_invalid",
  "key_expired",
  "op_not_allowed",
  "signer_not_allowed",
]);

/** What an error means to the caller; `undefined` for a bug. */
export function callRefusalOf(error: unknown): CallRefusalFields | undefined {
  if (error instanceof CallRefused) return error.fields;
  if (error instanceof CommandRefused) return ofCommand(error);
  if (error instanceof StoreFault) {
    const message = "The coordinator could not write to its disk; its log says why.";
    return { code: "UNAVAILABLE", reason: "store_unavailable", message };
  }
  if (error instanceof LedgerFault) {
    return { code: "UNAVAILABLE", reason: "ledger_unavailable", message: error.message };
  }
  return undefined;
}

function ofCommand({ reason, message }: CommandRefused): CallRefusalFields {
  if (reason === "conflict") return { code: "ABORTED", reason, message };
  if (reason === "cmd_id_reused") {
    return { code: "ALREADY_EXISTS", reason, message, field: "cmd_id" };
  }
  if (reason === "malformed_scope") {
    return { code: "INVALID_ARGUMENT", reason, message, field: "scope" };
  }
  if (NOT_ALLOWED.has(reason)) return { code: "PERMISSION_DENIED", reason, message };
  return { code: "INVALID_ARGUMENT", reason, message, field: "record" };
}
