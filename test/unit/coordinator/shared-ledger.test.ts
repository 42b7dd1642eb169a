import { describe, expect, test } from "vitest";
import { type BusHub, createBusHub } from "../../../adapters/in-process-bus.ts";
import type { AccountLimits } from "../../../coordinator/account-limits.ts";
import { ledgerSettings } from "../../../coordinator/config.ts";
import { LedgerFault } from "../../../coordinator/ledger-actor.ts";
import { SharedLedger } from "../../../coordinator/ledger-door.ts";
import { kidOf } from "../../../mesh/kid-of.ts";
import { TAKEN_OUT_MS, type TrustView } from "../../../mesh/trust.ts";
import type { Signer } from "../../../ports/keys.ts";
import { type AppendFate, type TwinBus, twinBus } from "../../../ports/twin-bus.ts";
import { twinClock } from "../../../ports/twin-clock.ts";
import { twinKeys } from "../../../ports/twin-keys.ts";
import { twinRandom } from "../../../ports/twin-random.ts";
import { type TwinStore, twinStore } from "../../../ports/twin-store.ts";
import { JOURNAL_SUBJECT, LEADER_STREAM, LEADER_SUBJECT } from "../../../proto/subjects.ts";

const TTL_MS = 6_000;
const BOT = "agent/pay/bot";
const LIMIT = 10_000_000;
const LIMITS: AccountLimits = [
  { account: "overrun", parent: undefined, limits: [] },
  {
    account: BOT,
    parent: undefined,
    limits: [{ unit: "usd_micros", window: "total", limit: LIMIT }],
  },
];
const usd = (usd_micros: number) => ({ usd_micros, tokens: 0, calls: 0 });

class World {
  readonly clock = twinClock();
  readonly random = twinRandom(9);
  readonly keys = twinKeys(this.random);
  readonly hub: BusHub = createBusHub(undefined, this.clock);
  readonly signers = new Map<string, Signer>();
  /** Keys of coordinators that an operator has removed. */
  readonly removed = new Set<string>();
  readonly told: string[] = [];

  coordinator(name: string): Coordinator {
    return new Coordinator(this, name);
  }

  /** @param removed Keys that whoever looks knows to be in use no more. */
  view(removed: ReadonlySet<string>): TrustView {
    const lookup = (kid: string) => {
      const signer = this.signers.get(kid);
      return (
        signer && {
          publicKey: signer.publicKey,
          role: "coordinator",
          notBeforeMs: 0,
          notAfterMs: removed.has(kid) ? TAKEN_OUT_MS : 0,
        }
      );
    };
    return { lookup, formerCoordinators: () => [...removed] } as unknown as TrustView;
  }

  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 100) {
      for (let turn = 0; turn < 6; turn += 1) await new Promise(setImmediate);
      this.clock.advance(Math.min(100, left));
    }
    for (let turn = 0; turn < 6; turn += 1) await new Promise(setImmediate);
  }

  /** Lets time pass until the promise has settled. */
  async settled<T>(promise: Promise<T>): Promise<T> {
    let isDone = false;
    const done = promise.finally(() => {
      isDone = true;
    });
    done.catch(() => undefined);
    for (let step = 0; step < 200 && !isDone; step += 1) await this.pass(100);
    return done;
  }
}

class Coordinator {
  readonly #world: World;
  readonly name: string;
  readonly store: TwinStore = twinStore();
  readonly bus: TwinBus;
  ledger: SharedLedger;
  isFit = true;
  /** What becomes of what it writes into the journal. */
  linkFate: AppendFate = "good";
  /** Keys of which it has heard that they are in use no more. */
  readonly removed = new Set<string>();
  #starts = 0;

  constructor(world: World, name: string) {
    this.#world = world;
    this.name = name;
    const signer = world.keys.loadOrCreate(name);
    world.signers.set(kidOf(signer.publicKey), signer);
    const appendFate = (subject: string) => (subject === JOURNAL_SUBJECT ? this.linkFate : "good");
    this.bus = twinBus(world.hub.connect(), { appendFate });
    this.ledger = this.start();
  }

  start(): SharedLedger {
    const { clock, random, keys, told } = this.#world;
    this.#starts += 1;
    this.ledger = new SharedLedger({
      mesh: "m",
      trust: this.#world.view(this.removed),
      learnTrust: async () => {
        for (const kid of this.#world.removed) this.removed.add(kid);
      },
      signer: keys.loadOrCreate(this.name),
      verify: keys.verify,
      clock,
      random,
      bus: this.bus,
      store: this.store,
      tell: (event) => told.push(`${this.name} ${event}`),
      settings: ledgerSettings({ leaseTtlMs: 300_000, usdMicros: { min: 100, max: LIMIT } }),
      activeNodes: () => 1,
      isRemoved: () => false,
      mailboxMax: 100,
      replicaId: this.name,
      bootId: `${this.name}-${this.#starts}`,
      leaderTtlMs: TTL_MS,
      isFit: () => this.isFit,
    });
    this.ledger.setLimits(LIMITS);
    this.ledger.start();
    return this.ledger;
  }

  lease(requestId: string, amount: number, bootId = "b1") {
    return this.ledger.lease({
      node: "n1",
      bootId,
      requestId,
      account: BOT,
      need: usd(amount),
      want: usd(amount),
    });
  }
}

async function two() {
  const world = new World();
  const a = world.coordinator("a");
  await world.pass(3_000);
  const b = world.coordinator("b");
  await world.pass(3_000);
  expect([a.ledger.isLed, b.ledger.isLed]).toEqual([true, false]);
  return { world, a, b };
}

describe("a ledger that coordinators share", () => {
  test("is led by one; the other says who", async () => {
    const { world, b } = await two();
    expect(b.ledger.leader).toBe("a");
    await expect(b.lease("r1", 1)).rejects.toThrow(LedgerFault);
    await world.pass(60_000);
    expect(b.ledger.isLed).toBe(false);
  });

  test("L2: a leader that says nothing for the whole time is followed by another, with its books", async () => {
    const { world, a, b } = await two();
    const granted = await world.settled(a.lease("r1", 4_000_000));
    a.bus.cut("out");
    a.bus.cut("in");
    await world.pass(TTL_MS / 2);
    expect(b.ledger.isLed).toBe(false);
    await world.pass(2 * TTL_MS);
    expect(b.ledger.isLed).toBe(true);
    // The same question gets the same lease, and no more than is left can be had.
    expect(await world.settled(b.lease("r1", 4_000_000))).toMatchObject({
      leaseId: (granted as { leaseId: string }).leaseId,
    });
    expect(await world.settled(b.lease("r2", 7_000_000))).toMatchObject({
      refused: "budget_exhausted",
    });
  });

  test("L2: one that takes long to take over says so meanwhile, up to ten times as long as others wait", async () => {
    const { world, a, b } = await two();
    // Its words are heard, and its links come to nothing.
    b.linkFate = "not_stored";
    await a.ledger.stop();
    await world.pass(TTL_MS / 2);
    const c = world.coordinator("c");
    await world.pass(3 * TTL_MS);
    expect([c.ledger.leader, c.ledger.isLed]).toEqual(["b", false]);
    await world.pass(10 * TTL_MS);
    expect(c.ledger.isLed).toBe(true);
    b.linkFate = "good";
    await world.pass(TTL_MS);
    expect([b.ledger.isLed, b.ledger.leader, c.ledger.isLed]).toEqual([false, "c", true]);
  });

  test("L1, J1: one that was cut off and believes it leads lends nothing more, and follows when it is back", async () => {
    const { world, a, b } = await two();
    a.bus.cut("out");
    a.bus.cut("in");
    await world.pass(3 * TTL_MS);
    expect([a.ledger.isLed, b.ledger.isLed]).toEqual([true, true]);
    const late = a.lease("r1", 9_000_000);
    late.catch(() => undefined);
    expect(await world.settled(b.lease("r2", 9_000_000))).toMatchObject({ amount: usd(9_000_000) });
    a.bus.heal();
    await expect(world.settled(late)).rejects.toThrow(LedgerFault);
    expect(a.ledger.isLed).toBe(false);
    await world.pass(TTL_MS);
    expect([a.ledger.isLed, b.ledger.isLed]).toEqual([false, true]);
    expect(world.told).toContain("a ledger_fenced");
    const [row] = (await world.settled(b.ledger.rows(BOT))).filter(
      ({ unit }) => unit === "usd_micros",
    );
    expect(row).toMatchObject({ reserved: 9_000_000, available: 1_000_000 });
  });

  test("whoever leads is told how many have, so that the first of all waits for nobody", async () => {
    const world = new World();
    const [a, b] = [world.coordinator("c1"), world.coordinator("c2")];
    const leads: string[] = [];
    for (const one of [a, b]) one.ledger.onLed((count) => leads.push(`${one.name} ${count}`));
    a.ledger.start();
    await world.pass(3_000);
    b.ledger.start();
    await world.pass(3_000);
    await world.settled(a.ledger.stop());
    await world.pass(6_000);
    expect(leads).toEqual(["c1 1", "c2 2"]);
  });

  test("I5: whoever follows lends nothing to a recording of a start that had ended before", async () => {
    const { world, a, b } = await two();
    await world.settled(a.lease("r1", 1));
    await world.settled(a.lease("r2", 1, "b2"));
    a.bus.cut("out");
    a.bus.cut("in");
    await world.pass(3 * TTL_MS);
    expect(await world.settled(b.lease("recorded", 1))).toMatchObject({ refused: "boot_ended" });
    expect(await world.settled(b.lease("r3", 1, "b2"))).toHaveProperty("leaseId");
  });

  test("one that stops in order is followed at once", async () => {
    const { world, a, b } = await two();
    await world.settled(a.ledger.stop());
    await world.pass(TTL_MS / 3);
    expect(b.ledger.isLed).toBe(true);
  });

  test("one that starts again in its HOME leads at once, on its own word of before", async () => {
    const { world, a, b } = await two();
    b.isFit = false;
    // As a crash ends it: nothing is released.
    a.bus.cut("out");
    void a.ledger.stop();
    await world.pass(1_000);
    a.bus.heal();
    a.start();
    await world.pass(TTL_MS / 3);
    expect(a.ledger.isLed).toBe(true);
  });

  test("one that is not fit does not lead, whoever is missing", async () => {
    const { world, a, b } = await two();
    b.isFit = false;
    await world.settled(a.ledger.stop());
    await world.pass(5 * TTL_MS);
    expect(b.ledger.isLed).toBe(false);
    b.isFit = true;
    await world.pass(TTL_MS);
    expect(b.ledger.isLed).toBe(true);
  });

  test("J7: one that was removed and has not heard of it does not lead once another has written that it knows", async () => {
    const { world, a, b } = await two();
    const kid = kidOf(world.keys.loadOrCreate("b").publicKey);
    world.removed.add(kid);
    a.removed.add(kid);
    await world.settled(a.lease("r1", 1_000));
    await world.settled(a.ledger.stop());
    await world.pass(TTL_MS);
    expect([...b.removed]).toEqual([kid]);
    expect(b.ledger.isLed).toBe(false);
  });

  test("L4: a word that nobody may say keeps nobody from leading", async () => {
    const { world, a, b } = await two();
    const outside = world.hub.connect();
    await world.settled(a.ledger.stop());
    const last = await outside.last(LEADER_STREAM, LEADER_SUBJECT);
    const stored = await outside.append(LEADER_SUBJECT, Buffer.from("I lead"), {
      msgId: "x",
      expectSeq: last?.seq ?? 0,
    });
    expect(stored).not.toBe("conflict");
    await world.pass(TTL_MS);
    expect(b.ledger.isLed).toBe(true);
  });

  test("limits of before it led count once it leads", async () => {
    const { world, a, b } = await two();
    let led = 0;
    b.ledger.onLed(() => {
      led += 1;
    });
    b.ledger.setLimits([
      {
        account: BOT,
        parent: undefined,
        limits: [{ unit: "usd_micros", window: "total", limit: 5 }],
      },
    ]);
    await world.settled(a.ledger.stop());
    await world.pass(TTL_MS);
    expect(led).toBe(1);
    expect(await world.settled(b.lease("r1", 6))).toMatchObject({ refused: "budget_exhausted" });
  });
});
