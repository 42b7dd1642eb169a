import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { encodeVkey } from "../../../audit/signed-note.ts";
import { bundlePath } from "../../../audit/tiles.ts";
import { entriesFrom } from "../../../cli/audit/entries.ts";
import { SMALL_SEGMENT_LEAVES } from "../../../node/audit/index-segment.ts";
import { runHere } from "../../support/run-here.ts";
import { tempDir } from "../../support/temp-dir.ts";
import { buildLog, entriesOf, LOG, ORIGIN, recordsOf, ridOf } from "../audit/sample-log.ts";

const SIZE = SMALL_SEGMENT_LEAVES + 300;
const folder = tempDir();
const dir = join(folder.path, "logs", ORIGIN);
const keys = join(folder.path, "keys");

/** A copy of what a node has left after it removed what it had shipped. */
beforeAll(() => {
  const { files } = buildLog(entriesOf(recordsOf(SIZE)));
  for (const [path, bytes] of files) {
    mkdirSync(dirname(join(dir, path)), { recursive: true });
    writeFileSync(join(dir, path), bytes);
  }
  for (let index = 0; index < SMALL_SEGMENT_LEAVES / 256; index++) {
    rmSync(join(dir, bundlePath({ index, width: 256 })));
  }
  writeFileSync(join(dir, "minimum"), `${SMALL_SEGMENT_LEAVES}\n`);
  writeFileSync(keys, `${encodeVkey(LOG.key)}\n`);
});
afterAll(() => folder[Symbol.dispose]());

async function audit(...words: string[]) {
  const offline = ["--offline", join(folder.path, "logs"), "--json"];
  const { code, stdout } = await runHere("audit", ...words, ...offline, "--home", folder.path);
  return { code, said: JSON.parse(stdout) };
}

test("a log whose first records were removed verifies, and says how many it is without", async () => {
  expect(await audit("verify", "--keys", keys)).toMatchObject({
    code: 0,
    said: { ok: true, logs: [{ leaves: 300, pruned: SMALL_SEGMENT_LEAVES, findings: [] }] },
  });
});

test("and answers for the rest, with its index or one that is made anew", async () => {
  const asked = async (seq: number) => (await audit("query", "--request", ridOf(seq))).said.records;
  for (const reindexed of [false, true]) {
    if (reindexed) {
      const { said } = await audit("reindex");
      expect(said.logs).toEqual([{ origin: ORIGIN, records: 300 }]);
    }
    expect(await asked(10)).toEqual([]);
    expect(await asked(SIZE - 5)).toMatchObject([{ rid: ridOf(SIZE - 5), seq: SIZE - 5 }]);
  }
  const { said } = await audit("query", "--limit", "1000");
  expect(said.records).toHaveLength(300);
});

test("records that are removed while a query reads are left out, and no others", () => {
  const origin = "acme/node-8/e1";
  const place = { origin, dir: join(folder.path, "more", origin) };
  const { files } = buildLog(entriesOf(recordsOf(800)));
  for (const [path, bytes] of files) {
    mkdirSync(dirname(join(place.dir, path)), { recursive: true });
    writeFileSync(join(place.dir, path), bytes);
  }
  const remove = (index: number) => rmSync(join(place.dir, bundlePath({ index, width: 256 })));
  const seen = [];
  for (const entries of entriesFrom(place, { from: 0, size: 800 })) {
    seen.push(...entries.map(({ record }) => record.seq));
    if (seen.at(-1) !== 255 || entries.length === 0) continue;
    writeFileSync(join(place.dir, "minimum"), "512\n");
    for (const index of [0, 1]) remove(index);
  }
  expect(seen).toHaveLength(256 + (800 - 512));
  remove(2);
  expect(() => [...entriesFrom(place, { from: 0, size: 800 })]).toThrow("bundle_missing");
});
