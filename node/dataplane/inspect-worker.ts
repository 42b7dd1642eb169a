import { flushCompileCache } from "node:module";
import { handingOver } from "../../adapters/piscina-compute.ts";
import { systemClock } from "../../adapters/system-clock.ts";
import type { ContentRule } from "../../policy/compiled-policy.ts";
import { isMissing } from "../decision/facts.ts";
import { type ContentScanners, compileContentNow } from "./content-scanners.ts";
import { decodeBody, type EncodedBody } from "./decode-body.ts";
import type { RelayDialect } from "./dialects/answer-part.ts";
import type { Route } from "./dialects/dialect.ts";
import { DIALECTS } from "./dialects/registry.ts";
import { type BodyInspection, inspectBody, NOT_SCANNED } from "./inspect-body.ts";
import { apart } from "./judged-body.ts";
import type { ToolOffer } from "./tool-offer.ts";

/** A body for the inspect pool. Everything in it can be copied between threads. */
export type InspectTask = {
  /** Taken over by the worker. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly dialect: RelayDialect["name"];
  readonly routeId: string;
  /** Names the rules; they are compiled again only when it changes. */
  readonly rulesKey: string;
  /** The policy's content rules as JSON. */
  readonly rules: string;
  readonly depthMax: number;
  /** Monotonic time after which nothing more is scanned, nanoseconds. */
  readonly deadlineNs: bigint;
  readonly offer?: ToolOffer;
  /** Absent: the bytes are not compressed. */
  readonly encoded?: EncodedBody;
};

flushCompileCache();

let compiledKey: string | undefined;
let compiled: ContentScanners | undefined;

/** What a worker of the inspect pool does. */
export function runInspectTask(task: InspectTask): BodyInspection {
  const beganNs = systemClock.monoNs();
  const { request: set } = scannersOf(task);
  // The first body after a change of policy must not pay for the compilation of its rules.
  const deadlineNs = task.deadlineNs + systemClock.monoNs() - beganNs;
  const { dialect, route } = routeOf(task);
  const bytes = task.encoded === undefined ? task.bytes : decodeBody(task.bytes, task.encoded);
  if ("missing" in bytes) return { request: bytes, scan: NOT_SCANNED };
  const inspection = inspectBody(bytes, {
    dialect,
    route,
    set,
    depthMax: task.depthMax,
    ...(task.offer !== undefined && { offer: task.offer }),
    pastDeadline: () => systemClock.monoNs() > deadlineNs,
  });
  const { request } = inspection;
  if (isMissing(request)) return inspection;
  const body = apart(request.body);
  const given = { ...inspection, request: { ...request, body, bodyBytes: bytes.length } };
  return handingOver(given, [body.bulk.buffer as ArrayBuffer]);
}

function scannersOf({ rulesKey, rules }: InspectTask): ContentScanners {
  if (compiled === undefined || compiledKey !== rulesKey) {
    compiled = compileContentNow(JSON.parse(rules) as ContentRule[]);
    compiledKey = rulesKey;
  }
  return compiled;
}

function routeOf({ dialect: name, routeId }: InspectTask): {
  readonly dialect: RelayDialect;
  readonly route: Route;
} {
  const dialect = DIALECTS[name];
  const route = dialect.routes.find(({ id }) => id === routeId);
  if (route === undefined) throw new Error(`no route ${routeId} in ${name}`);
  return { dialect, route };
}
