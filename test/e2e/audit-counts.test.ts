import { existsSync } from "node:fs";
import { Agent, request } from "node:http";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { fileKeys } from "../../adapters/file-keys.ts";
import { readTrustFile } from "../../adapters/trust-file.ts";
import type { DecisionRecord, FloodRecord } from "../../audit/record.ts";
import { type VerifyReport, verifyLog } from "../../audit/verify-log.ts";
import { readerOf } from "../../cli/audit/log-place.ts";
import { SINGLE_REFUSALS_PER_SECOND_MAX } from "../../node/audit/flood-gate.ts";
import { logFolder, logSigner } from "../../node/audit/log-origin.ts";
import { e2ePolicy, PROVIDER_KEYS } from "../support/e2e-policy.ts";
import { proofCount } from "../support/proof.ts";
import { E2E_TIMEOUTS } from "../support/run-altrace.ts";
import { runHere } from "../support/run-here.ts";
import { type Altrace, startAltrace } from "../support/start-altrace.ts";
import { startProvider } from "../support/start-provider.ts";
import { stopProcess } from "../support/stop-process.ts";
import { waitUntil } from "../support/wait-until.ts";

vi.setConfig(E2E_TIMEOUTS);

const PROOF = proofCount("decisions counted", { small: 800, full: 50_000 });
/** Requests of an agent before and after a crash, fewer than a second of them would be coalesced. */
const CALM = 20;
/** Requests that are under way at once. */
const AT_ONCE = 16;
/** Refusals in one go: enough of them in some second, on most machines. */
const BURST = 3 * SINGLE_REFUSALS_PER_SECOND_MAX;
const UNKNOWN = "Bearer altk_0000000000_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const BODY = JSON.stringify({
  model: "gpt-5-mini",
  max_completion_tokens: 16,
  messages: [{ role: "user", content: "hello" }],
});

const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE });

/** Sends one request; resolves with its status once its answer was read to the end. */
function send(
  gateway: string,
  authorization: string,
  how: { readonly agent: Agent; readonly onWritten?: () => void } = { agent },
): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = { authorization, "content-type": "application/json" };
    const url = `${gateway}/v1/chat/completions`;
    const sent = request(url, { agent: how.agent, method: "POST", headers }, (answer) => {
      answer.resume();
      answer.on("end", () => resolve(answer.statusCode ?? 0));
    });
    sent.on("error", reject);
    if (how.onWritten !== undefined) sent.on("finish", how.onWritten);
    sent.end(BODY);
  });
}

/** Requests that a node finds all at once: it stood still while they were sent. */
async function sendBurst({ gateway, process: { pid } }: Altrace): Promise<void> {
  const connections = new Agent({ maxSockets: BURST });
  await stopProcess(pid);
  const written: Promise<void>[] = [];
  const answers = Array.from({ length: BURST }, () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    written.push(promise);
    return send(gateway, UNKNOWN, { agent: connections, onWritten: resolve });
  });
  await Promise.all(written);
  process.kill(pid, "SIGCONT");
  await Promise.all(answers);
  connections.destroy();
}

function workerOf(altrace: Altrace): string {
  return `Bearer ${altrace.key("research/worker-1")}`;
}

/** Resolves with the number of answers. */
async function sendAll(altrace: Altrace, count: number): Promise<number> {
  let answers = 0;
  let next = 0;
  const client = async (): Promise<void> => {
    while (next < count) {
      const no = next++;
      await send(altrace.gateway, no % 20 === 0 ? workerOf(altrace) : UNKNOWN);
      answers++;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, client));
  return answers;
}

async function countedByMetrics(altrace: Altrace): Promise<{ all: number; coalesced: number }> {
  const text = await (await fetch(altrace.ready.metrics)).text();
  const sum = (name: string): number =>
    [...text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\d+)$`, "gm"))]
      .map(([, value]) => Number(value))
      .reduce((total, value) => total + value, 0);
  return {
    all: sum("altrace_decisions_total"),
    coalesced: sum("altrace_audit_refusals_coalesced_total"),
  };
}

/** Every log of the node's home, one epoch after another, as a verifier sees it. */
function verified(altrace: Altrace): readonly VerifyReport[] {
  const home = join(altrace.home, "node");
  const { mesh } = readTrustFile(join(altrace.home, "trust.json"));
  const reports: VerifyReport[] = [];
  for (let epoch = 1; ; epoch++) {
    const name = { mesh, node: "node-1", epoch };
    const folder = logFolder(home, name);
    if (!existsSync(join(folder, "checkpoint"))) return reports;
    const { key } = logSigner(fileKeys(join(home, "keys")), name);
    reports.push(verifyLog({ reader: readerOf(folder), logKey: key }));
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

async function recordsOf<R>(altrace: Altrace, ...words: string[]): Promise<readonly R[]> {
  const said = await altrace.mustCli("audit", "query", "--limit", "1000000", "--json", ...words);
  return JSON.parse(said).records;
}

/** Answers that the kill cut: a second decision of a request, in the log and in the metrics. */
async function cutsIn(altrace: Altrace): Promise<number> {
  const words = ["--kind", "decision", "--reason", "killed_team"];
  const killed = await recordsOf<DecisionRecord>(altrace, ...words);
  return killed.filter(({ ph }) => ph === "response").length;
}

async function coalescedIn(altrace: Altrace): Promise<number> {
  return sum((await recordsOf<FloodRecord>(altrace, "--kind", "flood")).map(({ n }) => n));
}

test("requests sent, decisions counted and the log's sum are one number: in floods, by kills, over restarts", async () => {
  await using provider = await startProvider();
  await using altrace = await startAltrace({
    policy: e2ePolicy(provider.origin),
    env: { ...PROVIDER_KEYS, ALTRACE_AUDIT_EPOCH_RECORDS: "100" },
  });
  const epochFile = join(altrace.home, "node", "log", "epoch.json");
  const half = PROOF.count / 2;
  expect(await sendAll(altrace, half)).toBe(half);
  // The log is ended meanwhile, for its size, and another one follows; the one agent is killed, and comes back.
  await waitUntil("a second log", async () => existsSync(epochFile));
  const rest = sendAll(altrace, half);
  await altrace.mustCli("kill", "team/research", "--wait");
  expect(await send(altrace.gateway, workerOf(altrace))).toBe(403);
  await altrace.mustCli("revive", "team/research", "--wait");
  expect(await rest).toBe(half);
  let sent = PROOF.count + 1;
  // On a machine that is slow enough no second has as many of them as it takes.
  const counted = await waitUntil("refusals that are counted together", async () => {
    await sendBurst(altrace);
    sent += BURST;
    const now = await countedByMetrics(altrace);
    return now.coalesced > 0 && now;
  });
  // What was only counted is written once a second; what was answered one by one is there when its answer is.
  await waitUntil(
    "the flood's count",
    async () => (await coalescedIn(altrace)) === counted.coalesced,
  );
  const cuts = await cutsIn(altrace);
  expect(counted.all).toBe(sent + cuts);
  for (let no = 0; no < CALM; no++) await send(altrace.gateway, workerOf(altrace));
  sent += CALM;
  expect((await countedByMetrics(altrace)).all).toBe(sent + cuts);
  await altrace.crash();

  await altrace.start();
  for (let no = 0; no < CALM; no++) await send(altrace.gateway, workerOf(altrace));
  expect((await countedByMetrics(altrace)).all).toBe(CALM);
  await altrace.stop();
  const reports = verified(altrace);
  expect(reports.flatMap(({ findings }) => findings)).toEqual([]);
  expect(reports.length).toBeGreaterThan(1);
  expect(sum(reports.map(({ decisions }) => decisions))).toBe(sent + cuts + CALM);
  expect(await runHere("audit", "verify", "--home", altrace.home)).toMatchObject({ code: 0 });
});
