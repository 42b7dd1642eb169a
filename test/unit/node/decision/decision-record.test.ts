import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeRecord, encodeLeaf } from "../../../../audit/leaf.ts";
import { decide } from "../../../../node/decision/decide.ts";
import {
  cutRecord,
  decisionRecord,
  settleRecord,
} from "../../../../node/decision/decision-record.ts";
import type { Facts } from "../../../../node/decision/facts.ts";
import type { Verdict } from "../../../../node/decision/verdict.ts";
import { REASONS, type Reason, stageOf } from "../../../../proto/reasons.ts";
import {
  contentRule,
  facts,
  grant,
  model,
  policy,
  provider,
  requestFacts,
} from "../../../support/builders.ts";
import { proofCount } from "../../../support/proof.ts";
import { CONTEXT } from "../loop-world.ts";

const { count, seed } = proofCount("records of decisions", { small: 200, full: 20_000 });

const reasons = Object.keys(REASONS) as Reason[];
const missing = fc.constantFrom(...reasons).map((reason) => ({ missing: reason }));
const anyText = fc.oneof(
  fc.string({ unit: "binary", maxLength: 200 }),
  fc.constant(""),
  fc.string(),
);
const shadowed = fc.uniqueArray(fc.integer({ min: 6, max: 12 }), { maxLength: 7 });
const amount = fc.oneof(fc.bigInt(0n, 10_000n), fc.bigInt(0n, 2n ** 62n));
const size = fc.integer({ min: 0, max: 1_000_000 });

const request = fc
  .record({
    stream: fc.boolean(),
    bodyBytes: size,
    model: fc.option(anyText, { nil: undefined }),
    tools: fc.array(fc.record({ name: fc.option(anyText, { nil: undefined }) }), {
      maxLength: 140,
    }),
    unpricedParameter: fc.option(anyText, { nil: undefined }),
  })
  .map((over) => requestFacts(over));

const anyFacts: fc.Arbitrary<Facts> = fc
  .record({
    pass: fc.constantFrom("head" as const, "full" as const),
    request: fc.oneof({ weight: 4, arbitrary: request }, missing),
    identity: fc.oneof({ weight: 6, arbitrary: fc.constant(facts().identity) }, missing),
    killed: fc.option(fc.constantFrom("global", "team", "agent", "contract"), {
      nil: undefined,
      freq: 8,
    }),
    fresh: fc.boolean(),
    standing: fc.constantFrom("normal", "warning", "throttle", "quarantine", "block"),
    hasPolicy: fc.integer({ min: 0, max: 9 }).map((n) => n > 0),
    shadow: shadowed,
    models: fc.constantFrom(["openai/gpt-5-mini"], []),
    hosts: fc.constantFrom(["api.openai.com"], []),
    model: fc.oneof(
      { weight: 4, arbitrary: fc.constant(model()) },
      missing,
      fc.constant(undefined),
    ),
    region: fc.option(fc.constantFrom("DE", "US"), { nil: undefined }),
    processing: fc.option(fc.constant(["DE"]), { nil: undefined }),
    hits: fc.array(fc.constantFrom("no-secrets", "unknown rule \u0000"), { maxLength: 3 }),
    scannedBytes: size,
    complete: fc.boolean(),
    scanMissing: fc.option(missing, { nil: undefined, freq: 8 }),
    cost: fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({
          worst: fc.record({ usdMicros: amount, tokens: amount, calls: amount }),
          overrunMicros: amount,
          outputTokensSet: fc.option(size, { nil: undefined }),
        }),
      },
      missing,
      fc.constant(undefined),
    ),
    draining: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
  })
  .map((of) => {
    const compiled = policy({ shadowStages: new Set(of.shadow), content: [contentRule()] });
    const granted = grant({
      models: of.models,
      hosts: of.hosts,
      regions: of.processing ? { processing: of.processing } : {},
    });
    const scan = {
      hits: of.hits.map((ruleId) => ({ ruleId, end: 1 })),
      scannedBytes: of.scannedBytes,
      complete: of.complete,
    };
    return facts({
      pass: of.pass,
      request: of.request,
      identity: of.identity,
      kill: { killedBy: of.killed as Facts["kill"]["killedBy"], fresh: of.fresh },
      standing: of.standing as Facts["standing"],
      policy: of.hasPolicy ? compiled : undefined,
      grant: of.hasPolicy ? granted : undefined,
      model: of.model,
      nodeRegion: of.region,
      scan: of.scanMissing ?? scan,
      cost: of.cost,
      draining: of.draining,
    });
  });

const context = fc
  .option(anyText, { nil: undefined })
  .map((clientRequestId) => ({ ...CONTEXT, clientRequestId }));

/** What a later step refuses, as `hold` puts it into the verdict. */
function refusedLater(verdict: Verdict, reason: Reason): Verdict {
  const stage = stageOf(reason);
  const stages = `${verdict.stages.slice(0, stage - 1)}D`.padEnd(14, "-");
  return { ...verdict, refusal: { reason, stage }, stages };
}

describe("records", () => {
  test("of whatever is decided can be written, and say what was decided", () => {
    fc.assert(
      fc.property(anyFacts, context, (asked, at) => {
        const verdict = decide(asked);
        // No refusal at the head means "go on reading": it is not recorded.
        if (asked.pass === "head" && verdict.refusal === undefined) return;
        const record = decisionRecord(asked, verdict, at);
        const read = decodeRecord(encodeLeaf(record));
        expect(read.ok && read.record).toEqual(record);
        const { refusal, wouldRefuse } = verdict;
        const dec = refusal ? "deny" : wouldRefuse.length > 0 ? "would_refuse" : "allow";
        expect(record.dec).toBe(dec);
        expect(record.hold === undefined).toBe(dec === "deny" || asked.cost === undefined);
      }),
      { numRuns: count, seed },
    );
  });

  test("of what a later step refuses can be written", () => {
    const later = fc.constantFrom<Reason>(
      "budget_exhausted",
      "killed_team",
      "rate_usd",
      "policy_changed",
      "audit_unavailable",
    );
    fc.assert(
      fc.property(anyFacts, later, (asked, reason) => {
        const verdict = decide(asked);
        if (asked.pass === "head" || verdict.refusal !== undefined) return;
        const record = decisionRecord(asked, refusedLater(verdict, reason), CONTEXT);
        expect(decodeRecord(encodeLeaf(record)).ok).toBe(true);
        expect(record).toMatchObject({ dec: "deny", rc: reason, st: stageOf(reason) });
      }),
      { numRuns: count, seed },
    );
  });

  test("of how a request ended can be written", () => {
    fc.assert(
      fc.property(
        anyFacts,
        fc.constantFrom<Reason>(...reasons),
        fc.option(anyText, { nil: undefined }),
        amount,
        (asked, reason, rule, spent) => {
          const cut = cutRecord(asked, { stage: stageOf(reason), reason, rule }, CONTEXT);
          expect(decodeRecord(encodeLeaf(cut)).ok).toBe(true);
          const end = {
            reason,
            spent: { usdMicros: spent, tokens: spent, calls: 1n },
            overrunMicros: spent,
            inspection: { n: 5, scanned: 5, rules: 1 },
          };
          expect(decodeRecord(encodeLeaf(settleRecord(asked, end, CONTEXT))).ok).toBe(true);
        },
      ),
      { numRuns: count, seed },
    );
  });

  test("a stage in shadow is named, and the request goes ahead with what was scanned", () => {
    const asked = facts({
      policy: policy({ shadowStages: new Set([9, 12]), content: [contentRule()] }),
      grant: grant({ models: [] }),
      scan: { hits: [{ ruleId: "no-secrets", end: 3 }], scannedBytes: 200, complete: true },
    });
    const record = decisionRecord(asked, decide(asked), CONTEXT);
    expect(record).toMatchObject({
      dec: "would_refuse",
      st: 9,
      rc: "model_not_granted",
      sv: "PPPPPPPPDSPDPP",
      in: { n: 200, scanned: 200, rules: 1 },
      hold: { usd_u: 5_000 },
    });
  });

  test("what was not scanned whole is said, though every byte was looked at", () => {
    const asked = facts({ scan: { hits: [], scannedBytes: 200, complete: false } });
    expect(decisionRecord(asked, decide(asked), CONTEXT).in).toMatchObject({
      skipped: "incomplete",
    });
  });

  test("a cut names its own stage and claims nothing of the others", () => {
    const record = cutRecord(
      facts(),
      { stage: 12, reason: "content_cut", rule: "no-secrets" },
      CONTEXT,
    );
    expect(record).toMatchObject({
      ph: "response",
      st: 12,
      sv: "-----------D--",
      rule: "no-secrets",
    });
  });

  test("the agent is named where it was established, and nowhere else", () => {
    const named = facts();
    expect(decisionRecord(named, decide(named), CONTEXT)).toMatchObject({
      ag: "spiffe://acme/agent/research/worker-1",
      kid: "k1234567",
    });
    const unknown = facts({ identity: { missing: "key_unknown" } });
    expect(decisionRecord(unknown, decide(unknown), CONTEXT)).not.toHaveProperty("ag");
  });

  test("the limit that was written into the request is in its record", () => {
    const cost = {
      worst: { usdMicros: 1n, tokens: 1n, calls: 1n },
      overrunMicros: 0n,
      outputTokensSet: 16_384,
    };
    const asked = facts({ cost, model: model({ provider: provider() }) });
    expect(decisionRecord(asked, decide(asked), CONTEXT).clamped).toBe(16_384);
  });
});
