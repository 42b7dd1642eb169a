import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemClock } from "../../adapters/system-clock.ts";
import { openWitnessClient } from "../../adapters/witness-client.ts";
import { startWitnessServer } from "../../adapters/witness-server.ts";
import { openCheckpoint, signCheckpoint } from "../../audit/checkpoint.ts";
import { LogFiles } from "../../audit/log-files.ts";
import { encodeNote, encodeVkey, KEY_TYPES, type VerifierKey } from "../../audit/signed-note.ts";
import { ADD_CHECKPOINT_BYTES_MAX } from "../../audit/witness.ts";
import { freePort } from "../../bench/harness/free-ports.ts";
import { BroughtLog } from "../../coordinator/outside/brought-log.ts";
import { readOutsideFile } from "../../coordinator/outside/outside-file.ts";
import { type Outcome, WitnessLane } from "../../coordinator/outside/witness-lane.ts";
import { Witness, witnessKey } from "../../coordinator/witness.ts";
import { twinKeys } from "../../ports/twin-keys.ts";
import { twinRandom } from "../../ports/twin-random.ts";
import { twinStore } from "../../ports/twin-store.ts";
import { areGoProgramsRequired } from "../support/go-programs.ts";
import { tempDir } from "../support/temp-dir.ts";
import { waitUntil } from "../support/wait-until.ts";
import { buildLog, entriesOf, LOG, ORIGIN, recordsOf, signerOf } from "../unit/audit/sample-log.ts";
import { TwinDisk } from "../unit/node/audit/twin-disk.ts";

/** A witness that knows the sample log, at a URL. */
type Running = {
  readonly url: string;
  readonly key: VerifierKey;
  stop(): Promise<unknown>;
};

const OMNIWITNESS = join(import.meta.dirname, "..", "..", ".tools", "bin", "omniwitness");
const isOmniwitnessHere = existsSync(OMNIWITNESS);
const DIR = "/home/archive";
const RECORDS = recordsOf(600);

async function startOwn(): Promise<Running> {
  const signer = twinKeys(twinRandom(7)).loadOrCreate("witness");
  const of = { mesh: "other", replicaId: "w1", signer };
  const witness = new Witness({
    ...{ ...of, store: twinStore({}), clock: systemClock, tell: () => undefined },
    outside: [LOG.key],
  });
  const server = await startWitnessServer({
    ...{ host: "127.0.0.1", port: 0, bodyBytesMax: ADD_CHECKPOINT_BYTES_MAX },
    door: {
      add: (body) => witness.addFromOutside(body),
      latest: (hash) => witness.latest(hash),
    },
    onBug: (error) => {
      throw error;
    },
  });
  const url = `http://127.0.0.1:${server.port}`;
  return { url, key: witnessKey(of), stop: () => server.close() };
}

/** The witness of the transparency-dev team, unchanged, with its state in memory. */
async function startOmniwitness(): Promise<Running> {
  const home = tempDir();
  const name = "omniwitness.example";
  const seed = Buffer.alloc(32, 9);
  const forLogs = signerOf(name, KEY_TYPES.log, 9).key;
  const { key } = signerOf(name, KEY_TYPES.cosignature, 9);
  const id = forLogs.id.toString(16).padStart(8, "0");
  const secret = Buffer.concat([Uint8Array.of(KEY_TYPES.log), seed]).toString("base64");
  const [keyPath, logsPath] = [join(home.path, "key"), join(home.path, "logs.yaml")];
  writeFileSync(keyPath, `PRIVATE+KEY+${name}+${id}+${secret}`);
  const log = `  - Origin: ${ORIGIN}\n    URL: https://log.invalid/\n    PublicKey: ${encodeVkey(LOG.key)}\n`;
  writeFileSync(logsPath, `Logs:\n${log}`);
  const port = await freePort();
  const words = [
    ...["--listen", `127.0.0.1:${port}`, "--metrics_listen", ""],
    ...["--private_key_path", keyPath, "--additional_logs", logsPath],
  ];
  const child: ChildProcess = spawn(OMNIWITNESS, words, { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr?.on("data", (piece: Buffer) => {
    said += piece.toString("utf8");
  });
  const url = `http://127.0.0.1:${port}`;
  await waitUntil(
    () => `omniwitness to listen: ${said}`,
    () => fetch(url).then(Boolean, () => undefined),
  );
  const stop = async (): Promise<void> => {
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill();
    await ended;
    home[Symbol.dispose]();
  };
  return { url, key, stop };
}

/** A log of ours, and the lane that brings it to that witness. */
function bring(to: Running, { bend = 0, log = LOG } = {}) {
  const client = openWitnessClient({ lookup: () => undefined });
  const vkey = encodeVkey(to.key);
  const file = readOutsideFile(Buffer.from(`witness w ${vkey} ${to.url}\nquorum w\n`));
  const disk = new TwinDisk();
  disk.makeFolder(DIR);
  const files = new LogFiles(disk, { home: DIR, dir: join(DIR, "log") });
  const { policy } = file;
  const of = { key: log.key, isOwn: true, files, policy, coordinator: to.key };
  const brought = new BroughtLog({ ...of, onWitnessed: () => undefined });
  const outcomes: Outcome[] = [];
  const [unwell, evidence]: [string[], string[]] = [[], []];
  const [place] = file.places;
  if (place === undefined) throw new Error("no place");
  const lane = new WitnessLane(place, client.call, systemClock, {
    answered: (outcome) => outcomes.push(outcome),
    silent: (detail) => outcomes.push(detail as Outcome),
    answersAgain: () => undefined,
    fault: (_origin, detail) => unwell.push(detail),
    unwell: (_origin, standing) => unwell.push(standing),
    evidence: ({ contradiction }) => evidence.push(contradiction),
  });
  let turn = 0;
  /** The log has so many records, is signed, and is brought. @returns What came of it. */
  const at = async (size: number): Promise<readonly Outcome[]> => {
    const records = RECORDS.slice(0, size).map((one) => ({ ...one, t: one.t + bend }));
    const made = buildLog(entriesOf(records));
    for (const [path, bytes] of made.files) files.put(path, bytes);
    files.settle(() => undefined);
    const text = made.text.replace(ORIGIN, log.key.name);
    brought.offer(encodeNote(text, [signCheckpoint(text, log)]));
    expect(brought.refresh(turn++ * 1_000, 1_000)).toBe(true);
    outcomes.length = 0;
    lane.want(brought);
    lane.pump();
    await waitUntil(
      () => `an answer about ${size}, but ${outcomes}`,
      () => outcomes.some((one) => one !== "elsewhere") || undefined,
    );
    return [...outcomes];
  };
  const witnessed = () => {
    const bytes = disk.contentOf(join(DIR, "log", "witnessed"));
    const opened = bytes && openCheckpoint(bytes, log.key, [to.key]);
    return opened?.ok ? [opened.value.size, opened.value.cosignatures.length] : undefined;
  };
  return { at, witnessed, unwell, evidence, close: () => client.close() };
}

test.runIf(areGoProgramsRequired())("omniwitness is here, because it could be brought", () => {
  expect(isOmniwitnessHere).toBe(true);
});

type Offered = {
  readonly name: string;
  readonly start: () => Promise<Running>;
  readonly isHere: boolean;
  /** What it says to a log's name under another key: the protocol has 403. */
  readonly toThief: Outcome;
};

const witnesses: readonly Offered[] = [
  { name: "this program's own", start: startOwn, isHere: true, toThief: "refused" },
  {
    name: "transparency-dev's omniwitness",
    start: startOmniwitness,
    isHere: isOmniwitnessHere,
    // It answers 500, which is its own fault by the words of HTTP.
    toThief: "unanswered",
  },
];

for (const { name, start, isHere, toThief } of witnesses) {
  describe.runIf(isHere)(`what a log may expect of a witness: ${name}`, () => {
    let to: Running;
    beforeAll(async () => {
      to = await start();
    });
    afterAll(() => to.stop());

    test("cosigns a log as it grows, and says where it is to one that has forgotten", async () => {
      const log = bring(to);
      expect(await log.at(100)).toEqual(["cosigned"]);
      expect(await log.at(300)).toEqual(["cosigned"]);
      expect(log.witnessed()).toEqual([300, 1]);
      const anew = bring(to);
      expect(await anew.at(300)).toEqual(["elsewhere", "cosigned"]);
      expect(await anew.at(600)).toEqual(["cosigned"]);
      expect(anew.witnessed()).toEqual([600, 1]);
      const older = bring(to);
      expect(await older.at(500)).toEqual(["ahead"]);
      expect(older.unwell).toEqual(["ahead"]);
      for (const one of [log, anew, older]) await one.close();
    });

    test("cosigns no other history", async () => {
      const before = bring(to);
      await before.at(600);
      const fork = bring(to, { bend: 1 });
      expect(await fork.at(600)).toEqual(["elsewhere", "disputed"]);
      expect(fork.unwell).toEqual(["disputed"]);
      await waitUntil("the look at what it has", () => fork.evidence[0]);
      expect(fork.witnessed()).toBeUndefined();
      for (const one of [fork, before]) await one.close();
    });

    test("cosigns no log that it was not told of, nor one in another's name", async () => {
      const unknown = bring(to, { log: signerOf("other.example/e1", KEY_TYPES.log, 3) });
      expect(await unknown.at(100)).toEqual(["unknown"]);
      const thief = bring(to, { log: signerOf(ORIGIN, KEY_TYPES.log, 8) });
      expect(await thief.at(100)).toEqual([toThief]);
      expect(unknown.unwell).toEqual(["unknown"]);
      expect(thief.witnessed()).toBeUndefined();
      for (const one of [unknown, thief]) await one.close();
    });
  });
}

describe("HTTP towards a witness", () => {
  test("an answer that is too long, or does not come, is none", async () => {
    const hang = Promise.withResolvers<string>();
    const server = await startWitnessServer({
      ...{ host: "127.0.0.1", port: 0, bodyBytesMax: 1_000 },
      door: {
        add: async (body) => ({
          status: 200,
          body: body.length > 10 ? await hang.promise : "x".repeat(2_000),
        }),
        latest: () => undefined,
      },
      onBug: () => undefined,
    });
    const client = openWitnessClient({ lookup: () => undefined });
    const url = `http://127.0.0.1:${server.port}/add-checkpoint`;
    const ask = { method: "POST", answerBytesMax: 1_000 } as const;
    await expect(client.call(url, { ...ask, body: "short", timeoutMs: 5_000 })).rejects.toThrow(
      /1000 bytes/,
    );
    const slow = { ...ask, body: "longer than that", timeoutMs: 50 };
    await expect(client.call(url, slow)).rejects.toThrow();
    hang.resolve("");
    await client.close();
    await server.close();
  });
});
