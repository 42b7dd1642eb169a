import { afterAll, afterEach, describe, expect, test } from "vitest";
import { createPiscinaCompute } from "../../../../adapters/piscina-compute.ts";
import { systemClock } from "../../../../adapters/system-clock.ts";
import {
  ContentRulesFault,
  createPolicyScanners,
} from "../../../../node/dataplane/content-scanners.ts";
import { DIALECTS } from "../../../../node/dataplane/dialects/registry.ts";
import {
  createInspector,
  INSPECT_POOL,
  type Inspector,
  type InspectRequest,
} from "../../../../node/dataplane/inspect.ts";
import type { BodyInspection } from "../../../../node/dataplane/inspect-body.ts";
import type { InspectTask } from "../../../../node/dataplane/inspect-worker.ts";
import { apart, bulkBytes, upstreamBytes } from "../../../../node/dataplane/judged-body.ts";
import type { ContentRule, LimitsPolicy } from "../../../../policy/compiled-policy.ts";
import { type Compute, ComputeFault } from "../../../../ports/compute.ts";
import { type TwinClock, twinClock } from "../../../../ports/twin-clock.ts";
import { contentRule } from "./relay-fixture.ts";

const DIALECT = DIALECTS.openai;
const [ROUTE] = DIALECT.routes as [(typeof DIALECT.routes)[number]];
const DEADLINE_MS = 20_000;
const RULES = [
  contentRule(),
  contentRule({ id: "mail", pattern: undefined, detector: "email-address", action: "warn" }),
];

const closing: { close(): Promise<void> }[] = [];

afterEach(async () => {
  for (const one of closing.splice(0)) await one.close();
});

function policyOf(
  content: readonly ContentRule[] = RULES,
  sha256 = "p1",
): InspectRequest["policy"] {
  const limits = { jsonDepthMax: 16, scanDeadlineMs: DEADLINE_MS } as LimitsPolicy;
  return { sha256, content, limits };
}

const POLICY = policyOf();

function bodyOf(text: string, over: object = {}): Buffer {
  return Buffer.from(
    JSON.stringify({
      model: "m",
      max_tokens: 9,
      ...over,
      messages: [{ role: "user", content: text }],
    }),
  );
}

function asked(body: Buffer, over: Partial<InspectRequest> = {}): InspectRequest {
  return { agentId: "t/a", body, dialect: DIALECT, route: ROUTE, policy: POLICY, ...over };
}

const faults: unknown[] = [];

function inspectorOn(pool: Compute<InspectTask, BodyInspection>, clock = systemClock): Inspector {
  faults.length = 0;
  const scanners = createPolicyScanners();
  const made = createInspector({ clock, scanners, pool, onFault: (fault) => faults.push(fault) });
  closing.push(made);
  return made;
}

/** Of this file: its thread is loaded once. */
let shared: Compute<InspectTask, BodyInspection> | undefined;

afterAll(() => shared?.close());

function realPool(): Compute<InspectTask, BodyInspection> {
  shared ??= freshPool();
  const pool = shared;
  return { run: (task, deadlineMs) => pool.run(task, deadlineMs), close: () => Promise.resolve() };
}

function freshPool(): Compute<InspectTask, BodyInspection> {
  return createPiscinaCompute<InspectTask, BodyInspection>({
    ...INSPECT_POOL,
    clock: systemClock,
    threads: 1,
  });
}

const filler = "word ".repeat(5_000);

/** A pool whose tasks end when the test says so. */
class HeldPool implements Compute<InspectTask, BodyInspection> {
  readonly running: { task: InspectTask; end: PromiseWithResolvers<BodyInspection> }[] = [];

  run(task: InspectTask): Promise<BodyInspection> {
    const end = Promise.withResolvers<BodyInspection>();
    this.running.push({ task, end });
    return end.promise;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** After what runs now and its promises. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

const CLEAN: BodyInspection = {
  request: { missing: "malformed_request" },
  scan: { hits: [], scannedBytes: 0, complete: true },
};

describe.each(["at once", "in the pool"])("a body that is looked through %s", (where) => {
  const text = where === "at once" ? "" : filler;

  test("is read, scanned, and ready to go upstream", async () => {
    const body = bodyOf(`${text}mail a@example.com é`, { stream: true, temperature: 0.5 });
    const sent = JSON.parse(body.toString());
    const seen = await inspectorOn(realPool()).inspect(asked(body));
    if ("missing" in seen.request) throw new Error(seen.request.missing);
    expect(seen.request.read).toMatchObject({
      model: "m",
      stream: true,
      maxOutputTokens: 9,
      texts: [],
    });
    expect(seen.scan).toMatchObject({ hits: [{ ruleId: "mail" }], complete: true });
    const set = { model: "real", maxOutputTokens: 5 };
    const bytes = upstreamBytes(DIALECT, ROUTE, seen.request.body, set);
    expect(JSON.parse(bytes.toString())).toEqual({
      ...sent,
      model: "real",
      max_tokens: 5,
      stream_options: { include_usage: true },
    });
  });

  test("a body is as long as its bytes are, whichever thread it is for", () => {
    const body = { head: { model: "m" }, bulk: '"user":"\u00fc\u20ac\ud83d\ude00"' };
    expect(bulkBytes(body)).toBe('"user":""'.length + 2 + 3 + 4);
    expect(bulkBytes(apart(body))).toBe(bulkBytes(body));
    const set = { model: "m", maxOutputTokens: undefined };
    expect(upstreamBytes(DIALECT, ROUTE, apart(body), set)).toEqual(
      upstreamBytes(DIALECT, ROUTE, body, set),
    );
  });

  test("tells one hit for each rule", async () => {
    const body = bodyOf(`${text}S-123456 S-234567 a@example.com b@example.com`);
    const seen = await inspectorOn(realPool()).inspect(asked(body));
    const ids = "hits" in seen.scan ? seen.scan.hits.map(({ ruleId }) => ruleId) : [];
    expect(ids.toSorted()).toEqual(["mail", "secret"]);
  });

  test.each([
    ["duplicate_key", (body: string) => body.replace('{"model"', '{"model":"x","model"')],
    ["malformed_json", (body: string) => `${body}}`],
    ["malformed_request", (body: string) => `[${body}]`],
    ["json_too_deep", (body: string) => body.replace('"m"', `${"[".repeat(20)}${"]".repeat(20)}`)],
    ["malformed_request", (body: string) => body.replace('"m"', "7")],
  ])("is refused as %s", async (missing, change) => {
    const body = Buffer.from(change(bodyOf(text).toString()));
    const seen = await inspectorOn(realPool()).inspect(asked(body));
    expect(seen.request).toMatchObject({ missing });
    expect(seen.scan).toMatchObject({ complete: false });
  });

  test("is refused when it is not UTF-8", async () => {
    const body = Buffer.concat([bodyOf(text), Buffer.of(0xff)]);
    const seen = await inspectorOn(realPool()).inspect(asked(body));
    expect(seen.request).toMatchObject({ missing: "invalid_utf8" });
  });

  test("is judged by the rules of its own policy", async () => {
    const inspector = inspectorOn(realPool());
    const second = policyOf([contentRule({ id: "other", pattern: "word|WORD" })], "p2");
    const one = await inspector.inspect(asked(bodyOf(`${text}WORD S-123456`)));
    const two = await inspector.inspect(asked(bodyOf(`${text}WORD S-123456`), { policy: second }));
    expect(one.scan).toMatchObject({ hits: [{ ruleId: "secret" }] });
    expect(two.scan).toMatchObject({ hits: [{ ruleId: "other" }] });
  });
});

describe("time", () => {
  test("that runs out while a small body is scanned refuses it", () => {
    const clock = twinClock();
    // Each look at the clock moves it on: the deadline passes between two texts.
    const hurried: TwinClock = {
      ...clock,
      monoNs: () => {
        clock.advance(DEADLINE_MS / 2 + 1);
        return clock.monoNs();
      },
    };
    const seen = inspectorOn(new HeldPool(), hurried).inspect(asked(bodyOf("S-123456")));
    expect(seen).toMatchObject({ scan: { missing: "scan_timeout" } });
  });

  test("that runs out in a worker refuses the body, which is still read", async () => {
    const limits = { ...POLICY.limits, scanDeadlineMs: 0 };
    const body = bodyOf(filler.repeat(20));
    const seen = await inspectorOn(realPool()).inspect(
      asked(body, { policy: { ...POLICY, limits } }),
    );
    expect(seen.scan).toEqual({ missing: "scan_timeout" });
  });

  test("that runs out while it waits for another body of its agent refuses it", async () => {
    const clock = twinClock();
    const pool = new HeldPool();
    const inspector = inspectorOn(pool, clock);
    const first = inspector.inspect(asked(bodyOf(filler)));
    const second = inspector.inspect(asked(bodyOf(filler)));
    await settled();
    clock.advance(DEADLINE_MS + 1);
    pool.running[0]?.end.resolve(CLEAN);
    expect(await first).toEqual(CLEAN);
    expect(await second).toMatchObject({ request: { missing: "scan_timeout" } });
    expect(pool.running).toHaveLength(1);
  });

  test.each([
    ["deadline", "scan_timeout", 0],
    ["busy", "scan_timeout", 0],
    ["failed", "stage_failed", 1],
  ] as const)("or a worker that is gone (%s) refuses the body", async (code, missing, told) => {
    const pool = new HeldPool();
    const seen = inspectorOn(pool).inspect(asked(bodyOf(filler)));
    await settled();
    pool.running[0]?.end.reject(new ComputeFault(code, "x"));
    expect(await seen).toEqual({ request: { missing }, scan: { missing } });
    expect(faults).toHaveLength(told);
  });
});

test("a pool that was warmed up has the policy's rules", async () => {
  const inspector = inspectorOn(freshPool());
  await inspector.warm(POLICY);
  expect(faults).toEqual([]);
  const seen = await inspector.inspect(asked(bodyOf(`${filler} S-123456`)));
  expect(seen.scan).toMatchObject({ hits: [{ ruleId: "secret" }] });
  await inspector.warm(policyOf([contentRule({ pattern: "(" })], "p2"));
  expect(faults).toMatchObject([{ code: "failed" }]);
});

describe("large bodies of one agent", () => {
  test("go into the pool one after the other, those of others beside them", async () => {
    const pool = new HeldPool();
    const inspector = inspectorOn(pool);
    const mine = [1, 2, 3].map(() => inspector.inspect(asked(bodyOf(filler))));
    const theirs = inspector.inspect(asked(bodyOf(filler), { agentId: "t/b" }));
    await settled();
    expect(pool.running).toHaveLength(2);
    pool.running[1]?.end.resolve(CLEAN);
    await theirs;
    expect(pool.running).toHaveLength(2);
    for (let count = 0; count < 3; count++) {
      pool.running.at(count === 0 ? 0 : -1)?.end.resolve(CLEAN);
      await mine[count];
      await settled();
    }
    expect(pool.running).toHaveLength(4);
  });

  test("wait in a bounded number, and a failure lets the next one in", async () => {
    const pool = new HeldPool();
    const inspector = inspectorOn(pool);
    const waiting = Array.from({ length: 17 }, () => inspector.inspect(asked(bodyOf(filler))));
    const last = await inspector.inspect(asked(bodyOf(filler)));
    expect(last.request).toEqual({ missing: "too_many_waiting" });
    pool.running[0]?.end.reject(new ComputeFault("failed", "x"));
    await waiting[0];
    await settled();
    expect(pool.running).toHaveLength(2);
  });
});

describe("rules", () => {
  test("are compiled in slices before they are needed, once", () => {
    const scanners = createPolicyScanners();
    const slices = [...scanners.prepare(POLICY)];
    expect(slices.length).toBeGreaterThanOrEqual(RULES.length);
    expect([...scanners.prepare(POLICY)]).toEqual([]);
    expect(scanners.of(POLICY)).toBe(scanners.of(POLICY));
  });

  test("go with their direction", () => {
    const scanners = createPolicyScanners();
    const content = [
      contentRule({ id: "in", direction: "request" }),
      contentRule({ id: "out", direction: "response" }),
      contentRule({ id: "both" }),
    ];
    const { request, response } = scanners.of({ content });
    expect(request.rules.map(({ id }) => id)).toEqual(["in", "both"]);
    expect(response.rules.map(({ id }) => id)).toEqual(["out", "both"]);
  });

  test.each([
    [contentRule({ pattern: undefined, detector: "none" }), /no detector named none/],
    [contentRule({ pattern: "(" }), /secret: malformed_pattern/],
    [contentRule({ pattern: "x+" }), /secret: unbounded_match/],
  ])("that cannot be enforced are a fault", (rule, message) => {
    const compile = () => createPolicyScanners().of({ content: [rule] });
    expect(compile).toThrow(ContentRulesFault);
    expect(compile).toThrow(message);
  });
});
