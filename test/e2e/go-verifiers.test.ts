import { type SpawnSyncReturns, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { consistencyProof, inclusionProof, rootAt } from "../../audit/merkle.ts";
import { encodeReceipt } from "../../audit/receipt.ts";
import { encodeVkey } from "../../audit/signed-note.ts";
import { readTile, subtreesFromTiles } from "../../audit/tiles.ts";
import { areGoProgramsRequired } from "../support/go-programs.ts";
import { proofCount } from "../support/proof.ts";
import { tempDir } from "../support/temp-dir.ts";
import { buildLog, entriesOf, LOG, recordsOf } from "../unit/audit/sample-log.ts";

/** Tessera's and the Go team's verifiers, unchanged, over logs of ours. */
const BIN = join(import.meta.dirname, "..", "..", ".tools", "bin");
const FSCK = join(BIN, "fsck");
const TLOGCHECK = join(BIN, "tlogcheck");
const areHere = existsSync(FSCK) && existsSync(TLOGCHECK);
const isRequired = areGoProgramsRequired();
/** fsck may hang on what it finds; that is a failure too. */
const TIMEOUT_MS = 60_000;

const PROOF = proofCount("leaves for verifiers of others", { small: 1_500, full: 70_000 });
const home = tempDir();
const GOOD = join(home.path, "good");
const VKEY = join(home.path, "vkey");

function run(program: string, args: readonly string[]): SpawnSyncReturns<string> {
  return spawnSync(program, args, { encoding: "utf8", timeout: TIMEOUT_MS });
}

/** Without its progress display fsck ends with 0 whatever it found: its own words count. */
function fsckSays(dir: string): string {
  const url = `--storage_url=file://${dir}/`;
  const { stdout, stderr } = run(FSCK, [url, `--public_key=${VKEY}`, "--N", "64", "--ui=false"]);
  return /Successfully fsck'd log with size (\d+)/.exec(stdout + stderr)?.[0] ?? "not successful";
}

const success = (size: number): string => `Successfully fsck'd log with size ${size}`;

function write(dir: string, files: ReadonlyMap<string, Buffer>): void {
  for (const [path, bytes] of files) {
    mkdirSync(dirname(join(dir, path)), { recursive: true });
    writeFileSync(join(dir, path), bytes);
  }
}

function bent(name: string, bend: (dir: string) => void): string {
  const dir = join(home.path, name);
  cpSync(GOOD, dir, { recursive: true });
  bend(dir);
  return dir;
}

function flip(path: string, at: number): void {
  const bytes = readFileSync(path);
  bytes[at] = (bytes[at] as number) ^ 1;
  writeFileSync(path, bytes);
}

afterAll(() => home[Symbol.dispose]());

test.runIf(isRequired)(
  "the verifiers are here, because they could be brought: npm run tools",
  () => {
    expect(areHere).toBe(true);
  },
);

describe.runIf(areHere)("verifiers of others", () => {
  const log = buildLog(entriesOf(recordsOf(PROOF.count)));
  const reader = { read: (path: string) => log.files.get(path) };
  const subtrees = (size: number) => subtreesFromTiles(size, (tile) => readTile(reader, tile));

  beforeAll(() => {
    write(GOOD, log.files);
    writeFileSync(VKEY, `${encodeVkey(LOG.key)}\n`);
  });

  test("Tessera's fsck finds a good log good", () => {
    expect(fsckSays(GOOD)).toBe(success(PROOF.count));
  });

  const entries0 = "tile/entries/000";
  const damage: readonly [string, (dir: string) => void][] = [
    ["a byte of an entry", (dir) => flip(join(dir, entries0), 60)],
    ["a byte of a tile of level 0", (dir) => flip(join(dir, "tile/0/000"), 40)],
    [
      "a byte of a tile of level 1",
      (dir) => flip(join(dir, `tile/1/000.p/${Math.floor(1_500 / 256)}`), 40),
    ],
    [
      "two bundles swapped",
      (dir) => {
        const [one, two] = [join(dir, entries0), join(dir, "tile/entries/001")];
        const kept = readFileSync(one);
        writeFileSync(one, readFileSync(two));
        writeFileSync(two, kept);
      },
    ],
    ["a bundle deleted", (dir) => rmSync(join(dir, "tile/entries/001"))],
    [
      "bytes behind the last entry of a bundle",
      (dir) => writeFileSync(join(dir, entries0), "xx", { flag: "a" }),
    ],
    ["the size in the checkpoint", (dir) => flip(join(dir, "checkpoint"), 31)],
  ];

  test.runIf(PROOF.count === 1_500).each(damage)("Tessera's fsck finds %s", (name, bend) => {
    expect(fsckSays(bent(name.replaceAll(" ", "-"), bend))).toBe("not successful");
  });

  test("what fsck cannot see: an older checkpoint that was signed", () => {
    const older = buildLog(entriesOf(recordsOf(300)));
    const dir = bent("rolled-back", (at) => write(at, older.files));
    expect(fsckSays(dir)).toBe(success(300));
  });

  test("Go's note and tlog find the same root from the entries, and another in changed ones", () => {
    const { status, stdout } = run(TLOGCHECK, ["log", GOOD, VKEY]);
    expect([status, stdout]).toEqual([0, expect.stringContaining(`ok ${PROOF.count} entries`)]);
    const dir = bent("for-tlog", (at) => flip(join(at, entries0), 60));
    const changed = run(TLOGCHECK, ["log", dir, VKEY]);
    expect(changed).toMatchObject({ status: 1, stderr: expect.stringContaining("signed is") });
  });

  test("Go's tlog takes our receipts, and none for another place", () => {
    const size = PROOF.count;
    const entries = entriesOf(recordsOf(size));
    for (const index of [0, 255, 256, size - 1]) {
      const proof = inclusionProof(index, size, subtrees(size));
      const checkpoint = (log.files.get("checkpoint") as Buffer).toString();
      const entry = entries[index] as Buffer;
      const path = join(home.path, "receipt");
      const text = encodeReceipt({ index, proof, checkpoint, entry });
      writeFileSync(path, text);
      expect(run(TLOGCHECK, ["receipt", path, VKEY])).toMatchObject({ status: 0 });
      writeFileSync(path, text.replace(/^index .*$/m, `index ${(index + 1) % size}`));
      expect(run(TLOGCHECK, ["receipt", path, VKEY])).toMatchObject({ status: 1 });
    }
  });

  test("Go's tlog takes our proofs of consistency, and none of another root", () => {
    const size = PROOF.count;
    const root = (at: number): string => rootAt(at, subtrees(size)).toString("base64");
    const path = join(home.path, "consistency");
    const tell = (old: number, oldRoot: string): SpawnSyncReturns<string> => {
      const proof = consistencyProof(old, size, subtrees(size));
      const hashes = proof.map((hash) => Buffer.from(hash).toString("base64"));
      writeFileSync(path, `${[old, oldRoot, size, root(size), ...hashes].join("\n")}\n`);
      return run(TLOGCHECK, ["consistency", path]);
    };
    for (const old of [1, 255, 256, 257, 1_024, size - 1]) {
      expect(tell(old, root(old))).toMatchObject({ status: 0 });
      expect(tell(old, root(old - 1 || 2))).toMatchObject({ status: 1 });
    }
  });
});
