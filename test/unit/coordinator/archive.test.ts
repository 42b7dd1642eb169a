import { constants, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { create } from "@bufbuild/protobuf";
import { WireType } from "@bufbuild/protobuf/wire";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { checkpointText, signCheckpoint } from "../../../audit/checkpoint.ts";
import {
  PACKED_ENTRIES_MAX,
  packEntries,
  UNPACKED_BYTES_MAX,
  unpackEntries,
} from "../../../audit/packed-entries.ts";
import { encodeNote, encodeVkey, KEY_TYPES } from "../../../audit/signed-note.ts";
import { encodeBundle } from "../../../audit/tiles.ts";
import { OPEN_LOGS_MAX } from "../../../coordinator/archive/archive.ts";
import { ArchivedLog } from "../../../coordinator/archive/archived-log.ts";
import { twinRandom } from "../../../ports/twin-random.ts";
import { type ShipRequest, ShipRequestSchema } from "../../../proto/gen/altrace/v1/mesh_pb.ts";
import { proofCount } from "../../support/proof.ts";
import { buildLog, entriesOf, recordsOf, signerOf } from "../audit/sample-log.ts";
import { TwinDisk } from "../node/audit/twin-disk.ts";
import { Coordinator, DIR, LOG, logOf, ORIGIN, ShippingNode, VKEY } from "./archive-world.ts";

const LESS = logOf(120);
const SMALL = logOf(200);
const MIDDLE = logOf(700);
const WHOLE = logOf(1_100);
const CUT_LAST = logOf(520);
const CUT_LOGS = [logOf(40), logOf(300), CUT_LAST];

/** A shipment that the archive took from an honest node, bent. */
async function sent(bend: (request: ShipRequest) => Partial<ShipRequest>) {
  const coordinator = new Coordinator();
  const node = new ShippingNode(coordinator);
  await node.cosigned(WHOLE);
  const [request] = coordinator.asked.filter(({ packed }) => packed.length > 0);
  const victim = new Coordinator();
  const answer = await victim.ship(
    create(ShipRequestSchema, { ...(request as ShipRequest), ...bend(request as ShipRequest) }),
  );
  return { answer, victim };
}

/** The same package with other bytes in it. */
function repacked(
  { packed }: ShipRequest,
  bend: (bytes: Buffer) => Uint8Array,
): Partial<ShipRequest> {
  const params = { [constants.ZSTD_c_windowLog]: 19 };
  return { packed: zstdCompressSync(bend(zstdDecompressSync(packed)), { params }) };
}

describe("an archive", () => {
  test("C1: holds the files that the node has, byte for byte", async () => {
    const coordinator = new Coordinator();
    const node = new ShippingNode(coordinator);
    for (const log of [SMALL, MIDDLE, WHOLE]) await node.cosigned(log);
    const files = coordinator.files();
    expect(files.get("archived")?.toString()).toMatch(/^1100\n[0-9a-f]{64}\n$/);
    files.delete("archived");
    // Beside them lie partial files of earlier checkpoints, at which a reader may still be.
    const others = [...files.keys()].filter((path) => !WHOLE.files.has(path));
    expect(others.filter((path) => !path.includes(".p/"))).toEqual([]);
    for (const [path, bytes] of WHOLE.files) expect(files.get(path)).toEqual(bytes);
    expect(coordinator.findings()).toEqual([]);
    expect(node).toMatchObject({ refused: [] });
    expect(node.kept.at(-1)).toBe(1_100);
    expect(coordinator.told).toEqual([]);
  });

  test.each<[string, (request: ShipRequest) => Partial<ShipRequest>]>([
    [
      "inconsistent",
      (request) => repacked(request, (bytes) => bytes.fill((bytes[100] as number) ^ 1, 100, 101)),
    ],
    ["inconsistent", () => ({ packed: packEntries(encodeBundle([Buffer.from("{}")])) })],
    ["inconsistent", ({ proof }) => ({ proof: proof.slice(1) })],
    ["inconsistent", () => ({ proof: [Buffer.alloc(32)] })],
    ["malformed", (request) => repacked(request, (bytes) => bytes.subarray(0, -1))],
    [
      "malformed",
      (request) => repacked(request, (bytes) => Buffer.concat([bytes, Buffer.from("x")])),
    ],
    ["malformed", ({ packed }) => ({ packed: packed.subarray(0, -1) })],
    ["malformed", () => ({ packed: Buffer.from("no package") })],
    // Each is small on its way, and would be large where it is read.
    ["malformed", (request) => repacked(request, () => Buffer.alloc(UNPACKED_BYTES_MAX + 1))],
    ["malformed", (request) => repacked(request, () => Buffer.alloc(2 * PACKED_ENTRIES_MAX + 2))],
    ["malformed", () => ({ packed: zstdCompressSync(Buffer.alloc(1024 * 1024, "records")) })],
    ["malformed", () => ({ proof: [Buffer.alloc(31)] })],
    ["elsewhere", () => ({ first: 1n })],
    ["malformed", () => ({ vkey: "x" })],
    ["malformed", () => ({ first: 2n ** 60n })],
    ["malformed", () => ({ packed: new Uint8Array(600_000) })],
    ["log_unknown", () => ({ vkey: encodeVkey(signerOf("acme/node-8/e1", KEY_TYPES.log, 1).key) })],
    [
      "log_unknown",
      () => ({ vkey: encodeVkey(signerOf("other/node-7/e1", KEY_TYPES.log, 1).key) }),
    ],
    ["log_unknown", () => ({ vkey: encodeVkey(signerOf(ORIGIN, KEY_TYPES.log, 9).key) })],
    [
      "log_unknown",
      ({ checkpoint }) => ({ checkpoint: checkpoint.replace("\n1100\n", "\n1101\n") }),
    ],
    ["log_unknown", () => ({ checkpoint: "" })],
  ])("C1: refuses as %s what a node made up, and writes nothing", async (reason, bend) => {
    const { answer, victim } = await sent(bend);
    expect(answer).toMatchObject({ refused: reason, kept: 0n });
    expect([...victim.files().keys()]).toEqual([]);
  });

  test("C1: a node from before packages is not taken for one that rewrote its log", async () => {
    const unread = { no: 5, wireType: WireType.LengthDelimited, data: Uint8Array.of(3, 0, 1, 65) };
    const { answer, victim } = await sent(() => ({
      packed: new Uint8Array(0),
      $unknown: [unread],
    }));
    expect(answer).toMatchObject({ refused: "malformed", kept: 0n, retryMs: 60_000n });
    expect(answer.detail).toContain("the node is older");
    expect(victim.told).toEqual([]);
  });

  test("C1: takes as many bundles at once as a package may hold, and whole ones", async () => {
    const coordinator = new Coordinator();
    const node = new ShippingNode(coordinator);
    await node.cosigned(LESS);
    await node.cosigned(logOf(1_500));
    const counts = coordinator.asked.map(({ packed }) => {
      const entries = unpackEntries(packed);
      return entries.ok ? entries.value.length : Number.NaN;
    });
    // What an earlier checkpoint ended within is made whole first.
    expect(counts).toEqual([0, 120, 904, 476]);
    expect(node.kept.at(-1)).toBe(1_500);
  });

  test("C1: refuses a cosignature that its own witness did not give", async () => {
    const { answer, victim } = await sent(({ checkpoint }) => ({
      checkpoint: checkpoint.replace(/[A-Za-z0-9+/]{3}==\n$/, "AAA==\n"),
    }));
    expect(answer.refused).toMatch(/^(checkpoint_refused|log_unknown)$/);
    expect([...victim.files().keys()]).toEqual([]);
  });

  test("C1: a checkpoint that was right once says nothing for another key, nor for other signatures", async () => {
    const coordinator = new Coordinator();
    await new ShippingNode(coordinator).cosigned(WHOLE);
    const ask = { origin: ORIGIN, first: WHOLE.size, packed: new Uint8Array(0), proof: [] };
    const take = (vkey: string, checkpoint: string): string =>
      coordinator.archive.take({ ...ask, vkey, checkpoint }).refused;
    const otherKey = encodeVkey(signerOf(ORIGIN, KEY_TYPES.log, 9).key);
    const unsigned = WHOLE.note.replace(/^(— \S+ )\S{20}/m, "$1AAAAAAAAAAAAAAAAAAAA");
    expect(take(VKEY, WHOLE.note)).toBe("");
    expect(take(otherKey, WHOLE.note)).toBe("checkpoint_refused");
    expect(take(VKEY, unsigned)).toBe("checkpoint_refused");
    expect(take(VKEY, WHOLE.note)).toBe("");
  });

  test("C1: a fork of what is here is refused, and the copy stays as it was", async () => {
    const coordinator = new Coordinator();
    await new ShippingNode(coordinator).cosigned(MIDDLE);
    const before = coordinator.files();
    for (const bent of [
      logOf(700, (seq) => Number(seq === 699)),
      logOf(1_100, (seq) => Number(seq === 3)),
    ]) {
      const forked = new ShippingNode(coordinator);
      await forked.cosigned(bent);
      expect(forked.refused[0]).toMatch(/^c1: inconsistent/);
    }
    expect(coordinator.files()).toEqual(before);
    expect(coordinator.told).toContain("archive_inconsistent");
  });

  test("R1: no node adds to the log of another, though it has all that is public of it", async () => {
    const coordinator = new Coordinator();
    const node = new ShippingNode(coordinator);
    await node.cosigned(SMALL);
    const before = coordinator.files();
    const [question] = coordinator.asked;
    const { refused } = await coordinator.ship(question as ShipRequest, "node-8");
    expect(refused).toBe("log_unknown");
    expect(coordinator.files()).toEqual(before);
  });

  test("R1: a log that its node opened anew lies beside the one before", async () => {
    const coordinator = new Coordinator();
    await new ShippingNode(coordinator).cosigned(SMALL);
    const { answer } = await sent(() => ({ first: 0n }));
    expect(answer.refused).toBe("");
    const second = signerOf("acme/node-7/e2", KEY_TYPES.log, 5);
    const other = { ...SMALL, note: SMALL.note };
    const node = new ShippingNode(coordinator, { vkey: encodeVkey(second.key) });
    await node.cosigned(other);
    // Its checkpoint is of e1: nothing of it can get into the folder of e2.
    expect(node.refused[0]).toMatch(/log_unknown/);
    expect([...coordinator.files("acme/node-7/e2").keys()]).toEqual([]);
  });

  test("R2: takes nothing while its disk has no more than the reserve, and then goes on", async () => {
    const disk = new TwinDisk();
    const coordinator = new Coordinator(disk);
    const node = new ShippingNode(coordinator);
    disk.free = 999;
    await node.cosigned(MIDDLE);
    expect(node.refused).toEqual(["c1: archive_full less than 1000 bytes free"]);
    expect([...coordinator.files().keys()]).toEqual([]);
    disk.free = 1_000_000;
    node.clock.advance(10_000);
    await node.settle();
    expect(node.kept.at(-1)).toBe(700);
  });

  test("R3: a write that fails costs what was not acknowledged, and is made up for", async () => {
    const coordinator = new Coordinator();
    const node = new ShippingNode(coordinator);
    await node.cosigned(SMALL);
    coordinator.disk.options = {
      onStep: (step) => {
        if (step === "write") throw Object.assign(new Error("ENOSPC"), { code: "ENOSPC" });
      },
    };
    await node.cosigned(MIDDLE);
    expect(node.refused[0]).toMatch(/archive_unwritten ENOSPC/);
    expect(node.kept.at(-1)).toBe(200);
    coordinator.disk.options = {};
    node.clock.advance(10_000);
    await node.settle();
    expect(node.kept.at(-1)).toBe(700);
    expect(coordinator.findings()).toEqual([]);
  });

  test("R3: what a failed write left in memory is forgotten", async () => {
    const coordinator = new Coordinator();
    const node = new ShippingNode(coordinator);
    await node.cosigned(SMALL);
    const fails = Object.assign(new Error("EIO"), { code: "EIO" });
    coordinator.disk.options = {
      onStep: () => {
        throw fails;
      },
    };
    await node.cosigned(MIDDLE);
    const last = coordinator.asked.at(-1) as ShipRequest;
    coordinator.disk.options = {};
    const question = { ...last, first: 0n, packed: new Uint8Array(0) };
    expect(await coordinator.ship(create(ShipRequestSchema, question))).toMatchObject({
      next: 200n,
      kept: 200n,
    });
  });

  test(`keeps ${OPEN_LOGS_MAX} copies open, and takes up others from their files`, () => {
    const { archive } = new Coordinator();
    const opened = vi.spyOn(ArchivedLog, "open");
    onTestFinished(() => opened.mockRestore());
    const entries = entriesOf(recordsOf(2));
    const root = buildLog(entries).edge.root();
    const take = (no: number) => {
      const origin = `acme/node-${no}/e1`;
      const signer = signerOf(origin, KEY_TYPES.log, 1);
      const text = checkpointText({ origin, size: 2, root });
      const note = encodeNote(text, [signCheckpoint(text, signer)]);
      const ask = { origin, vkey: encodeVkey(signer.key), checkpoint: note, proof: [] };
      return archive.take({ ...ask, first: 0, packed: packEntries(encodeBundle(entries)) });
    };
    for (let no = 0; no <= OPEN_LOGS_MAX; no++) expect(take(no)).toMatchObject({ kept: 2 });
    expect(opened).toHaveBeenCalledTimes(OPEN_LOGS_MAX + 1);
    for (let no = 1; no <= OPEN_LOGS_MAX; no++) take(no);
    expect(opened).toHaveBeenCalledTimes(OPEN_LOGS_MAX + 1);
    // The first made room for the last.
    expect(take(0)).toMatchObject({ refused: "elsewhere", next: 2, kept: 2 });
    expect(opened).toHaveBeenCalledTimes(OPEN_LOGS_MAX + 2);
  });

  test.each(["tile/0/002.p/188", "tile/1/000.p/2", "tile/entries/002.p/188"])(
    "a copy whose %s was changed on its disk is not added to",
    async (path) => {
      const coordinator = new Coordinator();
      const node = new ShippingNode(coordinator);
      await node.cosigned(MIDDLE);
      const disk = coordinator.disk.afterCrash();
      disk.spoil(`${DIR}/${ORIGIN}/${path}`, (data) => data.fill(1, 40, 50));
      coordinator.restart(disk);
      await node.cosigned(WHOLE);
      expect(node.refused[0]).toMatch(/archive_damaged/);
      expect(node.kept.at(-1)).toBe(0);
      expect(coordinator.files().get("checkpoint")?.toString()).toBe(MIDDLE.note);
    },
  );
});

describe("a power cut at an archive", () => {
  test("C2: between a checkpoint and the word that its entries are there: they are taken once more", async () => {
    const coordinator = new Coordinator();
    await new ShippingNode(coordinator).cosigned(LESS);
    const word = coordinator.files().get("archived") as Buffer;
    await new ShippingNode(coordinator).cosigned(SMALL);
    const disk = coordinator.disk.afterCrash();
    disk.spoil(`${DIR}/${ORIGIN}/archived`, () => word);
    coordinator.restart(disk);
    const node = new ShippingNode(coordinator);
    const asked = coordinator.asked.length;
    await node.cosigned(SMALL);
    expect(node.kept.at(-1)).toBe(SMALL.size);
    expect(coordinator.asked.length - asked).toBe(2);
    expect(coordinator.files().get("archived")?.toString()).toMatch(/^200\n/);
    expect(coordinator.findings()).toEqual([]);
  });

  const { count, seed } = proofCount("archive-power", { small: 12, full: 400 });
  const random = twinRandom(seed);
  const draw = (): number => Buffer.from(random.bytes(4)).readUInt32BE(0) / 2 ** 32;

  test("C2, C3: at every step: what was kept is kept, what is published verifies, and it goes on", async () => {
    const steps = await stepsOfAll();
    expect(steps).toBeGreaterThan(60);
    for (let run = 0; run < count; run++) {
      const cutAt = Math.floor(draw() * steps);
      const coordinator = new Coordinator();
      const node = new ShippingNode(coordinator);
      let left = cutAt;
      coordinator.disk.options = {
        onStep: () => {
          if (left-- <= 0) throw new Error("no power");
        },
      };
      for (const log of CUT_LOGS) await node.cosigned(log);
      const kept = Math.max(0, ...node.kept);
      const isCrash = draw() < 0.3;
      const { disk } = coordinator;
      coordinator.restart(isCrash ? disk.afterCrash() : disk.afterPowerLoss(draw));
      expect(coordinator.findings()).toEqual([]);
      const again = new ShippingNode(coordinator);
      await again.cosigned(CUT_LAST);
      expect(again.kept[0]).toBeGreaterThanOrEqual(kept);
      expect(again.kept.at(-1)).toBe(CUT_LAST.size);
      const files = coordinator.files();
      for (const [path, bytes] of CUT_LAST.files) expect(files.get(path)).toEqual(bytes);
    }
  }, 300_000);
});

/** Steps of the disk until three checkpoints are there. */
async function stepsOfAll(): Promise<number> {
  const coordinator = new Coordinator();
  const node = new ShippingNode(coordinator);
  for (const log of CUT_LOGS) await node.cosigned(log);
  return coordinator.disk.steps.length;
}

describe("a node that ships", () => {
  test("H2: goes on where the archive stands, after a crash of either side", async () => {
    const coordinator = new Coordinator();
    await new ShippingNode(coordinator).cosigned(SMALL);
    coordinator.restart(coordinator.disk.afterPowerLoss(() => 0));
    const restarted = new ShippingNode(coordinator);
    const before = coordinator.asked.length;
    await restarted.cosigned(MIDDLE);
    const [question, ...rest] = coordinator.asked.slice(before);
    expect(question).toMatchObject({ first: 0n, packed: new Uint8Array(0) });
    expect(rest[0]).toMatchObject({ first: 200n });
    expect(restarted.kept.at(-1)).toBe(700);
  });

  test("counts no more as kept than was shown to be of its log", async () => {
    const coordinator = new Coordinator();
    const ship = coordinator.ship.bind(coordinator);
    coordinator.ship = async (request) => ({ ...(await ship(request)), kept: 1_000_000n });
    const node = new ShippingNode(coordinator);
    await node.cosigned(MIDDLE);
    expect(Math.max(...node.kept)).toBe(700);
  });

  test("H2: sends again what an answer that never came left open", async () => {
    const coordinator = new Coordinator();
    let lost = 2;
    const node = new ShippingNode(coordinator);
    const original = coordinator.ship.bind(coordinator);
    coordinator.ship = async (request) => {
      const answer = await original(request);
      if (request.packed.length > 0 && lost-- > 0) throw new Error("no answer");
      return answer;
    };
    await node.cosigned(MIDDLE);
    for (let i = 0; i < 4; i++) {
      node.clock.advance(30_000);
      await node.settle();
    }
    expect(node.kept.at(-1)).toBe(700);
    expect(coordinator.findings()).toEqual([]);
  });

  test("H1: asks ever more slowly where nothing comes of it", async () => {
    const coordinator = new Coordinator();
    const ship = coordinator.ship.bind(coordinator);
    coordinator.ship = async (request) => ({ ...(await ship(request)), kept: 0n });
    const node = new ShippingNode(coordinator);
    await node.cosigned(SMALL);
    const inSixSeconds = coordinator.asked.length;
    node.clock.advance(30_000);
    await node.settle();
    expect(inSixSeconds).toBeLessThan(20);
    expect(coordinator.asked.length - inSixSeconds).toBeLessThan(10);
    expect(node.kept.at(-1)).toBe(0);
  });

  test("does not take for its own what the archive has of another state of its log", async () => {
    const coordinator = new Coordinator();
    await new ShippingNode(coordinator).cosigned(MIDDLE);
    const putBack = new ShippingNode(coordinator);
    await putBack.cosigned(SMALL);
    await putBack.cosigned(logOf(400, (seq) => Number(seq > 200)));
    expect(putBack.kept).toEqual([]);
  });

  test("brings nothing twice, and nothing while its round is over", async () => {
    const coordinator = new Coordinator();
    const node = new ShippingNode(coordinator, { everyMs: 60_000 });
    await node.cosigned(SMALL);
    const asked = coordinator.asked.length;
    await node.cosigned(MIDDLE);
    expect(coordinator.asked).toHaveLength(asked);
    node.clock.advance(60_000);
    await node.settle();
    expect(node.kept.at(-1)).toBe(700);
    const entries = coordinator.asked.flatMap(({ first, packed: bytes }) =>
      bytes.length > 0 ? [first] : [],
    );
    expect(new Set(entries).size).toBe(entries.length);
  });

  test("says so once when the archive lacks what is no longer here", async () => {
    const coordinator = new Coordinator();
    const node = new ShippingNode(coordinator);
    const pruned = new Map(MIDDLE.files);
    pruned.delete("tile/entries/000");
    await node.cosigned({ ...MIDDLE, files: pruned });
    for (let i = 0; i < 3; i++) {
      node.clock.advance(30_000);
      await node.settle();
    }
    expect(node.refused).toEqual([expect.stringContaining("no longer here")]);
  });
});

test("the log's key is the one that the sample log is signed by", () => {
  expect(encodeVkey(LOG.key)).toBe(VKEY);
});
