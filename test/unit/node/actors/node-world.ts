import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { AccountLimits } from "../../../../coordinator/account-limits.ts";
import { accountNews } from "../../../../coordinator/account-news.ts";
import { readAmounts, writeAmounts, writeUnit } from "../../../../coordinator/amounts.ts";
import { ledgerSettings } from "../../../../coordinator/config.ts";
import type { Epoch } from "../../../../coordinator/epoch.ts";
import { LedgerActor } from "../../../../coordinator/ledger-actor.ts";
import type { LedgerAmounts } from "../../../../coordinator/ledger-window.ts";
import { refusedBody } from "../../../../coordinator/node-requests.ts";
import { Standings } from "../../../../coordinator/standings.ts";
import { ActorHost } from "../../../../node/actors/actor-host.ts";
import type { LadderChange } from "../../../../node/actors/ladder.ts";
import { overrunTill, rowTill } from "../../../../node/actors/till.ts";
import type { AskMesh } from "../../../../node/ask-mesh.ts";
import type { Cost } from "../../../../node/decision/facts.ts";
import { ledgerLink } from "../../../../node/ledger-link.ts";
import { setMoneyReturned } from "../../../../node/table/refusal-no.ts";
import { createRowOwner, type RowOwner, type RowRef } from "../../../../node/table/rows.ts";
import { NO_CELL } from "../../../../node/table/scope-cells.ts";
import { createTable, type Table } from "../../../../node/table/table.ts";
import type { CompiledPolicy } from "../../../../policy/compiled-policy.ts";
import { twinClock } from "../../../../ports/twin-clock.ts";
import { twinRandom } from "../../../../ports/twin-random.ts";
import { type CommitFate, type TwinStore, twinStore } from "../../../../ports/twin-store.ts";
import {
  type Answer,
  BatchReplySchema,
  type BatchRequest,
  LeaseReplySchema,
  type NodeReply,
  NodeReplySchema,
  type NodeRequest,
  NodeRequestSchema,
  SettleReplySchema,
  Standing,
  StandingReplySchema,
  type StandingRequest,
} from "../../../../proto/gen/altrace/v1/mesh_pb.ts";

export const NODE = "n1";

/** Lets everything run that waits for nothing but its turn. */
export async function settled(turns = 12): Promise<void> {
  for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** What happens to one message between a node and its coordinator. */
export type Passage = { readonly lost?: "request" | "reply"; readonly delayMs?: number };

export type NodeWorldOptions = {
  readonly limits: AccountLimits;
  readonly leaseTtlMs?: number;
  readonly leaseUsdMicros?: { readonly min: number; readonly max: number };
  readonly rows?: number;
  readonly policy?: CompiledPolicy;
};

/** A real ledger and a real node of actors and table, with the wire and both disks between them. */
export class NodeWorld {
  readonly clock = twinClock({ nowMs: Date.UTC(2026, 10, 22, 9, 30) });
  readonly ledger: LedgerActor;
  readonly faults: unknown[] = [];
  /** Every no of the ledger, and what it had in that instant. */
  readonly refusals: {
    readonly account: string;
    readonly atNs: bigint;
    readonly available: LedgerAmounts | undefined;
  }[] = [];
  readonly standings: [string, LadderChange][] = [];
  /** What nodes report, at the coordinator. */
  readonly meshStandings = new Standings(this.clock);
  /** Every report of this node that reached the coordinator. */
  readonly reported: StandingRequest[] = [];
  /** Every message that reached the ledger, by method. */
  readonly asked: string[] = [];
  /** Decides the fate of each message and commit of the node. */
  passage: (method: string) => Passage = () => ({});
  fate: () => CommitFate = () => "good";
  store: TwinStore;
  table!: Table;
  owner!: RowOwner;
  host!: ActorHost;
  bootId = "";
  readonly rows = new Map<string, RowRef>();
  readonly #options: NodeWorldOptions;
  readonly #random = twinRandom(7);
  #boots = 0;

  constructor(options: NodeWorldOptions) {
    this.#options = options;
    const epoch = { epoch: 1, guard: { key: "epoch", value: undefined } } as unknown as Epoch;
    const { leaseTtlMs = 30_000, leaseUsdMicros = { min: 100_000, max: 20_000_000 } } = options;
    this.ledger = new LedgerActor({
      store: twinStore(),
      clock: this.clock,
      random: twinRandom(1),
      tell: () => undefined,
      settings: ledgerSettings({ leaseTtlMs, usdMicros: leaseUsdMicros }),
      epoch,
      activeNodes: () => 1,
      isRemoved: () => false,
      mailboxMax: 10_000,
      onFenced: () => undefined,
    });
    this.ledger.setLimits(options.limits);
    this.store = twinStore({ commitFate: () => this.fate() });
    this.#boot();
  }

  /** Ends the node as `kill -9` would; what its disk has not kept is gone. */
  async crash(): Promise<void> {
    for (;;) {
      this.store = this.store.crash();
      this.#boot();
      try {
        await this.host.recover();
        return;
      } catch {
        // A disk that fails at the start ends the start; whoever watches the process tries again.
      }
    }
  }

  row(account: string): RowRef {
    const known = this.rows.get(account);
    if (known !== undefined) return known;
    const ref = this.owner.allot({ team: 1, agent: 2, contract: NO_CELL });
    if (ref === undefined) throw new Error("the table is full");
    this.rows.set(account, ref);
    this.host.rowCame(account);
    return ref;
  }

  /** Ticks as the control thread does, once for each second that passes. */
  async pass(ms: number): Promise<void> {
    // What was asked a moment ago is under way before time moves on.
    await settled();
    for (let left = ms; left > 0; left -= 1_000) {
      this.clock.advance(Math.min(left, 1_000));
      if (left >= 1_000) this.host.tick(30_000_000_000n);
      await settled(4);
    }
  }

  /** What the ledger can still lend of an account's unit, in its tightest window. */
  async available(account: string, unit: keyof LedgerAmounts): Promise<number> {
    const rows = await this.ledger.rows(account);
    return Math.min(...rows.filter((row) => row.unit === unit).map((row) => row.available));
  }

  #boot(): void {
    this.bootId = `boot-${++this.#boots}`;
    this.table = createTable({
      rows: this.#options.rows ?? 8,
      loops: 1,
      scopes: 8,
      writers: 3,
      proofs: 64,
    });
    this.owner = createRowOwner(this.table);
    this.rows.clear();
    const { table, bootId, clock, rows } = this;
    const random = this.#random;
    this.host = new ActorHost({
      store: this.store,
      clock,
      ledger: ledgerLink({
        ask: this.#wire(bootId),
        node: NODE,
        bootId,
        clock,
        random,
        policyVersion: () => this.#options.policy?.version ?? 0,
        onBarred: () => undefined,
        onNews: (account, news) => this.host.news(account, news),
      }),
      policy: () => this.#options.policy,
      tillOf: (account) =>
        account === "overrun" ? overrunTill(table) : rowTill(table, () => rows.get(account)),
      onReturned: (count) => setMoneyReturned(table, count),
      onStanding: (agentId, change) => this.standings.push([agentId, change]),
      onFault: (error) => this.faults.push(error),
    });
  }

  #wire(bootId: string): AskMesh {
    return (method, request, timeoutMs) =>
      new Promise((resolve) => {
        const cancel = this.clock.after(timeoutMs, () => resolve(undefined));
        const { lost, delayMs } = this.passage(method);
        if (lost === "request") return;
        const deliver = () =>
          void this.#answer(request, bootId).then((reply) => {
            if (lost === "reply") return;
            cancel();
            resolve({ bytes: reply, kid: "c1" });
          });
        if (delayMs === undefined) deliver();
        else this.clock.after(delayMs, deliver);
      });
  }

  async #answer(bytes: Uint8Array, bootId: string): Promise<Uint8Array> {
    const { requestId, body } = fromBinary(NodeRequestSchema, bytes);
    this.asked.push(body.case ?? "nothing");
    const reply =
      body.case === "batch"
        ? await this.#batchOf(bootId, body.value)
        : await this.#bodyOf(requestId, bootId, body);
    return toBinary(NodeReplySchema, create(NodeReplySchema, { requestId, body: reply }));
  }

  async #batchOf(bootId: string, { questions }: BatchRequest): Promise<NodeReply["body"]> {
    const answers = await Promise.all(
      questions.map(async ({ requestId, body }) => ({
        requestId,
        body: (await this.#bodyOf(requestId, bootId, body)) as Answer["body"],
      })),
    );
    return { case: "batch", value: create(BatchReplySchema, { answers }) };
  }

  async #bodyOf(
    requestId: string,
    bootId: string,
    body: NodeRequest["body"],
  ): Promise<NodeReply["body"]> {
    if (body.case === "lease") {
      const { account } = body.value;
      const need = readAmounts(body.value.need) as LedgerAmounts;
      const want = readAmounts(body.value.want) as LedgerAmounts;
      const grant = await this.ledger.lease({ node: NODE, bootId, requestId, account, need, want });
      if ("refused" in grant) {
        const available = "available" in grant ? grant.available : undefined;
        this.refusals.push({ account, atNs: this.clock.monoNs(), available });
        return refusedBody(grant.refused, grant.message, "available" in grant ? grant : {});
      }
      const { leaseId, epoch, amount, ttlMs, unlimited } = grant;
      const value = create(LeaseReplySchema, {
        leaseId,
        epoch: BigInt(epoch),
        account,
        amount: writeAmounts(amount),
        ttlMs: BigInt(ttlMs),
        unlimited: unlimited.map(writeUnit),
        ...(await this.#newsOf(account)),
      });
      return { case: "lease", value };
    }
    if (body.case === "standing") {
      const { agent, standing, standsAt, cause, scoreMilli } = body.value;
      this.reported.push(body.value);
      const report = { standing, standsAt, cause, scoreMilli: Number(scoreMilli) };
      this.meshStandings.report(agent, NODE, report);
      const news = await this.#newsOf(`agent/${agent}`);
      const value = create(StandingReplySchema, { standing: Standing.NORMAL, ...news });
      return { case: "standing", value };
    }
    if (body.case !== "settle") return refusedBody("unavailable", "not in this world");
    const { leaseId, epoch, final, keep } = body.value;
    const spent = readAmounts(body.value.spent) as LedgerAmounts;
    const answer = await this.ledger.settle({
      node: NODE,
      leaseId,
      epoch: Number(epoch),
      spent,
      final,
      keep: keep && readAmounts(keep),
    });
    if ("refused" in answer) return refusedBody(answer.refused, answer.message);
    const value = create(SettleReplySchema, {
      spent: writeAmounts(answer.spent),
      final: answer.final,
      account: answer.account,
      ...(await this.#newsOf(answer.account)),
    });
    return { case: "settle", value };
  }

  async #newsOf(account: string) {
    const of = {
      ledger: this.ledger,
      standings: this.meshStandings,
      nowMs: this.clock.nowMs(),
    };
    const news = await accountNews(of, account, NODE);
    return news === undefined ? {} : { news };
  }
}

export const usd = (usdMicros: bigint): Cost => ({ usdMicros, tokens: 0n, calls: 0n });

/** A team and its agents, limited in dollars. */
export function usdLimits(team: number, agents: Readonly<Record<string, number>>): AccountLimits {
  const total = (limit: number) => [
    { unit: "usd_micros" as const, window: "total" as const, limit },
  ];
  return [
    { account: "overrun", parent: undefined, limits: total(100_000_000) },
    { account: "team/t", parent: undefined, limits: total(team) },
    ...Object.entries(agents).map(([name, limit]) => ({
      account: `agent/t/${name}`,
      parent: "team/t",
      limits: total(limit),
    })),
  ];
}
