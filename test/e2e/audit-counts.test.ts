import { existsSync } from "node:fs";
import { Agent, request } from "node:http";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { fileKeys } from "../../adapters/file-keys.ts";
import { readTrustFile } from "../../adapters/trust-file.ts";
import { verifyLog } from "../../audit/verify-log.ts";
import { readerOf } from "../../cli/audit/log-place.ts";
import { logFolder, logSigner } from "../../node/audit/log-origin.ts";
import { e2ePolicy, PROVIDER_KEYS } from "../support/e2e-policy.ts";
import { proofCount } from "../support/proof.ts";
import { E2E_TIMEOUTS } from "../support/run-altrace.ts";
import { runHere } from "../support/run-here.ts";
import { type Altrace, startAltrace } from "../support/start-altrace.ts";
import { startProvider } from "../support/start-provider.ts";
import { waitUntil } from "../support/wait-until.ts";

vi.setConfig(E2E_TIMEOUTS);

const PROOF = proofCount("decisions counted", { small: 800, full: 50_000 });
/** Requests that are under way at once. */
const AT_ONCE = 16;
const UNKNOWN = "Bearer altk_0000000000_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const BODY = JSON.stringify({
  model: "gpt-5-mini",
  max_completion_tokens: 16,
  messages: [{ role: "user", content: "hello" }],
});

const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE });

/** Sends one request; resolves with its status once its answer was read to the end. */
function send(gateway: string, authorization: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = { authorization, "content-type": "application/json" };
    const url = `${gateway}/v1/chat/completions`;
    const sent = request(url, { agent, method: "POST", headers }, (answer) => {
      answer.resume();
      answer.on("end", () => resolve(answer.statusCode ?? 0));
    });
    sent.on("error", reject);
    sent.end(BODY);
  });
}

/** Resolves with the number of answers. */
async function sendAll(altrace: Altrace, count: number): Promise<number> {
  let answers = 0;
  const worker = `Bearer ${altrace.key("research/worker-1")}`;
  let next = 0;
  const client = async (): Promise<void> => {
    while (next < count) {
      const no = next++;
      await send(altrace.gateway, no % 20 === 0 ? worker : UNKNOWN);
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

test("requests sent, decisions counted and the log's sum are one number, in a flood too", async () => {
  await using provider = await startProvider();
  await using altrace = await startAltrace({
    policy: e2ePolicy(provider.origin),
    env: { ...PROVIDER_KEYS, ALTRACE_AUDIT_EPOCH_RECORDS: "100" },
  });
  const home = join(altrace.home, "node");
  const half = PROOF.count / 2;
  const answered = await sendAll(altrace, half);
  // The log is ended meanwhile, for its size, and another one follows.
  await waitUntil("a second log", async () => existsSync(join(home, "log", "epoch.json")));
  expect(answered + (await sendAll(altrace, half))).toBe(PROOF.count);
  const counted = await countedByMetrics(altrace);
  expect(counted.all).toBe(PROOF.count);
  expect(counted.coalesced).toBeGreaterThan(0);
  await altrace.stop();

  const { mesh } = readTrustFile(join(altrace.home, "trust.json"));
  let [decisions, leaves, epoch] = [0, 0, 0];
  for (let isThere = true; isThere; ) {
    const name = { mesh, node: "node-1", epoch: ++epoch };
    const { key } = logSigner(fileKeys(join(home, "keys")), name);
    const folder = logFolder(home, name);
    const report = verifyLog({ reader: readerOf(folder), logKey: key });
    isThere = existsSync(join(folder, "checkpoint"));
    if (!isThere) break;
    expect(report.findings).toEqual([]);
    decisions += report.decisions;
    leaves += report.leaves;
  }
  expect(epoch - 1).toBeGreaterThan(1);
  expect(decisions).toBe(PROOF.count);
  // What was counted is not written one by one.
  expect(leaves).toBeLessThan(PROOF.count - counted.coalesced / 2);
  expect(await runHere("audit", "verify", "--home", altrace.home)).toMatchObject({ code: 0 });
});
