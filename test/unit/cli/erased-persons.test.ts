import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { cryptoRandom } from "../../../adapters/crypto-random.ts";
import { machineDisk } from "../../../adapters/machine-disk.ts";
import type { AuditRecord } from "../../../audit/record.ts";
import { PersonKeys } from "../../../node/audit/person-keys.ts";
import { runHere } from "../../support/run-here.ts";
import { tempDir } from "../../support/temp-dir.ts";
import { buildLog, entriesOf, recordsOf, ridOf } from "../audit/sample-log.ts";

const folder = tempDir();
const HOME = join(folder.path, "home");
const OWN = join(HOME, "node", "log");
const COPY = join(folder.path, "copy");

/**
 * A home whose keys came back from a backup, as they were before alice was erased. Her first log says nothing
 * of that, the one after it does; and a copy of the first alone, elsewhere.
 */
beforeAll(() => {
  const keys = new PersonKeys({
    ...{ disk: machineDisk, home: join(HOME, "node"), random: cryptoRandom },
    ...{ periodMs: 86_400_000, keepMs: undefined, slotsMax: 16, tagOf: (person) => person },
  });
  const [alice, bob] = ["user:alice", "user:bob"].map((person) => {
    const kept = keys.pseudonymFor(person, 0);
    return kept === "full" ? "" : kept.pseudonym;
  }) as [string, string];
  keys.close();
  const behalf = (sp: string, at: number) =>
    ({ ...recordsOf(at + 1)[at], sp, rid: ridOf(at) }) as AuditRecord;
  const [genesis] = recordsOf(1) as [AuditRecord];
  const { v, t, node } = genesis;
  const redact: AuditRecord = { v, t, node, k: "redact", kid: alice, by: "op-1", rc: "asked_for" };
  const first = [genesis, behalf(alice, 1), behalf(bob, 2)];
  write(OWN, "acme/node-7/e1", first);
  write(COPY, "acme/node-7/e1", first);
  write(OWN, "acme/node-7/e2", [genesis, behalf(alice, 1), redact]);
});
afterAll(() => folder[Symbol.dispose]());

function write(below: string, origin: string, records: readonly AuditRecord[]): void {
  for (const [path, bytes] of buildLog(entriesOf(records)).files) {
    const file = join(below, origin, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, bytes);
  }
}

/** What is said of persons, one line of output after another. */
async function said(...words: string[]): Promise<readonly (string | undefined)[]> {
  const { code, stdout, stderr } = await runHere("audit", ...words, "--persons", "--home", HOME);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return stdout.split("\n").flatMap((line) => /user:[a-z]+|redacted/.exec(line)?.[0] ?? []);
}

test("who is erased is named by nothing that reads the log, wherever it begins and whatever keys are back", async () => {
  const all = ["redacted", "user:bob", "redacted"];
  expect(await said("query")).toEqual(all);
  expect(await said("tail", "--from", "1/0")).toEqual(all);
  expect(await said("tail", "--from", "1/0", "--ocsf")).toEqual(all);
  // The erasure comes after what is shown, in the same log or in the next one.
  expect(await said("tail", "--from", "2/1")).toEqual(["redacted"]);
  expect(await said("query", "--request", ridOf(1))).toEqual(["redacted", "redacted"]);
});

test("a copy that is older than the erasure is read by what this home's own log says", async () => {
  expect(await said("query", "--offline", COPY)).toEqual(["redacted", "user:bob"]);
  expect(await said("tail", "--offline", COPY)).toEqual(["redacted", "user:bob"]);
});

test("nobody is found by the name of who is erased", async () => {
  const query = ["audit", "query", "--offline", COPY, "--home", HOME, "--person"];
  expect(await runHere(...query, "user:alice")).toMatchObject({ code: 1, stdout: "" });
  expect((await runHere(...query, "user:bob")).code).toBe(0);
});
