import type { CallerOf } from "../../adapters/grpc-caller.ts";
import { type CallRecord, recordable } from "../../audit/record.ts";
import { recordableWords } from "../../audit/recordable-words.ts";
import { partHash } from "../../mesh/policy-parts.ts";
import { snakeCase } from "../../proto/call-roles.ts";
import { CallRefused, callRefusalOf } from "../call-refusal.ts";
import type { CallEntry } from "./operations-log.ts";

/** What happened, but for when. */
export type NotedCall = Omit<CallEntry, "t">;

/** Resolves once the call is on the disk; to the words of a fault where that is not known. */
export type NoteCall = (call: NotedCall) => Promise<string | undefined>;

type Fields = Readonly<Record<string, unknown>>;
type Handler = (request: Fields, call: RecordedCall) => Promise<Fields>;
type RecordedCall = { readonly caller?: CallerOf | undefined };

type Rule = {
  /** The answer gives somebody something that must not be in the world without a record of it. */
  readonly handsOut?: true;
  /** What the request is about, where its answer does not say so. */
  readonly scope?: (request: Fields) => string;
};

/** The calls that change something, each of which is a record. */
const RECORDED: Readonly<Record<string, Rule>> = {
  kill: { scope: ({ scope }) => String(scope) },
  revive: {},
  applyPolicy: {},
  putPolicyPart: { scope: ({ part }) => `policy-part/${partHash(part as Uint8Array)}` },
  setLimit: {},
  putKey: {},
  redactPerson: {},
  issueContract: { handsOut: true },
  delegate: { handsOut: true },
  revokeContract: { scope: ({ contract }) => `contract/${contract}` },
  revokeCertificate: { scope: ({ fingerprint }) => `certificate/${fingerprint}` },
  createEnrolmentToken: { handsOut: true, scope: ({ node }) => `node/${node}` },
};

/** The longest name of a scope that a record has. */
const SCOPE_CHARS_MAX = 160;

/**
 * The same calls, each written down when it is done or refused. A kill is never held up by the log, and
 * neither is what an operator has signed; a token or a contract is not handed out unless its record is on the
 * disk.
 */
export function recordedCalls<S extends object>(service: S, note: NoteCall): S {
  const recorded = Object.entries(RECORDED).map(([name, rule]) => {
    const handler = (service as Record<string, unknown>)[name] as Handler | undefined;
    if (handler === undefined) throw new RangeError(`there is no call ${name}`);
    return [name, recordedCall({ name, rule, handler, note })];
  });
  return { ...service, ...Object.fromEntries(recorded) };
}

function recordedCall(of: {
  readonly name: string;
  readonly rule: Rule;
  readonly handler: Handler;
  readonly note: NoteCall;
}): Handler {
  const { name, rule, handler, note } = of;
  return async (request, call) => {
    // Put together when it is done: a kill is said within the call.
    const noted = (outcome: Pick<CallRecord, "scope" | "cmd" | "rc">) =>
      note({
        op: snakeCase(name),
        ...callerFields(request, call),
        ...aboutOf(rule, request),
        ...outcome,
      });
    let answer: Fields;
    try {
      answer = await handler(request, call);
    } catch (error) {
      void noted({ rc: callRefusalOf(error)?.reason ?? "internal" });
      throw error;
    }
    const written = noted({ ...outcomeOf(answer), rc: "ok" });
    if (!rule.handsOut) return answer;
    const fault = await written;
    if (fault === undefined) return answer;
    throw new CallRefused({
      code: "UNAVAILABLE",
      reason: "audit_unavailable",
      message: "The coordinator could not write its own log; its messages say why.",
    });
  };
}

/** A certificate says who calls; without one it is the caller's word, from the same user. */
function callerFields(
  request: Fields,
  { caller }: RecordedCall,
): Pick<CallRecord, "via" | "who" | "role" | "crt"> {
  if (caller === undefined) {
    const { operator } = request;
    const isSaid = typeof operator === "string" && operator !== "";
    return { via: "socket", ...(isSaid && { who: recordable(operator) }) };
  }
  const { name, role, fingerprint } = caller;
  return { via: "tls", who: name, role, crt: fingerprint };
}

function aboutOf({ scope }: Rule, request: Fields): Pick<CallRecord, "scope" | "why"> {
  const { reason } = request;
  const hasWhy = typeof reason === "string" && reason !== "";
  return {
    ...(scope && { scope: recordable(scope(request), SCOPE_CHARS_MAX) }),
    ...(hasWhy && { why: recordableWords(reason) }),
  };
}

function outcomeOf(answer: Fields): Pick<CallRecord, "scope" | "cmd"> {
  const { command, contract } = answer as {
    readonly command?: { readonly scope: string; readonly cmdId: string };
    readonly contract?: { readonly contract: string };
  };
  if (command) return { scope: recordable(command.scope, SCOPE_CHARS_MAX), cmd: command.cmdId };
  return contract ? { scope: `contract/${contract.contract}` } : {};
}
