import { readdirSync, statSync } from "node:fs";
import { Agent, request } from "node:http";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { Operator } from "../../bench/harness/operator.ts";
import { e2ePolicy, PROVIDER_KEYS } from "../support/e2e-policy.ts";
import { E2E_TIMEOUTS } from "../support/run-altrace.ts";
import { type Altrace, startAltrace } from "../support/start-altrace.ts";
import { type Provider, startProvider } from "../support/start-provider.ts";
import { waitUntil } from "../support/wait-until.ts";

// A node of several data loops is one node: what one of them is told or spends is so for the others.

vi.setConfig(E2E_TIMEOUTS);

/** The kernel shares them out: that one of three loops gets none is less likely than once in 700,000 runs. */
const CONNECTIONS = 36;

let provider: Provider;
let altrace: Altrace;
let operator: Operator;

beforeAll(async () => {
  provider = await startProvider();
  provider.script("held", { held: true });
  altrace = await startAltrace({
    policy: e2ePolicy(provider.origin).replace(
      "    agents:\n",
      "    agents:\n      few: { rate: { requests: 1/hour burst 12 } }\n",
    ),
    env: { ...PROVIDER_KEYS, ALTRACE_LOOPS: "3" },
  });
  operator = new Operator(altrace.ready);
});
afterAll(async () => {
  operator?.[Symbol.dispose]();
  await altrace?.[Symbol.asyncDispose]();
  await provider?.[Symbol.asyncDispose]();
});

type Answer = { readonly status: number; readonly reason: string; readonly text: string };

/** A client of one connection, which is kept. */
function client(agent: string): (prompt: string, stream?: boolean) => Promise<Answer> {
  const kept = new Agent({ keepAlive: true, maxSockets: 1 });
  onTestFinished(() => kept.destroy());
  const headers = {
    "content-type": "application/json",
    authorization: `Bearer ${altrace.key(agent)}`,
  };
  return (prompt, stream = false) =>
    new Promise((resolve, reject) => {
      const messages = [{ role: "user", content: prompt }];
      const options = { method: "POST", agent: kept, headers };
      const url = `${altrace.gateway}/v1/chat/completions`;
      const asking = request(url, options, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (piece: string) => {
          text += piece;
        });
        const end = () =>
          resolve({
            status: response.statusCode ?? 0,
            reason: String(response.headers["x-altrace-reason"] ?? ""),
            text,
          });
        response.on("end", end).on("error", end);
      });
      asking.on("error", reject);
      asking.end(JSON.stringify({ model: "gpt-5-mini", messages, stream }));
    });
}

const many = (agent: string) => Array.from({ length: CONNECTIONS }, () => client(agent));

/** How much each loop has written of its decisions, in bytes, by its name. */
function recordBytes(): ReadonlyMap<string, number> {
  const folder = join(altrace.home, "node", "wal");
  const bytes = new Map<string, number>();
  for (const file of readdirSync(folder)) {
    const [, loop] = /-(loop[0-9])-[0-9]+\.log$/.exec(file) ?? [];
    if (loop !== undefined) bytes.set(loop, statSync(join(folder, file)).size);
  }
  return bytes;
}

describe("a node of three loops", () => {
  test("is asked at each of them", async () => {
    const before = recordBytes();
    const answers = await Promise.all(many("research/worker-1").map((ask) => ask("hello")));
    expect(answers.map(({ status }) => status)).toEqual(Array(CONNECTIONS).fill(200));
    const after = recordBytes();
    expect([...after.keys()].sort()).toEqual(["loop0", "loop1", "loop2"]);
    const silent = [...after].filter(([loop, bytes]) => bytes <= (before.get(loop) ?? 0));
    expect(silent).toEqual([]);
  });

  test("lets an agent ask as often as its rate says, and not once more at any of them", async () => {
    const answers = await Promise.all(many("research/few").map((ask) => ask("one of few")));
    const passed = answers.filter(({ status }) => status === 200);
    expect(passed.length).toBe(12);
    const rest = answers.filter(({ status }) => status !== 200);
    expect(new Set(rest.map(({ reason }) => reason))).toEqual(new Set(["rate_requests"]));
    expect(provider.reachedBy("one of few").length).toBe(12);
  });

  test("ends with a kill what runs at each of them, and takes nothing more at any", async () => {
    const clients = many("research/worker-2");
    const running = clients.map((ask) => ask("script held", true));
    await waitUntil("all streams to be open", () => provider.openStreams("held") === CONNECTIONS);
    await operator.kill("agent/research/worker-2");
    for (const { text } of await Promise.all(running)) {
      expect(text).toContain("killed_agent");
      expect(text).not.toContain("[DONE]");
    }
    await waitUntil("the provider's sides to be closed", () => provider.openStreams("held") === 0);
    const before = provider.received.length;
    const again = await Promise.all(many("research/worker-2").map((ask) => ask("am I killed")));
    expect(new Set(again.map(({ reason }) => reason))).toEqual(new Set(["killed_agent"]));
    expect(provider.received.length).toBe(before);
  });
});
