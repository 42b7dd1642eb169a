import { encodeLeaf } from "../../../audit/leaf.ts";
import type { AuditRecord, DecisionRecord, SettleRecord } from "../../../audit/record.ts";
import { FULL_BUCKETS, NO_PARTS, WHOLE_PARTS } from "../../../mesh/rate-share.ts";
import { DIALECTS } from "../../../node/dataplane/dialects/registry.ts";
import { createMcpSessions } from "../../../node/dataplane/mcp-sessions.ts";
import type { CommitDeps } from "../../../node/decision/commit.ts";
import type { RecordContext } from "../../../node/decision/decision-record.ts";
import type { Cost, Facts } from "../../../node/decision/facts.ts";
import type { Asked } from "../../../node/gather.ts";
import { LiveDecisions } from "../../../node/live-decisions.ts";
import { LocalRefusals } from "../../../node/local-refusals.ts";
import type { LoopContext } from "../../../node/loop-context.ts";
import type { TopUpRequest } from "../../../node/loop-control-link.ts";
import { OpenHolds } from "../../../node/open-holds.ts";
import { NO_PLACEMENT } from "../../../node/placement-file.ts";
import { Possession } from "../../../node/possession.ts";
import type { NoShare } from "../../../node/rate-need.ts";
import { StrangerSightings } from "../../../node/stranger-sightings.ts";
import { balance, lend, lendOverrun, overrunBalance } from "../../../node/table/lend.ts";
import { setRateShares } from "../../../node/table/rate-share.ts";
import { createRowOwner, pin, type RowRef } from "../../../node/table/rows.ts";
import {
  createTable,
  setOpenUntilNs,
  setPolicyVersion,
  type Table,
} from "../../../node/table/table.ts";
import type { AgentEvent, SettledItem, TopUpAnswer } from "../../../node/thread-messages.ts";
import type { CompiledPolicy } from "../../../policy/compiled-policy.ts";
import { twinClock } from "../../../ports/twin-clock.ts";
import { grant, policy } from "../../support/builders.ts";
import { RecordedExchange } from "./dataplane/recorded-exchange.ts";

export const REQUEST_ID = "01998f3e-7c1a-7b2c-9d3e-5f60718293a4";

export const CONTEXT: RecordContext = {
  mesh: "acme",
  node: "n1",
  trustVersion: 1,
  clientRequestId: undefined,
  nowMs: Date.UTC(2026, 10, 23, 12),
  latencyUs: 12,
};

/** Scope cells of the world's one row. */
export const CELLS = { team: 1, agent: 2, contract: 3 };

/** One data loop with a real table and one row; everything outside it says what the test wants. */
export class LoopWorld {
  readonly clock = twinClock({ nowMs: CONTEXT.nowMs });
  readonly table: Table = createTable({ rows: 2, loops: 1, scopes: 8, writers: 3, proofs: 64 });
  readonly row: RowRef;
  readonly records: AuditRecord[] = [];
  /** Of them, those that the log may write a little later. */
  readonly soon: AuditRecord[] = [];
  readonly settled: SettledItem[] = [];
  readonly events: AgentEvent[] = [];
  readonly topUps: TopUpRequest[] = [];
  readonly strangers = new StrangerSightings();
  readonly told: string[] = [];
  /** Called with each record before it is kept; may throw as a disk would. */
  onAppend: (record: AuditRecord) => void = () => undefined;
  /** Called when all that was kept has to be with the kernel; may throw as a disk would. */
  onHandOver: () => void = () => undefined;
  canAllow = true;
  /** Up to when records are on the disk, monotonic nanoseconds. */
  syncedNs = 1n << 60n;
  /** What the control thread does about a top-up, and says. */
  onTopUp: (request: TopUpRequest) => TopUpAnswer = () => ({ outcome: "unavailable" });
  /** Whether a row that ran dry has more of its rate now. */
  onMoreRate = (): Promise<boolean> | undefined => undefined;
  /** As the control thread answers for a share of a rate: at once, with the whole. */
  onNeedRate = (): NoShare | undefined => {
    const untilNs = this.clock.monoNs() + 10_000_000_000n;
    const whole = { shares: WHOLE_PARTS, untilNs, before: NO_PARTS, addedLags: FULL_BUCKETS };
    setRateShares(this.table, this.row.row, whole, this.clock.monoNs());
    return undefined;
  };
  distrust = new Map<string, number>();
  policy: CompiledPolicy;

  constructor(over: Partial<CompiledPolicy> = {}) {
    this.policy = policy(over);
    const ref = createRowOwner(this.table).allot(CELLS);
    if (ref === undefined || !pin(this.table, 0, ref)) throw new Error("no row");
    this.row = ref;
    setPolicyVersion(this.table, this.policy.version);
    setOpenUntilNs(this.table, 1n << 60n);
  }

  lend(cost: Partial<Cost>, overrunMicros = 0n): void {
    lend(this.table, this.row.row, { usdMicros: 0n, tokens: 0n, calls: 0n, ...cost });
    lendOverrun(this.table, overrunMicros);
  }

  get left() {
    return { ...balance(this.table, this.row.row), overrunMicros: overrunBalance(this.table) };
  }

  get decisions(): readonly DecisionRecord[] {
    return this.records.flatMap((one) => (one.k === "decision" ? [one] : []));
  }

  get settlements(): readonly SettleRecord[] {
    return this.records.flatMap((one) => (one.k === "settle" ? [one] : []));
  }

  get commitDeps(): CommitDeps {
    return { table: this.table, log: this.#log(), nowNs: () => this.clock.monoNs() };
  }

  get loop(): LoopContext {
    const part: Partial<Record<keyof LoopContext, unknown>> = {
      loop: 0,
      mesh: CONTEXT.mesh,
      node: CONTEXT.node,
      region: "DE",
      table: this.table,
      clock: this.clock,
      log: this.#log(),
      controlLink: {
        topUp: async (request: TopUpRequest) => {
          this.topUps.push(request);
          return this.onTopUp(request);
        },
        needRate: async () => this.onNeedRate(),
        moreRate: () => this.onMoreRate(),
        settled: (item: SettledItem) => this.settled.push(item),
        event: (event: AgentEvent) => this.events.push(event),
        distrustMilli: (model: string) => this.distrust.get(model) ?? 0,
      },
      connections: { countOf: () => 1 },
      credentials: { secretOf: () => undefined, scrub: (words: string) => words },
      holds: new OpenHolds(this.clock),
      live: new LiveDecisions(),
      strangers: this.strangers,
      placement: NO_PLACEMENT,
      refusals: new LocalRefusals(this.table, () => this.clock.monoNs()),
      sessions: createMcpSessions(new Uint8Array(32)),
      possession: new Possession({
        table: this.table,
        clock: this.clock,
        verify: () => false,
        secret: new Uint8Array(32),
      }),
      metrics: {
        decided: ({ reason }: { reason: string }) => this.told.push(`decided ${reason}`),
        recordLost: () => this.told.push("record lost"),
        used: ({ model }: { model: string }) => this.told.push(`used ${model}`),
        firstText: (model: string) => this.told.push(`first text ${model}`),
        holdOverdue: () => this.told.push("hold overdue"),
        distrusted: (model: string) => this.told.push(`distrusted ${model}`),
      },
      policyOf: (version: number) => (version === this.policy.version ? this.policy : undefined),
      trustVersion: () => 1,
      isDraining: () => false,
    };
    return part as LoopContext;
  }

  /** A request for a chat completion whose body was read and understood. */
  asked(over: Partial<Asked> & { readonly maxOutputTokens?: number } = {}): Asked {
    const { maxOutputTokens = 1_000, ...rest } = over;
    const exchange = Object.assign(new RecordedExchange(), { requestId: REQUEST_ID });
    const dialect = DIALECTS.openai;
    const route = dialect.routes.find(({ kind }) => kind === "generate");
    if (route === undefined) throw new Error("no route");
    return {
      exchange: exchange as unknown as Asked["exchange"],
      found: { dialect, route, model: undefined },
      clientRequestId: undefined,
      row: {
        ...this.row,
        keyGeneration: 1,
        agentId: grant().agentId,
        keyId: "k1234567",
        contractId: undefined,
        notBeforeMs: 0,
        notAfterMs: 0,
      },
      identity: { agentId: grant().agentId, keyId: "k1234567", contractId: undefined },
      bodyBytes: 400,
      scan: { hits: [], scannedBytes: 400, complete: true },
      scannedWith: this.policy.content,
      request: {
        route: route.id,
        dialect: "openai",
        method: "POST",
        stream: false,
        bodyBytes: 400,
        model: "gpt-5-mini",
        tools: [],
        unpricedParameter: undefined,
      },
      read: {
        model: "gpt-5-mini",
        stream: false,
        tools: [],
        texts: [],
        messages: 1,
        maxOutputTokens,
        choices: 1,
        unpricedParameter: undefined,
        wantsUsage: false,
      },
      body: {
        head: { model: "gpt-5-mini", max_completion_tokens: maxOutputTokens },
        bulk: new TextEncoder().encode('"messages":[]'),
      },
      ...rest,
    };
  }

  #log(): CommitDeps["log"] {
    const append = (record: AuditRecord): void => {
      this.onAppend(record);
      // As the log itself does: what it cannot write down was not recorded.
      encodeLeaf(record);
      this.records.push(record);
    };
    return {
      canAllow: () => this.canAllow,
      isSynced: (sinceNs) => this.syncedNs >= sinceNs,
      append,
      appendSoon: (record) => {
        append(record);
        this.soon.push(record);
      },
      handOver: () => this.onHandOver(),
    };
  }
}

/** The exchange of `asked`, as a test looks at it. */
export function recorded({ exchange }: Asked): RecordedExchange {
  return exchange as unknown as RecordedExchange;
}

export function headerOf(headers: readonly string[], name: string): string | undefined {
  const at = headers.indexOf(name);
  return at < 0 ? undefined : headers[at + 1];
}

export function refusalOf(held: { readonly facts: Facts }): string {
  return "refused" in held
    ? ((held as { refused: { refusal?: { reason: string } } }).refused.refusal?.reason ?? "none")
    : "not refused";
}
