import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { freePortBase } from "../../bench/harness/free-ports.ts";
import { e2ePolicy, PROVIDER_KEYS } from "../support/e2e-policy.ts";
import { firstAnswers } from "../support/first-answers.ts";
import { E2E_TIMEOUTS, runAltrace } from "../support/run-altrace.ts";
import { openaiOf } from "../support/sdk-clients.ts";
import { type Altrace, type Ready, startAltrace } from "../support/start-altrace.ts";
import { type Provider, startProvider } from "../support/start-provider.ts";
import { INSPECTABLE, stopThread } from "../support/stop-thread.ts";
import { waitUntil } from "../support/wait-until.ts";

vi.setConfig(E2E_TIMEOUTS);

const AGENT = "research/worker-1";
const REVIVED = "research/worker-2";
const OTHER = "support/triage";
/** What an account is lent at least when it asks, micro-dollars. */
const LENT_MICROS = 1_000_000;

let provider: Provider;
let altrace: Altrace;

beforeAll(async () => {
  provider = await startProvider();
  altrace = await startAltrace({
    policy: e2ePolicy(provider.origin),
    // A dead-man switch for which a test can wait, and which a busy machine that stands still for a moment does not release.
    env: { ...PROVIDER_KEYS, ALTRACE_DEAD_MAN_MS: "5000", ALTRACE_DIGEST_MS: "250" },
    nodeArgs: INSPECTABLE,
  });
});
afterAll(async () => {
  await altrace?.[Symbol.asyncDispose]();
  await provider?.[Symbol.asyncDispose]();
});

const ask = (content: string) => ({
  model: "gpt-5-mini",
  messages: [{ role: "user" as const, content }],
});

async function statusOf(agent: string): Promise<string> {
  const [answer] = await firstAnswers(altrace, agent, { until: () => true });
  return answer ?? "none";
}

describe("after SIGKILL", () => {
  let ready: Ready;
  let remembered: string;
  let answers: readonly string[];

  beforeAll(async () => {
    // One whose kill was taken back, and who had money in the table; and one who is killed.
    await altrace.mustCli("kill", `agent/${REVIVED}`, "--wait");
    await altrace.mustCli("revive", `agent/${REVIVED}`, "--wait");
    const answer = await openaiOf(altrace, REVIVED)
      .chat.completions.create(ask("remember me"))
      .withResponse();
    remembered = answer.request_id ?? "";
    // The part of it that the answer cost may be settled by now.
    const { reserved, spent } = await dayOf();
    expect(Number(reserved) + Number(spent)).toBeGreaterThanOrEqual(LENT_MICROS);
    await altrace.mustCli("kill", `agent/${AGENT}`, "--wait");
    expect(await statusOf(AGENT)).toBe("403 killed_agent");
    const servedBefore = provider.received.length;
    ({ ready } = altrace);
    await altrace.crash();
    altrace.launch();
    // Asked from before the door opens until the node has opened.
    answers = await firstAnswers(
      { gateway: ready.gateway, key: (of) => ready.keys[of] ?? "" },
      AGENT,
      {
        until: (said) => said === "403 killed_agent",
        atLeast: 20,
      },
    );
    await altrace.whenReady();
    expect(provider.received.length).toBe(servedBefore);
  });
  afterAll(() => altrace.mustCli("revive", `agent/${AGENT}`, "--wait"));

  test("the first request of a killed agent is refused, and so is every later one", async () => {
    expect(new Set(answers).difference(REFUSED)).toEqual(new Set());
    expect(await statusOf(AGENT)).toBe("403 killed_agent");
    expect(await statusOf(OTHER)).toBe("200 ok");
    expect(await altrace.mustCli("kills")).toContain(`agent/${AGENT}`);
    expect(altrace.ready.keys).toEqual(ready.keys);
  });

  test("a revive stands, what was decided can be explained, and what was spent is spent", async () => {
    await waitUntil("the lease of before the crash to be settled", async () => {
      return Number((await dayOf()).reserved) === 0;
    });
    // A dollar lay in the table. The log is whole and shows that next to nothing of it was used.
    const { spent } = await dayOf();
    expect(Number(spent)).toBeGreaterThan(0);
    expect(Number(spent)).toBeLessThan(LENT_MICROS / 10);
    expect(await statusOf(REVIVED)).toBe("200 ok");
    expect(await altrace.mustCli("explain", remembered)).toContain("allowed");
  });

  test("what stays charged an operator writes back, and no more than that", async () => {
    const { limit } = await dayOf();
    const writeBack = (usd: string) =>
      altrace.cli("budget", "write-back", `agent/${REVIVED}`, "usd", usd);
    expect(await writeBack("1000.00")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("no more can be written back"),
    });
    expect((await writeBack("0.000001")).stdout).toContain(`agent/${REVIVED} day:`);
    expect(Number((await dayOf()).limit)).toBe(Number(limit) + 1);
  });
});

/** The ledger's row of the agent's day. */
async function dayOf(): Promise<Account> {
  const shown = JSON.parse(await altrace.mustCli("budget", "show", `agent/${REVIVED}`, "--json"));
  const { accounts } = shown as { readonly accounts: readonly Account[] };
  const account = accounts.find(({ unit, window }) => unit === USD && window.startsWith("day:"));
  if (account === undefined) throw new Error("the agent's day has no row");
  return account;
}

describe("a second process", () => {
  test("on the same HOME is refused and says who has it", async () => {
    const words = [
      "up",
      "--json",
      "--home",
      altrace.home,
      "--port-base",
      String(await freePortBase()),
    ];
    const { code, stdout, stderr } = await runAltrace(words);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toContain(
      `home_in_use: ${altrace.home} is in use by process ${altrace.process.pid}`,
    );
    expect(stderr).not.toMatch(/\n +at /);
  });

  test("on the same port is refused and says who has it", async () => {
    const home = mkdtempSync(join(tmpdir(), "alt2-"));
    const words = ["up", "--json", "--home", home, "--port-base", String(altrace.portBase)];
    const { code, stdout, stderr } = await runAltrace(words);
    rmSync(home, { recursive: true });
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toContain(
      `port ${altrace.portBase} is in use by process ${altrace.process.pid}`,
    );
  });

  test("on a port of another program is refused and names it", async () => {
    const portBase = await freePortBase();
    const taken = createServer().listen(portBase, "127.0.0.1");
    const home = mkdtempSync(join(tmpdir(), "alt2-"));
    const words = ["up", "--json", "--home", home, "--port-base", String(portBase)];
    const { code, stderr } = await runAltrace(words);
    taken.close();
    rmSync(home, { recursive: true });
    expect(code).toBe(1);
    expect(stderr).toContain(`port_in_use: 127.0.0.1:${portBase}`);
  });

  test("leaves the first one as it was", async () => {
    expect(await statusOf(AGENT)).toBe("200 ok");
    expect(readdirSync(altrace.home)).toEqual(
      expect.arrayContaining(["node.sock", "coordinator.sock"]),
    );
    expect(await altrace.mustCli("nodes")).toContain("node-1");
  });
});

describe("SIGTERM", () => {
  test("lets a running stream come to its end, and takes nothing new", async () => {
    provider.script("last-words", { pieces: ["begun "], held: true });
    const stream = await openaiOf(altrace, AGENT).chat.completions.create({
      ...ask("script last-words"),
      stream: true,
    });
    const chunks = stream[Symbol.asyncIterator]();
    await chunks.next();
    const ended = altrace.stop();
    const refused = await firstAnswers(altrace, OTHER, {
      until: (answer) => answer === "no connection" || answer === "503 draining",
    });
    expect(["no connection", "503 draining"]).toContain(refused.at(-1));
    expect(altrace.process.isRunning()).toBe(true);
    provider.release("last-words");
    let last: OpenAI.ChatCompletionChunk | undefined;
    for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) {
      last = next.value;
    }
    expect(last?.choices[0]?.finish_reason).toBe("stop");
    expect(await ended).toEqual({ code: 0, signal: null });
    expect(existsSync(join(altrace.home, "node.sock"))).toBe(false);
  });
});

describe("a mesh thread that hangs", () => {
  test("closes the node by itself, open streams included, and it says so", async () => {
    await altrace.start();
    provider.script("held", { pieces: ["begun "], held: true });
    const stream = await openaiOf(altrace, AGENT).chat.completions.create({
      ...ask("script held"),
      stream: true,
    });
    const chunks = stream[Symbol.asyncIterator]();
    await chunks.next();
    // Its key is known to the data loop, which from now on has nobody to ask.
    expect(await statusOf(OTHER)).toBe("200 ok");
    await stopThread(altrace.process, "mesh");
    // A request may just be on its way on a connection that is closed for the same reason.
    const isOf = (answer: string) => !["200 ok", "no connection"].includes(answer);
    const answers = await firstAnswers(altrace, OTHER, { until: isOf });
    expect(answers.at(-1)).toBe("503 mesh_stale");
    const cut = await Array.fromAsync({ [Symbol.asyncIterator]: () => chunks }).catch(
      (error: unknown) => error,
    );
    expect(cut).toBeInstanceOf(OpenAI.APIError);
    expect(cut).toMatchObject({ code: "mesh_stale" });
    await waitUntil("the provider's side to be cut", () => provider.openStreams("held") === 0);
    const admin = altrace.ready.metrics.replace("/metrics", "");
    expect((await fetch(`${admin}/healthz`)).status).toBe(200);
    const readiness = await fetch(`${admin}/readyz`);
    expect(readiness.status).toBe(503);
    expect(await readiness.text()).toContain("mesh_thread_silent");
    expect(await (await fetch(altrace.ready.metrics)).text()).toContain("altrace_open 0");
    // Nothing opens it again but a thread that lives, and it can still be told to end.
    expect(await statusOf(OTHER)).toBe("503 mesh_stale");
    expect(await altrace.stop()).toEqual({ code: 0, signal: null });
    expect(altrace.said()).toContain("its thread does not answer, and is not waited for");
  });
});

const REFUSED = new Set([
  "no connection",
  "503 mesh_stale",
  "503 identity_unavailable",
  "403 killed_agent",
]);

type Account = {
  readonly unit: number;
  readonly window: string;
  readonly reserved: string;
  readonly spent: string;
  readonly limit: string;
};
const USD = 1;
