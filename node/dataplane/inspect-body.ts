import type { ContentHit, Missing, ScanFacts } from "../decision/facts.ts";
import { isMissing } from "../decision/facts.ts";
import type { RelayDialect } from "./dialects/answer-part.ts";
import type { JsonObject, ReadRequest, Route } from "./dialects/dialect.ts";
import { asObject } from "./dialects/json-shape.ts";
import type { ToolsLeftOut } from "./dialects/leave-out-tools.ts";
import { type JudgedBody, judgedBody } from "./judged-body.ts";
import type { ScanSet } from "./scan/compile-rules.ts";
import { scanBytes } from "./scan/scan-text.ts";
import { parseStrict } from "./strict-json.ts";
import { mayOffer, type ToolOffer } from "./tool-offer.ts";

/** A request as its dialect reads it; its texts have been scanned and are gone. */
export type ReadBody = {
  readonly read: ReadRequest;
  readonly body: JudgedBody;
  /** Of a body that was compressed, what it says; absent: it was not looked at in the pool. */
  readonly bodyBytes?: number;
  /** Tools that were left out of the request; absent: none were. */
  readonly toolsOut?: readonly string[];
};

/** All that is known of a body once it was looked through. */
export type BodyInspection = {
  readonly request: ReadBody | Missing;
  /** `scan_timeout` when the deadline passed: what was not scanned may hold anything. */
  readonly scan: ScanFacts | Missing;
};

export type InspectOptions = {
  readonly dialect: RelayDialect;
  readonly route: Route;
  readonly set: ScanSet;
  /** Arrays and objects inside one another. */
  readonly depthMax: number;
  /** What tools may be offered, where others are to be left out. */
  readonly offer?: ToolOffer | undefined;
  /** Asked between two steps of at most 16 KB. */
  readonly pastDeadline: () => boolean;
};

/** Nothing could be read, so nothing was scanned. */
export const NOT_SCANNED: ScanFacts = { hits: [], scannedBytes: 0, complete: false };

/**
 * Reads and scans a request's body: the same for small ones in a data loop as for large ones in the
 * inspect pool.
 */
export function inspectBody(bytes: Uint8Array, options: InspectOptions): BodyInspection {
  const { dialect, route, depthMax } = options;
  const parsed = parseStrict(bytes, { depthMax });
  if (isMissing(parsed)) return { request: parsed, scan: NOT_SCANNED };
  const value = asObject(parsed.value);
  if (value === undefined) {
    const refused = Array.isArray(parsed.value) ? dialect.listRefused : undefined;
    return { request: refused ?? NOT_AN_OBJECT, scan: NOT_SCANNED };
  }
  const read = dialect.read(route, value);
  if (isMissing(read)) return { request: read, scan: NOT_SCANNED };
  // What is left out was offered all the same, so the whole of it is scanned.
  const scan = scanTexts(read.texts, options);
  const left = leftOut(value, options);
  if (left === undefined) return { request: readBody(dialect, value, read), scan };
  const again = dialect.read(route, left.body);
  if (isMissing(again)) return { request: again, scan };
  const request = { ...readBody(dialect, left.body, again), toolsOut: left.names };
  return { request, scan };
}

function leftOut(value: JsonObject, { dialect, offer }: InspectOptions): ToolsLeftOut | undefined {
  if (offer === undefined) return undefined;
  return dialect.leaveOutTools?.(value, (name) => mayOffer(offer, name));
}

const NOT_AN_OBJECT: Missing = { missing: "malformed_request", detail: "the body is no object" };

function readBody(dialect: RelayDialect, value: JsonObject, read: ReadRequest): ReadBody {
  return { read: { ...read, texts: [] }, body: judgedBody(dialect, value) };
}

/** Each text is one: a rule never matches across the end of a message. One hit a rule is told. */
function scanTexts(texts: readonly string[], options: InspectOptions): ScanFacts | Missing {
  const { set, pastDeadline } = options;
  let hits: Map<string, ContentHit> | undefined;
  let scannedBytes = 0;
  for (const text of texts) {
    if (pastDeadline()) return { missing: "scan_timeout" };
    const result = scanBytes(set, Buffer.from(text), { deadline: pastDeadline });
    if (!result.complete) return { missing: "scan_timeout" };
    scannedBytes += result.scannedBytes;
    for (const { id, end } of result.hits) {
      hits ??= new Map();
      if (!hits.has(id)) hits.set(id, { ruleId: id, end });
    }
  }
  return { hits: hits === undefined ? [] : [...hits.values()], scannedBytes, complete: true };
}
