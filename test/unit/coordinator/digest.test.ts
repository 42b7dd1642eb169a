import { describe, expect, test } from "vitest";
import { DIGEST_APART_MS, Digest, type DigestOptions } from "../../../coordinator/digest.ts";
import { twinClock } from "../../../ports/twin-clock.ts";
import { twinKeys } from "../../../ports/twin-keys.ts";
import { twinRandom } from "../../../ports/twin-random.ts";

const EVERY_MS = 1_000;

function digestWorld() {
  const clock = twinClock();
  const sentMs: number[] = [];
  /** How many digests had been sent when something could be said ahead of the next. */
  const said: number[] = [];
  const startNs = clock.monoNs();
  const replica = { isReplayed: true, lastSeq: 0, state: { hash: () => new Uint8Array(32) } };
  const digest = new Digest({
    ...{ replicaId: "c1", bootId: "b1", epoch: 1, clock, everyMs: EVERY_MS },
    signer: twinKeys(twinRandom(1)).loadOrCreate("coordinator"),
    bus: { send: () => sentMs.push(Number((clock.monoNs() - startNs) / 1_000_000n)) },
    replica,
    before: () => said.push(sentMs.length),
    leader: { isHeard: true, ask: async () => undefined, quorumAgeMs: () => 0 },
  } as unknown as DigestOptions);
  return { clock, digest, replica, sentMs, said };
}

describe("a digest out of turn", () => {
  test("comes at once where the last one is not of this moment, once for all who begin", () => {
    const { clock, digest, sentMs } = digestWorld();
    digest.start();
    clock.advance(500);
    digest.soon();
    digest.soon();
    clock.advance(0);
    expect(sentMs).toEqual([0, 500]);
    clock.advance(50);
    digest.soon();
    clock.advance(DIGEST_APART_MS);
    expect(sentMs).toEqual([0, 500, 500 + DIGEST_APART_MS]);
  });

  test("comes as soon as the stream is read where the coordinator has just begun", () => {
    const { clock, digest, replica, sentMs } = digestWorld();
    replica.isReplayed = false;
    digest.start();
    clock.advance(100);
    digest.soon();
    clock.advance(DIGEST_APART_MS / 2);
    expect(sentMs).toEqual([]);
    replica.isReplayed = true;
    clock.advance(DIGEST_APART_MS / 2);
    expect(sentMs).toEqual([100 + DIGEST_APART_MS]);
  });

  test("is the first one where none was due before a node had begun", () => {
    const { clock, digest, replica, sentMs } = digestWorld();
    replica.isReplayed = false;
    digest.start();
    replica.isReplayed = true;
    clock.advance(300);
    digest.soon();
    clock.advance(0);
    expect(sentMs).toEqual([300]);
  });

  test("does not come after the end", () => {
    const { clock, digest, sentMs } = digestWorld();
    digest.start();
    digest.soon();
    digest.stop();
    digest.soon();
    clock.advance(5 * EVERY_MS);
    expect(sentMs).toEqual([0]);
  });
});

test("what is to be heard ahead of a digest is said before each, and before nothing else", () => {
  const { clock, digest, replica, sentMs, said } = digestWorld();
  replica.isReplayed = false;
  digest.start();
  replica.isReplayed = true;
  clock.advance(2 * EVERY_MS);
  expect(sentMs.length).toBe(2);
  expect(said).toEqual([0, 1]);
});
