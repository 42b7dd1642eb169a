import { createHash } from "node:crypto";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { JournalRecordSchema } from "../../../proto/gen/altrace/v1/journal_pb.ts";
import { SealedSchema } from "../../../proto/gen/altrace/v1/mesh_pb.ts";
import { LeaseJournal } from "../../sim/lease-journal.ts";
import type { JournalLease, SimEvent } from "../../sim/sim-event.ts";

const LEASE = {
  id: "l1",
  status: "open",
  amount: { usd_micros: 1_000, tokens: 0, calls: 0 },
  spent: { usd_micros: 0, tokens: 0, calls: 0 },
} as unknown as JournalLease;
const SPENT = { ...LEASE, spent: { ...LEASE.spent, usd_micros: 700 } };

function entryOf({ id, ...lease }: JournalLease) {
  return { key: `ledger/lease/${id}`, value: Buffer.from(JSON.stringify(lease)) };
}

function changes(n: number, ...leases: readonly JournalLease[]): Uint8Array {
  return sealed(n, { case: "changes", value: { entries: leases.map(entryOf) } });
}

function snapshot(n: number, ...leases: readonly JournalLease[]): Uint8Array {
  return sealed(n, { case: "part", value: { no: 0, count: 1, entries: leases.map(entryOf) } });
}

type Body = NonNullable<MessageInitShape<typeof JournalRecordSchema>["body"]>;

function sealed(n: number, body: Body): Uint8Array {
  const record = create(JournalRecordSchema, { n: BigInt(n), body });
  const payload = toBinary(JournalRecordSchema, record);
  return toBinary(SealedSchema, create(SealedSchema, { payload }));
}

function copyAt(bytes: Uint8Array) {
  const hash = createHash("sha256").update(bytes).digest("hex");
  return [{ key: "journal/place", value: Buffer.from(JSON.stringify({ hash })) }];
}

function journalOf(stored: ReadonlySet<Uint8Array> = new Set()) {
  const told: SimEvent[] = [];
  const journal = new LeaseJournal(
    (event) => event.t !== "written" && told.push(event),
    (bytes) => stored.has(bytes),
  );
  return { journal, told };
}

test("a settlement that the stream lost before any disk had it never was, whoever writes on", () => {
  const { journal, told } = journalOf();
  journal.linked(changes(1, LEASE));
  journal.linked(changes(2, SPENT));
  journal.linked(snapshot(2, LEASE));
  expect(told.at(-1)).toEqual({ t: "undone", n: 2, isKept: false, leases: ["l1"] });
  expect(journal.leases.get("l1")).toEqual(LEASE);
});

test("a grant in a lost link is gone, so that the same request may be granted anew", () => {
  const { journal } = journalOf();
  journal.linked(changes(1, LEASE));
  journal.linked(changes(2, { ...LEASE, id: "l2" }));
  journal.linked(snapshot(2, LEASE));
  expect([...journal.leases.keys()]).toEqual(["l1"]);
});

test("a link that a coordinator's disk had is told as kept when another takes its number", () => {
  const { journal, told } = journalOf();
  const settled = changes(2, SPENT);
  journal.linked(changes(1, LEASE));
  journal.linked(settled);
  journal.copied(copyAt(settled));
  journal.linked(snapshot(2, LEASE));
  expect(told.at(-1)).toMatchObject({ t: "undone", n: 2, isKept: true });
});

test("a link that the stream still has is told as kept when another takes its number", () => {
  const settled = changes(2, SPENT);
  const { journal, told } = journalOf(new Set([settled]));
  journal.linked(changes(1, LEASE));
  journal.linked(settled);
  journal.linked(snapshot(2, LEASE));
  expect(told.at(-1)).toMatchObject({ t: "undone", n: 2, isKept: true });
});

test("a snapshot behind all that was written undoes nothing", () => {
  const { journal, told } = journalOf();
  journal.linked(changes(1, LEASE));
  journal.linked(snapshot(2, SPENT));
  expect(told.map(({ t }) => t)).toEqual(["lease", "lease"]);
});

test("a carve in a lost link is gone, with what its parent's row said of it", () => {
  const { journal } = journalOf();
  const bucket = { burst: 1, amount: 1, seconds: 1 };
  const common = { agent: "a/b", node: "n1", depth: 0, keySha256: "", chain: "", state: "open" };
  const rate = { req: bucket, tok: bucket, usd_u: bucket };
  const limit = { usd_micros: 9, tokens: 9, calls: 9 };
  const contract = (id: string, parent: string) => ({
    key: `ledger/contract/${id}`,
    value: Buffer.from(JSON.stringify({ ...common, id, parent, rate, limit, expiresMs: 1 })),
  });
  const row = (children: number) => ({
    key: "ledger/rows/contract/root",
    value: Buffer.from(JSON.stringify({ "calls|total": [0, 0, children] })),
  });
  const link = (n: number, ...entries: readonly ReturnType<typeof row>[]) =>
    sealed(n, { case: "changes", value: { entries: [...entries] } });
  journal.linked(link(1, contract("root", ""), row(0)));
  journal.linked(link(2, contract("child", "root"), row(9)));
  expect(journal.chainOf("child").map(({ id }) => id)).toEqual(["child", "root"]);
  expect(journal.row("root", "calls").children).toBe(9);
  journal.linked(link(2, row(0), contract("other", "root")));
  expect([...journal.contracts.keys()]).toEqual(["root", "other"]);
  expect(journal.row("root", "calls").children).toBe(0);
});
