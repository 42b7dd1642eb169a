import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import type { AuditRecord } from "../../../audit/record.ts";
import { EMPTY_BOOK, newLease } from "../../../node/actors/account-book.ts";
import { encodeBook } from "../../../node/actors/agent-record.ts";
import { contentScanner } from "../../../node/content-scanner.ts";
import { Control, type ControlDeps } from "../../../node/control.ts";
import type { Cost } from "../../../node/decision/facts.ts";
import type { MeshAnswer } from "../../../node/mesh-status.ts";
import { balance, overrunBalance } from "../../../node/table/lend.ts";
import { createRowOwner, pin } from "../../../node/table/rows.ts";
import { NO_CELL } from "../../../node/table/scope-cells.ts";
import { standingOf } from "../../../node/table/standing.ts";
import { createTable, policyVersion } from "../../../node/table/table.ts";
import type {
  ControlToLoop,
  ControlToMesh,
  LoopToControl,
  MeshToControl,
  RowGrant,
  SettledItem,
} from "../../../node/thread-messages.ts";
import { readPolicy } from "../../../policy/read-policy.ts";
import { twinClock } from "../../../ports/twin-clock.ts";
import { twinRandom } from "../../../ports/twin-random.ts";
import { twinStore } from "../../../ports/twin-store.ts";
import {
  AmountsSchema,
  AnswerSchema,
  BatchReplySchema,
  LeaseReplySchema,
  type NodeReply,
  NodeReplySchema,
  type NodeRequest,
  NodeRequestSchema,
} from "../../../proto/gen/altrace/v1/mesh_pb.ts";
import { comesTrue } from "../../support/comes-true.ts";
import { e2ePolicy } from "../../support/e2e-policy.ts";

const AGENT = "t/a";
const usd = (usdMicros: bigint): Cost => ({ usdMicros, tokens: 0n, calls: 0n });

function bundleOfTests(): Uint8Array {
  const text = e2ePolicy("http://127.0.0.1:1");
  const read = readPolicy(text, { file: "policy.yaml", scanner: contentScanner });
  if (!read.ok) throw new Error("the policy of the end-to-end tests is not one");
  return read.bundle;
}

/** A control thread whose other threads are the test, and a ledger that grants what is wanted. */
function world(over: Partial<ControlDeps> = {}) {
  const clock = twinClock();
  const table = createTable({ rows: 4, loops: 1, scopes: 8, writers: 3, proofs: 64 });
  const owner = createRowOwner(table);
  const store = twinStore();
  const posted: ControlToLoop[] = [];
  const logged: string[] = [];
  const toMesh: ControlToMesh[] = [];
  const questions: NodeRequest["body"][] = [];
  const records: AuditRecord[] = [];
  let fromMesh: (message: MeshToControl) => void = () => undefined;
  let fromLoop: (message: LoopToControl) => void = () => undefined;
  let leases = 0;
  const lent = () => {
    const value = create(LeaseReplySchema, {
      leaseId: `l${++leases}`,
      epoch: 1n,
      amount: create(AmountsSchema, usd(3_000_000n)),
      ttlMs: 300_000n,
    });
    return { case: "lease" as const, value };
  };
  const replied = (body: NodeReply["body"]): MeshAnswer => {
    const bytes = toBinary(NodeReplySchema, create(NodeReplySchema, { body }));
    return { bytes, kid: "c1" };
  };
  const deps = {
    mesh: "acme",
    node: "n1",
    bootId: "b1",
    table,
    store,
    clock,
    random: twinRandom(1),
    meshLink: {
      onMessage: (fn: typeof fromMesh) => {
        fromMesh = fn;
      },
      post: (message: ControlToMesh) => toMesh.push(message),
      ask: async (method: string, bytes: Uint8Array) => {
        const asked = fromBinary(NodeRequestSchema, bytes).body;
        questions.push(
          ...(asked.case === "batch" ? asked.value.questions.map((q) => q.body) : [asked]),
        );
        if (asked.case === "lease") return replied(lent());
        if (asked.case !== "batch") return undefined;
        const answers = asked.value.questions
          .filter(({ body }) => body.case === "lease")
          .map(({ requestId }) => create(AnswerSchema, { requestId, body: lent() }));
        expect(method).toBe("batch");
        return replied({ case: "batch", value: create(BatchReplySchema, { answers }) });
      },
    },
    loops: [
      {
        no: 0,
        post: (message: ControlToLoop) => posted.push(message),
        onMessage: (fn: typeof fromLoop) => {
          fromLoop = fn;
        },
      },
    ],
    append: (record: AuditRecord) => records.push(record),
    log: new Proxy({}, { get: (_, name) => () => logged.push(String(name)) }),
    ...over,
  };
  const control = new Control(deps as unknown as ControlDeps);
  const allot = (contract = NO_CELL) => {
    const ref = owner.allot({ team: 1, agent: 2, contract });
    if (ref === undefined) throw new Error("full");
    return ref;
  };
  return {
    control,
    clock,
    table,
    owner,
    store,
    posted,
    logged,
    records,
    toMesh,
    questions,
    allot,
    mesh: (message: MeshToControl) => fromMesh(message),
    loop: (message: LoopToControl) => fromLoop(message),
  };
}

type World = ReturnType<typeof world>;
type Ref = ReturnType<World["allot"]>;

const grantOf = (ref: Ref, contractId?: string): RowGrant => ({
  ...ref,
  keyGeneration: 1,
  agentId: AGENT,
  keyId: "k1234567",
  contractId,
  notBeforeMs: 0,
  notAfterMs: 0,
});

function topUp(one: World, id: number, ref: Ref, over: { contractId?: string } = {}): void {
  one.loop({
    t: "top_up",
    id,
    ...ref,
    agentId: AGENT,
    contractId: over.contractId,
    need: usd(5n),
    overrunMicros: 0n,
  });
}

async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
}

const answers = (one: World) => one.posted.filter(({ t }) => t === "topped_up");

describe("the control thread", () => {
  test("has a share of the overrun account with its first policy, before any request", async () => {
    const one = world();
    await one.control.start();
    await settle();
    expect(one.control.ledgerWay.isOpen).toBe(false);
    const bundle = bundleOfTests();
    one.mesh({ t: "policy", version: 1, sha256: "0".repeat(64), bundle });
    await comesTrue(() =>
      expect(one.posted).toContainEqual(expect.objectContaining({ t: "policy" })),
    );
    one.loop({ t: "policy_ready", version: 1 });
    await settle();
    expect(one.control.ledgerWay.isOpen).toBe(true);
    expect(overrunBalance(one.table)).toBeGreaterThan(0n);
    // The way of rates as well, of which no share was asked for.
    const rates = one.questions.flatMap((body) =>
      body.case === "rate" ? [body.value.account] : [],
    );
    expect(rates).toEqual(["overrun"]);
  });

  test("gives up rows that nobody uses, but only once half of the table is in use", async () => {
    const one = world();
    await one.control.start();
    const agents = ["t/a", "t/b", "t/c"];
    for (const agentId of agents) {
      one.mesh({ t: "row", grant: { ...grantOf(one.allot()), agentId } });
      if (agentId === "t/c") continue;
      one.clock.advance(60_000);
      await settle();
      expect(one.toMesh.filter(({ t }) => t === "free_row")).toEqual([]);
    }
    for (let i = 0; i < 3; i++) {
      one.clock.advance(60_000);
      await settle();
    }
    const freed = one.toMesh.flatMap((said) => (said.t === "free_row" ? [said.agentId] : []));
    expect([...new Set(freed)].sort()).toEqual(agents);
  });

  test("so does an agent whose row came while it was active, once it is not", async () => {
    const one = world();
    await one.control.start();
    const event = { agentId: AGENT, allowed: true, requestId: "r1" };
    one.loop({ t: "events", items: [event] } as unknown as LoopToControl);
    await settle();
    for (const agentId of [AGENT, "t/b", "t/c"]) {
      one.mesh({ t: "row", grant: { ...grantOf(one.allot()), agentId } });
    }
    const given = () => one.toMesh.flatMap((said) => (said.t === "free_row" ? [said.agentId] : []));
    one.clock.advance(2_000);
    await settle();
    expect(given()).not.toContain(AGENT);
    for (let i = 0; i < 3; i++) {
      one.clock.advance(60_000);
      await settle();
    }
    expect(given()).toContain(AGENT);
  });

  test("hears what is said while it still settles the books of the last run", async () => {
    const one = world();
    const lease = newLease({ id: "old", epoch: 1, amount: usd(5n), deadlineNs: 0n });
    const book = encodeBook({ ...EMPTY_BOOK, leases: [{ ...lease, lent: usd(2n) }] });
    await one.store.commit([{ key: `book/agent/${AGENT}`, value: book }]);
    const started = one.control.start();
    const ref = one.allot();
    one.mesh({ t: "row", grant: grantOf(ref) });
    one.mesh({ t: "kills", scopes: ["team/t"] });
    topUp(one, 1, ref);
    await started;
    await settle();
    expect([...one.control.killed]).toEqual(["team/t"]);
    expect(answers(one)).toEqual([{ t: "topped_up", id: 1, outcome: "ok" }]);
    expect(one.store.get("settle/old")).toBeDefined();
  });

  test("asks for a certificate as soon as its first policy comes, and under a later one once it is in force", async () => {
    const createKeyPair = async () => ({ publicKey: new Uint8Array(32), privateKey: "pem" });
    const one = world({ createKeyPair });
    await one.control.start();
    const text = e2ePolicy("http://127.0.0.1:1");
    const read = readPolicy(text, { file: "policy.yaml", scanner: contentScanner });
    if (!read.ok) throw new Error("the policy of the end-to-end tests is not one");
    const asked = () =>
      one.questions.flatMap((body) => (body.case === "certify" ? [body.value.policyV] : []));
    const offered = async (version: number) => {
      const before = one.posted.length;
      one.mesh({ t: "policy", version, sha256: "0".repeat(64), bundle: read.bundle });
      await comesTrue(() =>
        expect(one.posted.slice(before)).toContainEqual(expect.objectContaining({ t: "policy" })),
      );
    };
    await offered(1);
    expect(asked()).toEqual([1n]);
    one.loop({ t: "policy_ready", version: 1 });
    await offered(2);
    expect(asked()).toEqual([1n]);
    one.loop({ t: "policy_ready", version: 2 });
    await comesTrue(() => expect(asked()).toEqual([1n, 2n]));
  });

  test("asks for money under its policy while the log's thread begins, and decides over nothing before it works", async () => {
    const one = world();
    const { promise: logged, resolve: works } = Promise.withResolvers<void>();
    const started = one.control.start(logged);
    one.mesh({ t: "policy", version: 1, sha256: "0".repeat(64), bundle: bundleOfTests() });
    await comesTrue(() =>
      expect(one.posted).toContainEqual(expect.objectContaining({ t: "policy" })),
    );
    one.loop({ t: "policy_ready", version: 1 });
    await comesTrue(() => expect(one.control.ledgerWay.isOpen).toBe(true));
    expect(policyVersion(one.table)).toBe(0);
    works();
    await started;
    expect(policyVersion(one.table)).toBe(1);
  });

  test("lends to a row from the loop's question, before the mesh thread's word of it", async () => {
    const one = world();
    await one.control.start();
    const ref = one.allot();
    topUp(one, 1, ref);
    await settle();
    expect(balance(one.table, ref.row).usdMicros).toBe(1_000_000n);
  });

  test("word of a row that is gone by now changes nothing, and says so", async () => {
    const one = world();
    await one.control.start();
    const old = one.allot();
    topUp(one, 1, old);
    await settle();
    one.owner.retire(old.row);
    const ref = one.allot();
    one.mesh({ t: "row", grant: grantOf(ref) });
    topUp(one, 2, old);
    topUp(one, 3, ref);
    await settle();
    expect(answers(one).slice(1)).toEqual([
      { t: "topped_up", id: 2, outcome: "row_gone" },
      { t: "topped_up", id: 3, outcome: "ok" },
    ]);
    // What lay unheld in the old row serves the new one.
    expect(balance(one.table, old.row)).toEqual(usd(0n));
    expect(one.owner.reclaim(old.row)).toBe(true);
  });

  test("what requests left in a row that is freed comes back to its account", async () => {
    const one = world();
    await one.control.start();
    const ref = one.allot();
    topUp(one, 1, ref);
    await settle();
    one.owner.retire(ref.row);
    one.mesh({ t: "row_freed", agentId: AGENT, ...ref });
    await settle();
    expect(balance(one.table, ref.row)).toEqual(usd(0n));
    expect(one.control.actors.view(`agent/${AGENT}`)?.state.book.leases).toEqual([]);
  });

  test("a contract's row of the same agent borrows for the contract, and stands as its agent does", async () => {
    const one = world();
    await one.control.start();
    const own = one.allot();
    const contract = one.allot(3);
    one.mesh({ t: "row", grant: grantOf(own) });
    one.mesh({ t: "row", grant: grantOf(contract, "c1") });
    topUp(one, 1, contract, { contractId: "c1" });
    topUp(one, 2, own);
    await settle();
    expect(answers(one)).toEqual([
      { t: "topped_up", id: 1, outcome: "ok" },
      { t: "topped_up", id: 2, outcome: "ok" },
    ]);
    for (const account of ["contract/c1", `agent/${AGENT}`]) {
      expect(one.control.actors.view(account)?.state.book.leases).toHaveLength(1);
    }
    one.mesh({ t: "row_freed", agentId: AGENT, contractId: "c1", ...contract });
    await settle();
    expect(balance(one.table, own.row).usdMicros).toBeGreaterThan(0n);
  });

  test("a revive of the agent alone clears its ladder, whatever else is killed", async () => {
    const one = world();
    await one.control.start();
    const ref = one.allot();
    one.mesh({ t: "row", grant: grantOf(ref) });
    expect(pin(one.table, 0, ref)).toBe(true);
    one.mesh({ t: "kills", scopes: ["team/t", `agent/${AGENT}`] });
    one.mesh({ t: "kills", scopes: [] });
    await settle();
    expect(one.records).toEqual([]);
    one.mesh({ t: "revived", agentId: AGENT });
    await settle();
    expect(standingOf(one.table, ref.row)).toBe("warning");
    expect(one.records).toMatchObject([
      { k: "standing", from: "normal", to: "warning", rc: "operator" },
    ]);
    expect(one.posted).toContainEqual({ t: "standing", agentId: AGENT, standing: "warning" });
  });

  test("a bill that teaches distrust is logged and told to every loop, and overrun is charged", async () => {
    const one = world();
    await one.control.start();
    const item: SettledItem = {
      requestId: "r1",
      agentId: AGENT,
      row: 0,
      generation: 0,
      held: usd(5n),
      spent: usd(5n),
      overrunHeldMicros: 1n,
      overrunSpentMicros: 4n,
      model: "openai/gpt-5-mini",
      uncovered: { ...usd(0n), overrunMicros: 2n },
      distrustMilli: 1_800,
    };
    one.loop({ t: "settled", items: [item] });
    await settle();
    expect(one.logged).toEqual(["overrun", "distrust", "distrustRefused"]);
    expect(one.posted).toEqual([
      { t: "distrust", model: "openai/gpt-5-mini", distrustMilli: 1_800, era: 0 },
    ]);
    expect(one.records).toMatchObject([
      { k: "distrust", model: "openai/gpt-5-mini", milli: 1_800, by: "bill", rid: "r1" },
    ]);
    // Nothing was lent to this row or to overrun, so all of it is owed.
    expect(one.control.actors.view("overrun")?.state.book.debt).toEqual(usd(4n));
    expect(one.control.actors.view(`agent/${AGENT}`)?.state.book.debt).toEqual(usd(5n));
  });
});
