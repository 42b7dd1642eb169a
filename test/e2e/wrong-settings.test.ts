import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { freePort, freePortBase } from "../../bench/harness/free-ports.ts";
import { cleanEnv, E2E_TIMEOUTS, NODE, runAltrace, startProcess } from "../support/run-altrace.ts";
import { runHere } from "../support/run-here.ts";
import { waitUntil } from "../support/wait-until.ts";

vi.setConfig(E2E_TIMEOUTS);

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "alt-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const BAD_POLICY = `format: 1
providers:
  openai:
    dialect: openai
    base_url: http://api.openai.com
    credential: openai
    clearance: secret
models:
  openai/gpt-99: {}
teams:
  research:
    agents:
      Worker_1: {}
`;

describe("wrong settings are told all at once, with exit code 2, and nothing is started", () => {
  const wrong = {
    ALTRACE_LOOPS: "none",
    ALTRACE_TABLE_ROWS: "1",
    ALTRACE_DIGEST_MS: "1",
    ALTRACE_PORTBASE: "4000",
  };

  test.each([
    ["up", { ...wrong }],
    ["node", { ALTRACE_LOOPS: "none", ALTRACE_TABLE_ROWS: "1", ALTRACE_PORTBASE: "4000" }],
    ["coordinator", { ALTRACE_DIGEST_MS: "1", ALTRACE_PORTBASE: "4000" }],
  ])("altrace %s", async (word, env) => {
    const home = join(folder, `home-${word}`);
    const { code, stdout, stderr } = await runAltrace([word, "--home", home], { env });
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    for (const name of Object.keys(env)) expect(stderr).toMatch(new RegExp(`${name}: `));
    expect(stderr).toContain("ALTRACE_PORTBASE: no such setting");
    expect(existsSync(home)).toBe(false);
  });

  test("a flag that is none, and that a node or a coordinator alone needs a NATS server", async () => {
    const upSaid = await runHere("up", "--hoem", folder);
    const nodeSaid = await runAltrace(["node", "--hoem", folder]);
    const coordinatorSaid = await runAltrace(["coordinator", "--hoem", folder]);
    for (const { code, stderr } of [upSaid, nodeSaid, coordinatorSaid]) {
      expect(code).toBe(2);
      expect(stderr).toContain("--hoem");
    }
    for (const { stderr } of [nodeSaid, coordinatorSaid])
      expect(stderr).toContain("ALTRACE_NATS_URL: needed");
  });

  test("a process that is asked for help names its flags, and starts nothing", async () => {
    const before = readdirSync(folder);
    const { code, stdout, stderr } = await runAltrace(["node", "--help", "--home", folder]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^Usage: altrace node \[flags\]\n/);
    expect(stdout).toMatch(/^ {2}--port-base <value> {2}ALTRACE_PORT_BASE\n.*\(default 4000\)$/m);
    expect(readdirSync(folder)).toEqual(before);
  });

  test("a word that is none suggests the right one", async () => {
    const { code, stderr } = await runHere("kil", "global");
    expect(code).toBe(2);
    expect(stderr).toContain("Did you mean kill?");
  });

  test("a secret in a setting is not repeated", async () => {
    const secret = "token with spaces, canary-77aa";
    const { code, stderr } = await runAltrace(["node", "--home", folder], {
      env: { ALTRACE_ENROL: secret, ALTRACE_NATS_URL: "nats://127.0.0.1:1" },
    });
    expect(code).toBe(2);
    expect(stderr).toContain("ALTRACE_ENROL");
    expect(stderr).not.toContain("canary-77aa");
  });

  test("a HOME whose sockets' paths would be cut short", async () => {
    const home = join(folder, "h".repeat(100));
    mkdirSync(home);
    const words = ["up", "--home", home, "--port-base", String(await freePortBase())];
    const { code, stderr } = await runAltrace(words);
    expect(code).toBe(2);
    expect(stderr).toContain("socket_path_too_long");
    expect(readdirSync(home)).toEqual([]);
  });
});

describe("a wrong policy", () => {
  test("is told with file, line and field, all errors at once, exit code 2", async () => {
    const file = join(folder, "bad.yaml");
    writeFileSync(file, BAD_POLICY);
    const { code, stdout } = await runHere("policy", "check", file);
    expect(code).toBe(2);
    for (const [line, field] of [
      [5, "providers.openai.base_url"],
      [7, "providers.openai.clearance"],
      [9, "models.openai/gpt-99"],
      [13, "teams.research.agents.Worker_1"],
    ] as const) {
      expect(stdout).toMatch(new RegExp(`^${file}:${line}:\\d+: error: ${field}`, "m"));
    }
  });

  test("keeps `altrace up` from starting, and leaves nothing behind that is half started", async () => {
    const file = join(folder, "bad-for-up.yaml");
    writeFileSync(file, BAD_POLICY);
    const home = join(folder, "home-bad-policy");
    const portBase = await freePortBase();
    const words = ["up", "--json", "--home", home, "--port-base", String(portBase)];
    const { code, stdout, stderr } = await runAltrace([...words, "--policy", file]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toMatch(/bad-for-up\.yaml:5:\d+: error: providers\.openai\.base_url/);
    expect(stderr).toMatch(/bad-for-up\.yaml:13:\d+: error: teams\.research\.agents\.Worker_1/);
    expect(existsSync(home)).toBe(false);
  });

  test("that is not there keeps `altrace up` from starting too", async () => {
    const home = join(folder, "home-no-policy");
    const words = ["up", "--home", home, "--port-base", String(await freePortBase())];
    const { code, stderr } = await runAltrace([...words, "--policy", join(folder, "none.yaml")]);
    expect(code).toBe(2);
    expect(stderr).toContain("none.yaml");
    expect(existsSync(home)).toBe(false);
  });
});

describe("a start that is not wanted any more", () => {
  test("ends at SIGTERM, whatever it was waiting for", async () => {
    // A node without its NATS server waits for it for as long as it takes.
    const home = join(folder, "n");
    const trust = join(folder, "trust.json");
    writeFileSync(trust, `{"mesh":"m","operator_public_key":"${"00".repeat(32)}"}\n`);
    const nats = `nats://127.0.0.1:${await freePort()}`;
    const portBase = await freePortBase();
    const words = ["node", "--home", home, "--trust", trust, "--nats-url", nats];
    const servingFile = join(folder, "serving");
    const node = startProcess([...words, "--port-base", String(portBase)], {
      env: { ALTRACE_SERVING_FILE: servingFile },
    });
    const said = await waitUntil(
      () => `readiness:\n${node.stdout()}${node.stderr()}`,
      async () => {
        const answer = await fetch(`http://127.0.0.1:${portBase + 91}/readyz`).catch(
          () => undefined,
        );
        const text = answer?.status === 503 ? await answer.text() : "";
        // Before its mesh thread has said anything, a node says just that.
        return text.includes("bus_down") && text;
      },
    );
    expect(said).not.toContain("mesh_thread_silent");
    const asked = await fetch(`http://127.0.0.1:${portBase}/v1/models`, {
      headers: { authorization: `Bearer altk_abcdefgh12_${"A".repeat(43)}` },
    });
    expect(asked.status).toBe(503);
    await waitUntil("word that it serves", () => existsSync(servingFile));
    expect((await node.end("SIGTERM")).code).toBe(0);
  });

  test("ends at SIGTERM where it waits for the node before to end", async () => {
    const trust = join(folder, "trust-of-next.json");
    writeFileSync(trust, `{"mesh":"m","operator_public_key":"${"00".repeat(32)}"}\n`);
    const home = join(folder, "next");
    const words = ["node", "--home", home, "--trust", trust, "--nats-url", "nats://127.0.0.1:1"];
    const servingFile = join(folder, "next-serving");
    writeFileSync(servingFile, "");
    const next = spawn(NODE, ["cli/altrace.js", ...words], {
      env: { ...cleanEnv(), ALTRACE_TURN_FD: "3", ALTRACE_SERVING_FILE: servingFile },
      stdio: ["ignore", "ignore", "inherit", "pipe"],
    });
    const ended = once(next, "exit");
    await Promise.race([once(next.stdio[3] as Duplex, "data"), ended]);
    expect(next.exitCode).toBeNull();
    expect(existsSync(servingFile)).toBe(false);
    next.kill("SIGTERM");
    expect(await ended).toEqual([0, null]);
    expect(existsSync(home)).toBe(false);
  });

  test("ends in order, and says why, where it is given no listener of captured connections", async () => {
    const words = ["up", "--home", join(folder, "deaf"), "--port-base", `${await freePortBase()}`];
    const deaf = spawn(NODE, ["cli/altrace.js", ...words], {
      env: { ...cleanEnv(), ALTRACE_TRANSPARENT_FDS: "3" },
      stdio: ["ignore", "ignore", "pipe", "pipe"],
    });
    (deaf.stdio[3] as Duplex).resume();
    let said = "";
    deaf.stderr?.on("data", (piece: Buffer) => {
      said += piece.toString();
    });
    expect(await once(deaf, "close")).toEqual([1, null]);
    expect(said).toMatch(
      /what the kernel captures cannot be taken in \(ALTRACE_TRANSPARENT_FDS\): descriptor 3: /,
    );
  });
});
