import { describe, expect, test } from "vitest";
import { type BusHub, createBusHub } from "../../../adapters/in-process-bus.ts";
import { beginEpoch } from "../../../coordinator/epoch.ts";
import { JOURNAL_LIMITS } from "../../../coordinator/journal-parts.ts";
import { JournalFault, LedgerJournal } from "../../../coordinator/ledger-journal.ts";
import { EPOCH_KEY } from "../../../coordinator/store-keys.ts";
import { kidOf } from "../../../mesh/kid-of.ts";
import { TAKEN_OUT_MS, TrustView } from "../../../mesh/trust.ts";
import { BusFault } from "../../../ports/bus.ts";
import type { Signer } from "../../../ports/keys.ts";
import { StoreFault } from "../../../ports/store.ts";
import { type AppendFate, type TwinBus, twinBus } from "../../../ports/twin-bus.ts";
import { twinClock } from "../../../ports/twin-clock.ts";
import { twinKeys } from "../../../ports/twin-keys.ts";
import { twinRandom } from "../../../ports/twin-random.ts";
import { type CommitFate, type TwinStore, twinStore } from "../../../ports/twin-store.ts";
import { JOURNAL_STREAM, JOURNAL_SUBJECT } from "../../../proto/subjects.ts";
import { proofCount } from "../../support/proof.ts";

const MESH = "m";

/** Coordinators around one stream, each with a disk and a key of its own. */
class World {
  readonly clock = twinClock();
  readonly random = twinRandom(5);
  readonly keys = twinKeys(this.random);
  readonly told: string[] = [];
  readonly trust = new TrustView({
    mesh: MESH,
    operatorPublicKey: this.keys.loadOrCreate("operator").publicKey,
  });
  hub: BusHub = createBusHub(undefined, this.clock);
  readonly trusted = new Map<string, Signer>();
  /** Keys of coordinators that an operator has taken out of use. */
  readonly takenOut = new Set<string>();

  coordinator(name: string, options: Options = {}): Replica {
    return new Replica(this, name, options);
  }

  /** A trust view answers for the coordinators that a test has made when it last learnt of them. */
  view(trusted: Pick<ReadonlyMap<string, Signer>, "get">): TrustView {
    return {
      lookup: (kid: string) => {
        const signer = trusted.get(kid);
        return (
          signer && {
            kid,
            publicKey: signer.publicKey,
            role: "coordinator",
            nodeId: undefined,
            pinned: false,
            notBeforeMs: 0,
            notAfterMs: this.takenOut.has(kid) ? TAKEN_OUT_MS : 0,
          }
        );
      },
      formerCoordinators: () => [...this.takenOut],
    } as unknown as TrustView;
  }

  /** A stream that holds these alone, behind so many sequences that it has forgotten. */
  async refill(messages: readonly Uint8Array[], forgotten: number): Promise<void> {
    this.hub = createBusHub(undefined, this.clock);
    const bus = this.hub.connect();
    const gone = Array.from({ length: forgotten }, () => Buffer.from("gone"));
    for (const [expectSeq, bytes] of [...gone, ...messages].entries()) {
      await bus.append(JOURNAL_SUBJECT, bytes, { msgId: `f${expectSeq}`, expectSeq });
    }
  }

  /** A stream that has lost everything after its first `count` messages: a power cut, an old copy. */
  async rollBack(count: number): Promise<void> {
    const before = await this.hub.connect().read(JOURNAL_STREAM, 0, count);
    this.hub = createBusHub(undefined, this.clock);
    const bus = this.hub.connect();
    let expectSeq = 0;
    for (const [index, { bytes }] of before.entries()) {
      const stored = await bus.append(JOURNAL_SUBJECT, bytes, { msgId: `r${index}`, expectSeq });
      expectSeq = (stored as { seq: number }).seq;
    }
  }
}

type Options = {
  readonly appendFate?: () => AppendFate;
  readonly commitFate?: () => CommitFate;
  readonly snapshotEvery?: number;
  readonly learnTrust?: () => Promise<void>;
};

class Replica {
  readonly #world: World;
  readonly #options: Options;
  readonly signer: Signer;
  store: TwinStore;
  bus: TwinBus;
  journal: LedgerJournal;
  #trusted: ReadonlyMap<string, Signer> = new Map();

  constructor(world: World, name: string, options: Options) {
    this.#world = world;
    this.#options = options;
    this.signer = world.keys.loadOrCreate(name);
    world.trusted.set(kidOf(this.signer.publicKey), this.signer);
    this.store = twinStore(options.commitFate ? { commitFate: options.commitFate } : {});
    this.bus = this.#connect();
    this.journal = this.#open();
  }

  /** Begins anew on what the disk holds, with a connection to the stream as it is now. */
  restart(): LedgerJournal {
    void this.journal.close();
    this.store = this.store.crash();
    this.bus = this.#connect();
    this.journal = this.#open();
    return this.journal;
  }

  /** Takes over, as a leader does. Returns its run. */
  async lead(): Promise<number> {
    await this.journal.catchUp();
    const { epoch } = await beginEpoch(this.journal);
    expect(await this.journal.snapshot()).toBe("committed");
    return epoch;
  }

  #connect(): TwinBus {
    const { appendFate } = this.#options;
    return twinBus(this.#world.hub.connect(), appendFate ? { appendFate } : {});
  }

  #open(): LedgerJournal {
    const { clock, keys, told } = this.#world;
    const { snapshotEvery } = this.#options;
    const learn = async () => {
      this.#trusted = new Map(this.#world.trusted);
    };
    return new LedgerJournal({
      mesh: MESH,
      trust: this.#world.view({ get: (kid: string) => this.#trusted.get(kid) }),
      learnTrust: this.#options.learnTrust ?? learn,
      signer: this.signer,
      verify: keys.verify,
      clock,
      random: this.#world.random,
      bus: this.bus,
      store: this.store,
      tell: (event) => told.push(event),
      ...(snapshotEvery === undefined ? {} : { snapshotEvery }),
    });
  }
}

const put = (key: string, value: string) => ({ key, value: new Uint8Array(Buffer.from(value)) });
const contents = (journal: LedgerJournal) =>
  journal
    .list("")
    .filter(([key]) => key !== EPOCH_KEY)
    .map(([key, value]) => (/^barred\//.test(key) ? "barred" : `${key}=${Buffer.from(value)}`));

describe("the ledger's journal", () => {
  test("J1: of two that write on one link, one has written; the other may write no more", async () => {
    const world = new World();
    const [a, b] = [world.coordinator("a"), world.coordinator("b")];
    await a.lead();
    await b.journal.catchUp();
    const outcomes = await Promise.all([
      a.journal.commit([put("x", "a")]),
      b.journal.commit([put("x", "b")]),
    ]);
    expect(outcomes.sort()).toEqual(["committed", "conflict"]);
    await a.journal.catchUp();
    await b.journal.catchUp();
    expect(contents(a.journal)).toEqual(contents(b.journal));
  });

  test("J1: a new run ends the one before, which learns it at its next commit", async () => {
    const world = new World();
    const [a, b] = [world.coordinator("a"), world.coordinator("b")];
    expect(await a.lead()).toBe(1);
    await a.journal.commit([put("x", "1")]);
    expect(await b.lead()).toBe(2);
    expect(contents(b.journal)).toEqual(["x=1"]);
    expect(await a.journal.commit([put("x", "2")])).toBe("conflict");
    expect(await b.journal.commit([put("x", "3")])).toBe("committed");
    await a.journal.catchUp();
    expect(contents(a.journal)).toEqual(["x=3"]);
  });

  test.each(["not_stored", "stored_unanswered"] as const)(
    "J2: an append that failed as %s is found out, and happens once",
    async (fate) => {
      const world = new World();
      let fates: AppendFate[] = [];
      const a = world.coordinator("a", { appendFate: () => fates.shift() ?? "good" });
      await a.lead();
      fates = [fate, fate, "good"];
      const committed = a.journal.commit([put("x", "1")]);
      for (let step = 0; step < 20; step += 1) {
        await new Promise(setImmediate);
        world.clock.advance(100);
      }
      expect(await committed).toBe("committed");
      const b = world.coordinator("b");
      await b.journal.catchUp();
      expect(contents(b.journal)).toEqual(["x=1"]);
    },
  );

  test("J2: what a disk that failed did not take is on it after the next commit", async () => {
    const world = new World();
    let fate: CommitFate = "good";
    const a = world.coordinator("a", { commitFate: () => fate });
    await a.lead();
    fate = "fails_not_persisted";
    await expect(a.journal.commit([put("x", "1")])).rejects.toThrow();
    // It is in the stream, so it counts.
    expect(contents(a.journal)).toEqual(["x=1"]);
    fate = "good";
    await a.journal.commit([put("y", "2")]);
    const again = a.restart();
    expect(contents(again)).toEqual(["x=1", "y=2"]);
  });

  test.each([false, true])(
    "J8: what no link holds is one commit all the same; its writer fails before it is whole: %s",
    async (fails) => {
      const world = new World();
      let appends = Number.POSITIVE_INFINITY;
      const a = world.coordinator("a", {
        appendFate: () => (appends-- > 0 ? "good" : "not_stored"),
      });
      await a.lead();
      const many = (value: string | undefined) =>
        Array.from({ length: 8_000 }, (_, no) =>
          value === undefined ? { key: `lease/${no}`, value } : put(`lease/${no}`, value),
        );
      await a.journal.commit([put("x", "1"), put("gone", "1")]);
      if (fails) appends = 3;
      const commit = a.journal.commit([
        put("x", "2"),
        { key: "gone", value: undefined },
        ...many("y".repeat(200)),
      ]);
      commit.catch(() => undefined);
      for (let turn = 0; turn < 50; turn += 1) await new Promise(setImmediate);
      if (fails) await a.journal.close();
      expect(await commit.catch(() => "unknown")).toBe(fails ? "unknown" : "committed");
      expect(contents(a.restart())).toHaveLength(fails ? 2 : 8_001);
      const b = world.coordinator("b");
      await b.lead();
      expect(contents(b.journal)).toHaveLength(fails ? 2 : 8_001);
      expect(contents(b.journal).at(-1)).toBe(fails ? "x=1" : "x=2");
      if (fails) return;
      expect(contents(a.journal)).toEqual(contents(b.journal));
      const removed = await b.journal.commit([...many(undefined), put("x", "z".repeat(600_000))]);
      expect([removed, contents(b.journal).length]).toEqual(["committed", 1]);
    },
  );

  test("J2: close ends a commit whose outcome nobody knows", async () => {
    const world = new World();
    const a = world.coordinator("a", { appendFate: () => "not_stored" });
    const committing = a.journal.commit([put("x", "1")]);
    committing.catch(() => undefined);
    await new Promise(setImmediate);
    await a.journal.close();
    await expect(committing).rejects.toThrow("closed");
  });

  test("J3: a stream that lost its end gets it back from whoever remembers", async () => {
    const world = new World();
    const a = world.coordinator("a");
    await a.lead();
    for (let no = 0; no < 6; no += 1) await a.journal.commit([put(`k${no}`, `${no}`)]);
    await world.rollBack(4);
    a.restart();
    await a.lead();
    expect(world.told).toContain("journal_rolled_back");
    expect(contents(a.journal)).toHaveLength(6);
    await a.journal.commit([put("k6", "6")]);
    const b = world.coordinator("b");
    await b.lead();
    expect(contents(b.journal)).toHaveLength(7);
  });

  test("J3: the same where the stream has lost everything", async () => {
    const world = new World();
    const a = world.coordinator("a");
    await a.lead();
    await a.journal.commit([put("x", "1")]);
    await world.rollBack(0);
    a.restart();
    expect(await a.lead()).toBe(2);
    const b = world.coordinator("b");
    expect(await b.lead()).toBe(3);
    expect(contents(b.journal)).toEqual(["x=1"]);
  });

  test("J4: what no coordinator sealed is passed over, and so is an old link that comes again", async () => {
    const world = new World();
    const a = world.coordinator("a");
    await a.lead();
    await a.journal.commit([put("x", "1")]);
    const outside = world.hub.connect();
    const links = await outside.read(JOURNAL_STREAM, 0, 100);
    let expectSeq = links.at(-1)?.seq ?? 0;
    for (const [index, bytes] of [Buffer.from("junk"), ...links.map((l) => l.bytes)].entries()) {
      const stored = await outside.append(JOURNAL_SUBJECT, bytes, {
        msgId: `j${index}`,
        expectSeq,
      });
      expectSeq = (stored as { seq: number }).seq;
    }
    const b = world.coordinator("b");
    await b.lead();
    expect(contents(b.journal)).toEqual(["x=1"]);
    await b.journal.commit([put("y", "2")]);
    await a.journal.catchUp();
    expect(contents(a.journal)).toEqual(["x=1", "y=2"]);
    expect(world.told).toContain("journal_link_refused");
  });

  test("J6: a link of a coordinator that was added unheard is taken in, not written over", async () => {
    const world = new World();
    const a = world.coordinator("a");
    await a.lead();
    await a.journal.commit([put("x", "1")]);
    const added = world.coordinator("b");
    await added.lead();
    await added.journal.commit([put("y", "2")]);
    expect(await a.journal.commit([put("z", "3")])).toBe("conflict");
    await a.lead();
    expect(contents(a.journal)).toEqual(["x=1", "y=2"]);
    expect(world.told).not.toContain("journal_link_refused");
  });

  test("J6: while nobody can say who may seal, nothing that may be a link is passed over", async () => {
    const world = new World();
    const a = world.coordinator("a", {
      learnTrust: () => Promise.reject(new BusFault("timeout", "no answer")),
    });
    await a.lead();
    await world.coordinator("b").lead();
    await expect(a.lead()).rejects.toThrow(BusFault);
  });

  test("J7: what a leader that is removed has lent is lent for the one that follows it", async () => {
    const world = new World();
    const [a, b, c] = [world.coordinator("a"), world.coordinator("b"), world.coordinator("c")];
    await a.lead();
    await b.journal.catchUp();
    await a.journal.commit([put("lent", "unread by b")]);
    world.takenOut.add(kidOf(a.signer.publicKey));
    await a.journal.commit([put("later", "before a heard of it")]);
    await b.lead();
    await c.lead();
    for (const { journal } of [b, c]) {
      expect(contents(journal)).toEqual([
        "barred",
        "later=before a heard of it",
        "lent=unread by b",
      ]);
    }
  });

  test("J7: what it writes once another has said that it knows counts for nobody", async () => {
    const world = new World();
    const [a, b, c] = [world.coordinator("a"), world.coordinator("b"), world.coordinator("c")];
    await a.lead();
    await a.journal.commit([put("x", "1")]);
    world.takenOut.add(kidOf(a.signer.publicKey));
    await b.lead();
    // As one would that has the key and may write into the stream: a snapshot stands by itself.
    await a.journal.catchUp();
    await a.journal.commit([put("x", "all of it")]);
    expect(await a.journal.snapshot()).toBe("committed");
    for (const { journal } of [b, c]) {
      await journal.catchUp();
      expect(contents(journal)).toEqual(["barred", "x=1"]);
    }
    expect(world.told).toContain("journal_link_refused");
    await c.lead();
    await b.journal.catchUp();
    expect(contents(b.journal)).toEqual(["barred", "x=1"]);
  });

  test("J7: what counted before a key was barred counts for one that reads it once more", async () => {
    const world = new World();
    const [a, b, c] = [world.coordinator("a"), world.coordinator("b"), world.coordinator("c")];
    await a.lead();
    await a.journal.commit([put("lent", "by a")]);
    const { length } = await world.hub.connect().read(JOURNAL_STREAM, 0, 100);
    world.takenOut.add(kidOf(a.signer.publicKey));
    await b.lead();
    await c.journal.catchUp();
    // The stream loses what b wrote, and another one goes on from there that ends before its snapshot.
    await world.rollBack(length);
    const d = world.coordinator("d");
    await d.journal.catchUp();
    await beginEpoch(d.journal);
    for (const value of "123456") await d.journal.commit([put("x", value)]);
    await c.restart().catchUp();
    expect(contents(c.journal)).toEqual(["barred", "lent=by a", "x=6"]);
  });

  test("J7: one that is trusted again leads again, and its links count", async () => {
    const world = new World();
    const [a, b] = [world.coordinator("a"), world.coordinator("b")];
    await a.lead();
    world.takenOut.add(kidOf(a.signer.publicKey));
    await b.lead();
    world.takenOut.clear();
    await a.lead();
    await a.journal.commit([put("x", "1")]);
    await b.journal.catchUp();
    expect(contents(b.journal)).toEqual(["x=1"]);
  });

  test("J4: an unreadable last message is no lost end, though the own place is forgotten", async () => {
    const world = new World();
    const [a, b] = [world.coordinator("a", { snapshotEvery: 2 }), world.coordinator("b")];
    await a.lead();
    await b.journal.catchUp();
    await a.journal.commit([put("x", "1")]);
    await a.journal.commit([put("lent", "unread by b")]);
    const kept = await world.hub.connect().read(JOURNAL_STREAM, 0, 100);
    // Nothing of what b has read is there any more, and somebody has written behind the rest.
    await world.refill([...kept.slice(-2).map(({ bytes }) => bytes), Buffer.from("junk")], 100);
    b.restart();
    await b.lead();
    expect(contents(b.journal)).toEqual(["lent=unread by b", "x=1"]);
    expect(world.told).not.toContain("journal_rolled_back");
  });

  test("J4: a journal that begins behind what others wrote there is a journal", async () => {
    const world = new World();
    const outside = world.hub.connect();
    await outside.append(JOURNAL_SUBJECT, Buffer.from("junk"), { msgId: "j", expectSeq: 0 });
    const [a, b] = [world.coordinator("a"), world.coordinator("b")];
    await a.lead();
    await a.journal.commit([put("x", "1")]);
    await b.lead();
    expect(contents(b.journal)).toEqual(["x=1"]);
    expect(contents(a.restart())).toEqual(["x=1"]);
  });

  test("J4: a stranger's links count for nothing", async () => {
    const world = new World();
    const stranger = world.coordinator("stranger");
    world.trusted.delete(kidOf(stranger.signer.publicKey));
    await stranger.journal.commit([put("x", "all of it")]);
    const a = world.coordinator("a");
    await a.journal.catchUp();
    expect(contents(a.journal)).toEqual([]);
  });

  test("J5: snapshots let the stream forget, and removed keys stay removed", async () => {
    const world = new World();
    const a = world.coordinator("a", { snapshotEvery: 8 });
    await a.lead();
    const big = "v".repeat(100_000);
    for (let no = 0; no < 40; no += 1) {
      await a.journal.commit([put(`k${no % 7}`, `${no}${big}`), put("n", `${no}`)]);
      if (no % 5 === 0) await a.journal.commit([{ key: `k${no % 7}`, value: undefined }]);
    }
    const kept = await world.hub.connect().read(JOURNAL_STREAM, 0, 1_000);
    expect(kept.length).toBeGreaterThan(50);
    const b = world.coordinator("b");
    await b.journal.catchUp();
    expect(contents(b.journal)).toEqual(contents(a.journal));
    expect(contents(b.restart())).toEqual(contents(a.journal));
  });

  test("J9: says how full it is, whatever was written, taken over and read again", async () => {
    const world = new World();
    const [a, b] = [world.coordinator("a", { snapshotEvery: 4 }), world.coordinator("b")];
    await a.lead();
    const filled = ({ journal }: Replica) => {
      const all = journal.list("").map(([key, value]) => key.length + value.length);
      const bytes = all.reduce((sum, size) => sum + size, 0);
      return bytes / JOURNAL_LIMITS.journalBytesMax;
    };
    const half = "v".repeat(500_000);
    await a.journal.commit([put("x", half), put("y", half)]);
    await a.journal.commit([put("x", "less")]);
    await a.journal.commit([{ key: "y", value: undefined }, put("z", half)]);
    expect(a.journal.fill).toBeCloseTo(500_000 / JOURNAL_LIMITS.journalBytesMax, 4);
    expect(a.journal.fill).toBe(filled(a));
    await b.journal.catchUp();
    expect(b.journal.fill).toBe(filled(b));
    expect(b.restart().fill).toBe(a.journal.fill);
  });

  test("J5: whoever read half of a snapshot takes over once it is whole", async () => {
    const world = new World();
    let fates: AppendFate[] = [];
    const a = world.coordinator("a", { appendFate: () => fates.shift() ?? "good" });
    const b = world.coordinator("b");
    await a.lead();
    const big = "v".repeat(200_000);
    for (const key of ["x", "y", "z"]) await a.journal.commit([put(key, big)]);
    fates = ["good", "not_stored"];
    const writing = a.journal.snapshot();
    for (let step = 0; step < 20; step += 1) await new Promise(setImmediate);
    await b.journal.catchUp();
    world.clock.advance(1_000);
    expect(await writing).toBe("committed");
    await a.journal.commit([put("w", "1")]);
    b.restart();
    expect(await b.lead()).toBe(2);
    expect(contents(b.journal)).toEqual(contents(a.journal));
  });

  test("J5: whoever read half of a snapshot that is never whole takes over without the one before", async () => {
    const world = new World();
    let fates: AppendFate[] = [];
    const a = world.coordinator("a", { appendFate: () => fates.shift() ?? "not_stored" });
    const b = world.coordinator("b");
    fates = ["good", "good", "good", "good", "good"];
    await a.lead();
    const big = "v".repeat(200_000);
    for (const key of ["x", "y", "z"]) await a.journal.commit([put(key, big)]);
    fates = ["good", "not_stored", "stored_unanswered"];
    const writing = a.journal.snapshot();
    for (let step = 0; step < 20; step += 1) await new Promise(setImmediate);
    await b.journal.catchUp();
    world.clock.advance(50);
    for (let step = 0; step < 20; step += 1) await new Promise(setImmediate);
    void a.journal.close();
    await expect(writing).rejects.toThrow(StoreFault);
    const parts = await world.hub.connect().read(JOURNAL_STREAM, 6, 10);
    expect(parts).toHaveLength(2);
    await world.refill(
      parts.map(({ bytes }) => bytes),
      5,
    );
    // Either of them stands on its first part, and nobody has what was before.
    fates = Array.from({ length: 10 }, () => "good");
    for (const one of [a, b]) {
      one.restart();
      await one.journal.catchUp();
    }
    expect(await b.lead()).toBe(2);
    expect(contents(b.journal)).toEqual(["x", "y", "z"].map((key) => `${key}=${big}`));
    await a.journal.catchUp();
    expect(contents(a.journal)).toEqual(contents(b.journal));
    expect(await a.lead()).toBe(3);
  });

  test("J5: a journal without its beginning and without a snapshot is no ledger", async () => {
    const world = new World();
    const a = world.coordinator("a");
    await a.journal.commit([put("x", "1")]);
    await a.journal.commit([put("y", "1")]);
    const [, second] = await world.hub.connect().read(JOURNAL_STREAM, 0, 10);
    world.hub = createBusHub(undefined, world.clock);
    const bytes = second?.bytes as Uint8Array;
    await world.hub.connect().append(JOURNAL_SUBJECT, bytes, { msgId: "s", expectSeq: 0 });
    const b = world.coordinator("b");
    await expect(b.journal.catchUp()).rejects.toThrow(JournalFault);
  });
});

describe("proof", () => {
  const { count, seed } = proofCount("one chain of several writers", { small: 40, full: 1_500 });

  test("whatever fails, every acknowledged commit is in what all come to, in order", async () => {
    for (let no = 0; no < count; no += 1) await prove(seed + no);
  }, 600_000);
});

/**
 * Three coordinators that each believe they lead from time to time, over a stream and disks that
 * fail. The model is the list of acknowledged increments of one counter: a lost, doubled or
 * reordered commit makes it differ.
 */
async function prove(seed: number): Promise<void> {
  const draws = twinRandom(seed);
  const random = () => Buffer.from(draws.bytes(4)).readUInt32BE() / 2 ** 32;
  const world = new World();
  const isLucky = (share: number) => random() < share;
  const replicas = ["a", "b", "c"].map((name) =>
    world.coordinator(name, {
      snapshotEvery: 3,
      appendFate: () =>
        isLucky(0.1) ? (isLucky(0.5) ? "not_stored" : "stored_unanswered") : "good",
      commitFate: () =>
        isLucky(0.03) ? (isLucky(0.5) ? "fails_not_persisted" : "fails_but_persisted") : "good",
    }),
  );
  const moving = { on: true };
  const time = (async () => {
    while (moving.on) {
      await new Promise(setImmediate);
      world.clock.advance(200);
    }
  })();
  let acknowledged = 0;
  for (let step = 0; step < 40; step += 1) {
    const replica = replicas[Math.floor(random() * 3)] as Replica;
    const deed = random();
    if (deed < 0.15) await replica.lead().catch(() => undefined);
    else if (deed < 0.25) replica.restart();
    else if (deed < 0.35) await replica.journal.catchUp().catch(() => undefined);
    else {
      const next = Number(Buffer.from(replica.journal.get("count") ?? []).toString() || "0") + 1;
      const outcome = await replica.journal
        .commit([put("count", `${next}`), put(`at/${next}`, "x")])
        .catch(() => "unknown");
      if (outcome === "committed") {
        // Whoever commits has seen everything that was acknowledged before.
        expect(next, `seed ${seed}, step ${step}`).toBeGreaterThan(acknowledged);
        acknowledged = next;
      } else if (outcome === "unknown") {
        acknowledged = Math.max(acknowledged, Number(await countOf(world)));
      }
    }
  }
  moving.on = false;
  await time;
  const found = Number(await countOf(world));
  expect(found, `seed ${seed}`).toBe(acknowledged);
}

/** What a coordinator that knows nothing finds in the stream. */
async function countOf(world: World): Promise<string> {
  const reader = world.coordinator(`reader`);
  await reader.journal.catchUp();
  const value = Buffer.from(reader.journal.get("count") ?? []).toString() || "0";
  const keys = reader.journal.list("at/").length;
  expect(keys).toBe(Number(value));
  return value;
}
