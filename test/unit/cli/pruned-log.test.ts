import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { encodeVkey } from "../../../audit/signed-note.ts";
import { bundlePath } from "../../../audit/tiles.ts";
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
