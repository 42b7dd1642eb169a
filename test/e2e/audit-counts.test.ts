import { readFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { fileKeys } from "../../adapters/file-keys.ts";
import { readTrustFile } from "../../adapters/trust-file.ts";
import { verifyLog } from "../../audit/verify-log.ts";
import { logFolder, logSigner } from "../../node/audit/log-origin.ts";
import { e2ePolicy, PROVIDER_KEYS } from "../support/e2e-policy.ts";
import { proofCount } from "../support/proof.ts";
import { E2E_TIMEOUTS } from "../support/run-altrace.ts";
import { type Altrace, startAltrace } from "../support/start-altrace.ts";
import { startProvider } from "../support/start-provider.ts";

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

async function sendAll(altrace: Altrace, count: number): Promise<Map<number, number>> {
  const statuses = new Map<number, number>();
  const worker = `Bearer ${altrace.key("research/worker-1")}`;
  let next = 0;
  const client = async (): Promise<void> => {
    while (next < count) {
      const no = next++;
      const status = await send(altrace.gateway, no % 20 === 0 ? worker : UNKNOWN);
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, client));
  return statuses;
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
    env: PROVIDER_KEYS,
  });
  const statuses = await sendAll(altrace, PROOF.count);
  const answered = [...statuses.values()].reduce((sum, count) => sum + count, 0);
  expect(answered).toBe(PROOF.count);
  const counted = await countedByMetrics(altrace);
  expect(counted.all).toBe(PROOF.count);
  expect(counted.coalesced).toBeGreaterThan(0);
  await altrace.stop();

  const home = join(altrace.home, "node");
  const { mesh } = readTrustFile(join(altrace.home, "trust.json"));
  const name = { mesh, node: "node-1", epoch: 1 };
  const folder = logFolder(home, name);
  const read = (path: string): Buffer | undefined => {
    try {
      return readFileSync(join(folder, path));
    } catch {
      return undefined;
    }
  };
  const { key } = logSigner(fileKeys(join(home, "keys")), name);
  const report = verifyLog({ reader: { read }, logKey: key });
  expect(report.findings).toEqual([]);
  expect(report.decisions).toBe(PROOF.count);
  // What was counted is not written one by one.
  expect(report.leaves).toBeLessThan(PROOF.count - counted.coalesced / 2);
});
