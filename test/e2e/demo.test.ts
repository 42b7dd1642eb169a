import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { builtProgram } from "../../cli/built-program.js";
import {
  cleanEnv,
  E2E_TIMEOUTS,
  NODE,
  startProcess,
  startProgram,
} from "../support/run-altrace.ts";
import { anthropicOf, failureOf, openaiOf } from "../support/sdk-clients.ts";
import { type Altrace, startAltrace } from "../support/start-altrace.ts";
import { tempDir } from "../support/temp-dir.ts";
import { waitUntil } from "../support/wait-until.ts";

vi.setConfig(E2E_TIMEOUTS);

const ROOT = join(import.meta.dirname, "..", "..");
const AGENT = "research/worker-1";
/** Of util-linux, and on every Debian: runs a command on a pseudo-terminal of its own. */
const SCRIPT = "/usr/bin/script";
const modeOf = (path: string): string => (statSync(path).mode & 0o777).toString(8);

/** Runs a line of shell in the repository, as somebody does who pastes it there. */
async function shell(line: string): Promise<string> {
  const started = startProgram(["/bin/sh", "-c", line], {});
  const { code } = await started.ended;
  if (code !== 0) throw new Error(`exit ${code}: ${line}\n${started.stderr()}`);
  return started.stdout();
}

/** Each thread writes down there what it was started with. */
const told = tempDir();
const TELLS = `import { writeFileSync } from "node:fs"; import { threadId } from "node:worker_threads";
  writeFileSync(${JSON.stringify(told.path)} + "/" + threadId, process.argv[1]);`;

let altrace: Altrace;

beforeAll(async () => {
  altrace = await startAltrace({
    // Whatever still runs half a second after SIGTERM is cut.
    env: { ALTRACE_DRAIN_MS: "500" },
    nodeArgs: ["--import", `data:text/javascript,${encodeURIComponent(TELLS)}`],
  });
});
afterAll(async () => {
  await altrace?.[Symbol.asyncDispose]();
  told[Symbol.dispose]();
});

// Before anything is spent.
describe("an operator's terminal", () => {
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
    expect(await altrace.mustCli("completion", "bash")).toContain(
      "complete -o default -F _altrace",
    );
  });
});

describe("`altrace up` without provider keys", () => {
  test("says in one JSON line where everything listens", async () => {
    const { ready, home, portBase } = altrace;
    expect(ready).toMatchObject({
      ready: true,
      gateway: `http://127.0.0.1:${portBase}`,
      grpc: { node: `unix:${home}/node.sock`, coordinator: `unix:${home}/coordinator.sock` },
      metrics: `http://127.0.0.1:${portBase + 91}/metrics`,
      home,
    });
    expect(Object.keys(ready.keys)).toContain(AGENT);
    for (const key of Object.values(ready.keys)) {
      expect(key).toMatch(/^altk_[a-z0-9]{8,32}_[A-Za-z0-9_-]{43}$/);
    }
    expect(altrace.process.stdout().trimEnd().split("\n")).toHaveLength(1);
  });

  test("runs in every thread the program that was built", () => {
    const place = new URL(".", builtProgram(new URL(`file://${ROOT}/`))).pathname;
    const programs = readdirSync(told.path).map((id) => readFileSync(join(told.path, id), "utf8"));
    expect(programs.sort()).toEqual(
      [
        join(ROOT, "cli", "altrace.js"),
        join(place, "coordinator-archive-archive-worker.mjs"),
        join(place, "node-audit-audit-worker.mjs"),
        join(place, "node-loop-worker.mjs"),
        join(place, "node-mesh-mesh-worker.mjs"),
      ].sort(),
    );
  });

  test("keeps its sockets, keys and folders to its own user", () => {
    const { home } = altrace;
    expect(modeOf(home)).toBe("700");
    expect(modeOf(join(home, "demo", "demo.json"))).toBe("600");
    expect(modeOf(join(home, "operator.key"))).toBe("600");
    expect(modeOf(join(home, "node.sock"))).toBe("600");
    expect(modeOf(join(home, "coordinator.sock"))).toBe("600");
    expect(modeOf(join(home, "keys"))).toBe("700");
    expect(modeOf(join(home, "node"))).toBe("700");
    expect(modeOf(join(home, "coordinator"))).toBe("700");
  });

  test("answers the openai client, with the usage that was counted", async () => {
    const answer = await openaiOf(altrace, AGENT).chat.completions.create({
      model: "gpt-5-mini",
      messages: [{ role: "user", content: "say: four words of answer" }],
    });
    expect(answer.choices[0]?.message.content).toBe("four words of answer");
    expect(answer.usage?.prompt_tokens).toBeGreaterThan(0);
    expect(answer.usage?.completion_tokens).toBeGreaterThan(3);
  });

  test("streams to the openai client, with usage", async () => {
    const stream = await openaiOf(altrace, AGENT).chat.completions.create({
      model: "gpt-5-mini",
      messages: [{ role: "user", content: "say: a stream of several words" }],
      stream: true,
      stream_options: { include_usage: true },
    });
    let said = "";
    let usage: OpenAI.CompletionUsage | null | undefined;
    for await (const chunk of stream) {
      said += chunk.choices[0]?.delta.content ?? "";
      usage = chunk.usage ?? usage;
    }
    expect(said.trimEnd()).toBe("a stream of several words");
    expect(usage?.completion_tokens).toBeGreaterThan(4);
    const metrics = await (await fetch(altrace.ready.metrics)).text();
    expect(metrics).toContain(
      'gen_ai_server_time_to_first_token_count{gen_ai_request_model="openai/gpt-5-mini"} 1\n',
    );
  });

  test("answers the anthropic client, with usage", async () => {
    const answer = await anthropicOf(altrace, AGENT).messages.create({
      model: "claude-haiku-4-5",
      max_tokens: 200,
      messages: [{ role: "user", content: "say: four words of answer" }],
    });
    expect(answer.content).toMatchObject([{ type: "text", text: "four words of answer" }]);
    expect(answer.usage.input_tokens).toBeGreaterThan(0);
    expect(answer.usage.output_tokens).toBeGreaterThan(3);
  });

  test("streams to the anthropic client, with usage", async () => {
    const stream = anthropicOf(altrace, AGENT).messages.stream({
      model: "claude-haiku-4-5",
      max_tokens: 200,
      messages: [{ role: "user", content: "say: a stream of several words" }],
    });
    expect((await stream.finalText()).trimEnd()).toBe("a stream of several words");
    const { usage } = await stream.finalMessage();
    expect(usage.output_tokens).toBeGreaterThan(4);
  });

  test("lists to both clients the models that the agent is granted", async () => {
    const openai = await openaiOf(altrace, AGENT).models.list();
    const ofOpenai = openai.data.map(({ id }) => id);
    expect(ofOpenai).toContain("gpt-5-mini");
    // Neither what the grant leaves out nor what the other dialect serves.
    expect(ofOpenai.filter((id) => /gpt-5(?!-mini)|gpt-4o|claude/.test(id))).toEqual([]);
    const anthropic = await anthropicOf(altrace, AGENT).models.list();
    const ofAnthropic = anthropic.data.map(({ id }) => id);
    expect(ofAnthropic).toContain("claude-haiku-4-5");
    expect(ofAnthropic.filter((id) => /sonnet|gpt/.test(id))).toEqual([]);
  });
});

describe("`altrace env`", () => {
  const asked = (agent: string) => `${NODE} cli/altrace.js env ${agent} --home ${altrace.home}`;

  test("prints lines to eval, from which both clients configure themselves", async () => {
    const script = `
      import OpenAI from "openai";
      import Anthropic from "@anthropic-ai/sdk";
      const messages = [{ role: "user", content: "say: from the environment" }];
      const one = await new OpenAI().chat.completions.create({ model: "gpt-5-mini", messages });
      const other = await new Anthropic().messages.create(
        { model: "claude-haiku-4-5", max_tokens: 99, messages });
      console.log(one.choices[0].message.content, "|", other.content[0].text);`;
    const line = `eval "$(${asked(AGENT)})" && exec ${NODE} --input-type=module -e '${script}'`;
    expect(await shell(line)).toBe("from the environment | from the environment\n");
  });

  test("says which agents have keys when asked for another", async () => {
    const { code, stdout, stderr } = await altrace.cli("env", "research/nobody");
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toContain(AGENT);
  });
});

describe("SIGTERM", () => {
  test("cuts in its dialect what does not end in its time", async () => {
    const stream = await openaiOf(altrace, AGENT).chat.completions.create({
      model: "gpt-5-mini",
      messages: [{ role: "user", content: "stream for 4000 words" }],
      stream: true,
    });
    const chunks = stream[Symbol.asyncIterator]();
    await chunks.next();
    const stopped = altrace.stop();
    const failure = await failureOf(
      Array.fromAsync({ [Symbol.asyncIterator]: () => chunks }),
      OpenAI.APIError,
    );
    expect(failure.code).toBe("draining");
    expect(await stopped).toEqual({ code: 0, signal: null });
  });
});

describe("a second start on the same HOME", () => {
  test("as people start it keeps the keys, and prints lines that work when pasted", async () => {
    const { ready, home, portBase } = altrace;
    await altrace.stop();
    const words = ["up", "--home", home, "--port-base", String(portBase)];
    const again = startProgram([NODE, "cli/altrace.js", ...words], {});
    const pasted = await waitUntil(
      () => `the curl line in:\n${again.stdout()}${again.stderr()}`,
      () => /^ {2}(curl -s [\s\S]*?'\{.*\}')$/m.exec(again.stdout())?.[1],
    );
    expect(JSON.parse(await shell(pasted))).toMatchObject({ object: "chat.completion" });
    for (const [agent, key] of Object.entries(ready.keys)) {
      expect(again.stdout()).toContain(`${agent}  ${key}`);
    }
    expect(again.stdout()).toContain(`eval "$(npm run -s altrace -- env ${AGENT})"`);
    expect((await again.end("SIGTERM")).code).toBe(0);
  });
});
