import { existsSync } from "node:fs";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import {
  cleanEnv,
  E2E_TIMEOUTS,
  NODE,
  startProcess,
  startProgram,
} from "../support/run-altrace.ts";
import { type Altrace, startAltrace } from "../support/start-altrace.ts";
import { waitUntil } from "../support/wait-until.ts";

vi.setConfig(E2E_TIMEOUTS);

/** Of util-linux, and on every Debian: runs a command on a pseudo-terminal of its own. */
const SCRIPT = "/usr/bin/script";

let altrace: Altrace;

beforeAll(async () => {
  altrace = await startAltrace();
});
afterAll(() => altrace?.[Symbol.asyncDispose]());

test("top without a terminal says a line an agent, with --json an object, and ends by Ctrl-C", async () => {
  const once = await altrace.mustCli("top", "--count", "1", "research");
  expect(once).toMatch(/^\S+Z research\/worker-1 standing=normal .* streams=0 conns=0$/m);
  expect(once).not.toContain("support/");
  expect(once).not.toContain("\u001b");
  const running = startProcess(["top", "--json", "--home", altrace.home]);
  const first = await waitUntil(
    "a first object",
    () => running.stdout().split("\n")[0] || undefined,
  );
  expect(JSON.parse(first)).toMatchObject({ standing: "normal", streams: 0, spentMicros: 0 });
  expect(await running.end("SIGINT")).toEqual({ code: 0, signal: null });
});

test.runIf(existsSync(SCRIPT))(
  "on a terminal, top draws in place and kill shows each node",
  async () => {
    const line = (words: string) => {
      const command = `stty cols 110 rows 20; ${NODE} cli/altrace.js ${words} --home ${altrace.home}`;
      return [SCRIPT, "-qec", command, "/dev/null"];
    };
    const drawn = startProgram(line("top --count 2 --interval 0.2"), { env: cleanEnv() });
    expect((await drawn.ended).code).toBe(0);
    const [before, after] = drawn.stdout().split("\u001b[J");
    expect(before).toMatch(/^node-1 {2}open/);
    expect(before).toMatch(/AGENT +STANDING +SPENT/);
    expect(after).toMatch(/^node-1 {2}open/);
    const killed = startProgram(line("kill agent/research/worker-9 --wait"), { env: cleanEnv() });
    expect((await killed.ended).code).toBe(0);
    // It waits for nodes, and they can be done before the coordinator has committed.
    expect(killed.stdout()).toMatch(
      /(accepted|committed) {2}enforced 1\/1 {2}closed 1\/1 {2}durable 1\/1/,
    );
    expect(killed.stdout()).toMatch(/node-1 +enforced [\d.]+ ms/);
    expect(killed.stdout()).toContain('did you mean "research/worker-1"?');
  },
);

test("doctor finds nothing broken on a machine that works, and says what is where it is not", async () => {
  const base = ["--port-base", String(altrace.portBase)];
  const { ok, findings } = JSON.parse(await altrace.mustCli("doctor", "--json", ...base)) as {
    readonly ok: boolean;
    readonly findings: readonly { readonly check: string; readonly state: string }[];
  };
  expect(ok).toBe(true);
  const stateOf = (check: string) => findings.find((one) => one.check === check)?.state;
  expect([stateOf("node"), stateOf("coordinator"), stateOf("home")]).toEqual(["ok", "ok", "ok"]);
  expect(stateOf(`port ${altrace.portBase}`)).toBe("ok");
  const keys = ["operator.key", "coordinator.key", "node.key", "keys"].map(stateOf);
  expect(keys).toEqual(["ok", "ok", "ok", "warn"]);
  const broken = await altrace.cli("doctor", ...base, "--nats-url", "nats://127.0.0.1:1");
  expect([broken.code, broken.stderr]).toEqual([1, expect.stringContaining("1 of ")]);
  expect(broken.stdout).toMatch(/fail +nats +nats:\/\/127\.0\.0\.1:1: ECONNREFUSED; start it/);
});

test("discover names who tried without a key of ours, and the model that it asked for", async () => {
  const tries = (authorization: string, model: string) =>
    fetch(`http://127.0.0.1:${altrace.portBase}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization, "content-type": "application/json" },
      body: JSON.stringify({ model, messages: [] }),
    });
  expect((await tries("Bearer sk-proj-not-one-of-ours", "gpt-of-a-stranger")).status).toBe(401);
  const stranger = await waitUntil("the stranger to be told", async () => {
    const { strangers } = JSON.parse(await altrace.mustCli("discover", "--json")) as {
      readonly strangers: readonly Readonly<Record<string, unknown>>[];
    };
    return strangers.find(({ models }) => String(models).includes("gpt-of-a-stranger"));
  });
  expect(stranger).toMatchObject({
    source: "127.0.0.1",
    pod: "",
    doors: ["gateway"],
    reasons: ["foreign_credential"],
  });
  expect(await altrace.mustCli("discover")).toMatch(/^127\.0\.0\.1 .* gpt-of-a-stranger /m);
});

test("a wrong word suggests the right one", async () => {
  const wrong = await altrace.cli("kil", "global");
  expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining("Did you mean kill?")]);
  const shell = await altrace.cli("completion", "tcsh");
  expect([shell.code, shell.stderr]).toEqual([2, expect.stringContaining("bash, zsh, fish")]);
  expect(await altrace.mustCli("completion", "bash")).toContain("complete -o default -F _altrace");
});
