import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { fileKeys } from "../../../adapters/file-keys.ts";
import { machineDisk } from "../../../adapters/machine-disk.ts";
import { parseVkey } from "../../../audit/signed-note.ts";
import { anchorOf, disappeared, listedLogs, withOtherKey } from "../../../cli/audit/listed-logs.ts";
import { logsBelow } from "../../../cli/audit/log-place.ts";
import { keysPath } from "../../../coordinator/found-mesh.ts";
import { OperationsLog, operationsFolder } from "../../../coordinator/operations/operations-log.ts";
import { runHere } from "../../support/run-here.ts";
import { tempDir } from "../../support/temp-dir.ts";

const T = 1_790_000_000_000;
const VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const OTHER = VKEY.replace("foo", "bar");
const home = tempDir();
afterAll(() => home[Symbol.dispose]());

const signer = fileKeys(keysPath(home.path)).loadOrCreate("operations");
const log = new OperationsLog({
  disk: machineDisk,
  home: home.path,
  name: { mesh: "acme", replica: "c1" },
  signer,
});
const one = (origin: string, size: number, t = T, vkey = VKEY) =>
  ({ k: "log", t, origin, vkey, size, root: "ab".repeat(32) }) as const;

test("a log that was listed and is nowhere has disappeared, once it had time to arrive", () => {
  log.append([one("acme/node-1/e1", 10), one("acme/node-2/e1", 7)]);
  log.append([one("acme/node-1/e1", 50, T + 60_000), one("acme/node-3/e1", 1, T + 60_000)]);
  const own = logsBelow(operationsFolder(home.path));
  const listed = listedLogs(own);
  const by = "acme/coordinator/c1/e1";
  expect(listed).toMatchObject([
    { origin: "acme/node-1/e1", size: 50, sinceMs: T, by },
    { origin: "acme/node-2/e1", size: 7 },
    { origin: "acme/node-3/e1", size: 1 },
  ]);
  const there = { dir: home.path, origin: "acme/node-1/e1" };
  const gone = disappeared(listed, { places: [...own, there], nowMs: T + 90_000 });
  expect(gone.map(({ origin }) => origin)).toEqual(["acme/node-2/e1"]);
  // In a HOME that keeps no copies, logs of other machines are not to be expected.
  expect(disappeared(listed, { places: own, home: home.path, nowMs: T + 90_000 })).toEqual([]);
  expect(anchorOf(listed[0] as (typeof listed)[0])).toMatchObject({ size: 50 });
});

test("a log whose key is another one than the one listed first is named", () => {
  log.append([one("example.com/foo", 5, T + 60_000), one("example.com/foo", 6, T + 60_000, OTHER)]);
  const listed = listedLogs(logsBelow(operationsFolder(home.path)));
  const key = parseVkey(VKEY);
  if (!key.ok) throw new Error(key.detail);
  expect(withOtherKey(listed, [key.value])).toEqual([]);
  const changed = { ...key.value, id: 1 };
  expect(withOtherKey(listed, [changed]).map(({ origin }) => origin)).toEqual(["example.com/foo"]);
});

test("`audit verify` ends with 1 for it, and for nothing else", async () => {
  const folder = operationsFolder(home.path);
  const keys = join(home.path, "log.keys");
  const own = (await runHere("--home", home.path, "audit", "keys", "--own")).stdout;
  writeFileSync(keys, own);
  const verify = async () => {
    const words = ["audit", "verify", "--offline", folder, "--keys", keys, "--json"];
    const { code, stdout } = await runHere("--home", home.path, ...words);
    return { code, said: JSON.parse(stdout) };
  };
  expect(await verify()).toMatchObject({ code: 0, said: { ok: true, listed_logs: 4 } });
  writeFileSync(keys, `${own}${VKEY}\n`);
  expect(await verify()).toMatchObject({
    code: 1,
    said: {
      logs: [{ findings: [] }],
      missing_logs: expect.arrayContaining(["acme/node-1/e1", "acme/node-2/e1"]),
    },
  });
});
