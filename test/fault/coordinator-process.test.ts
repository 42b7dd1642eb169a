import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createGrpcClient, type GrpcClient } from "../../adapters/grpc-client.ts";
import { socketPath } from "../../coordinator/found-mesh.ts";
import { CoordinatorService } from "../../proto/gen/altrace/v1/coordinator_service_pb.ts";
import { cleanEnv } from "../support/run-altrace.ts";
import { type NatsServer, startNats } from "../support/start-nats.ts";
import { tempDir } from "../support/temp-dir.ts";
import { waitUntil } from "../support/wait-until.ts";

const CLI = join(import.meta.dirname, "../../cli/altrace.js");
const METRICS_PORT_OFFSET = 93;

let nats: NatsServer;
beforeAll(async () => {
  nats = await startNats();
}, 60_000);
afterAll(async () => {
  await nats[Symbol.asyncDispose]();
});

/** A port base whose metrics port is free. */
async function portBase(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port - METRICS_PORT_OFFSET;
}

class Process implements AsyncDisposable {
  readonly child: ChildProcess;
  output = "";

  constructor(args: readonly string[], env: Record<string, string> = {}) {
    this.child = spawn(process.execPath, [CLI, "coordinator", ...args], {
      env: { ...cleanEnv(), ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.child.stdout?.on("data", (text) => {
      this.output += text;
    });
    this.child.stderr?.on("data", (text) => {
      this.output += text;
    });
  }

  async exit(): Promise<number | null> {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      await once(this.child, "exit");
    }
    return this.child.exitCode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill("SIGKILL");
    await this.exit();
  }
}

async function started(home: string): Promise<Process> {
  const base = await portBase();
  const args = ["--home", home, "--nats-url", nats.url, "--port-base", String(base)];
  const running = new Process(args);
  await waitUntil(
    () => `readiness: ${running.output}`,
    async () => {
      const url = `http://127.0.0.1:${base + METRICS_PORT_OFFSET}/readyz`;
      const answer = await fetch(url).catch(() => undefined);
      return answer?.status === 200;
    },
  );
  return running;
}

function connect(home: string): GrpcClient<typeof CoordinatorService> & Disposable {
  const client = createGrpcClient(CoordinatorService, { kind: "unix", path: socketPath(home) });
  return { ...client, [Symbol.dispose]: () => client.close() };
}

describe("the coordinator's process", { timeout: 60_000 }, () => {
  test("reports every wrong setting at once and ends with 2", async () => {
    await using wrong = new Process(["--port-base", "x", "--digest-ms", "y"], {
      ALTRACE_TYPO: "1",
      ALTRACE_REPLICA_ID: "NO",
    });
    expect(await wrong.exit()).toBe(2);
    for (const name of ["ALTRACE_TYPO", "--port-base", "--digest-ms", "ALTRACE_REPLICA_ID"]) {
      expect(wrong.output).toContain(name);
    }
  });

  test("needs a bus that others can reach", async () => {
    using dir = tempDir();
    await using alone = new Process(["--home", dir.path]);
    expect(await alone.exit()).toBe(2);
    expect(alone.output).toContain("ALTRACE_NATS_URL");
  });

  test("a kill survives kill -9 and is there for the next process; SIGTERM ends with 0", async () => {
    using dir = tempDir();
    const home = join(dir.path, "home");
    {
      await using first = await started(home);
      using client = connect(home);
      await client.calls.kill({ scope: "team/pay", operator: "olga" });
      expect(first.child.kill("SIGKILL")).toBe(true);
      await first.exit();
      expect(existsSync(socketPath(home))).toBe(true);
    }
    await using second = await started(home);
    using client = connect(home);
    const kills = await waitUntil("the kill's commit", async () => {
      const listed = await client.calls.listKills({});
      return listed.kills[0]?.committed && listed.kills;
    });
    expect(kills).toMatchObject([{ scope: "team/pay", v: 1n, operator: "olga" }]);
    second.child.kill("SIGTERM");
    expect(await second.exit()).toBe(0);
    expect(existsSync(socketPath(home))).toBe(false);
    expect(second.output).toContain('"stopped"');
  });

  describe("that runs", () => {
    const home = tempDir();
    let client: ReturnType<typeof connect>;
    let running: Process;
    beforeAll(async () => {
      running = await started(home.path);
      client = connect(home.path);
    }, 60_000);
    afterAll(async () => {
      client?.[Symbol.dispose]();
      await running?.[Symbol.asyncDispose]();
      home[Symbol.dispose]();
    });

    test("keeps a second one from its HOME", async () => {
      const port = String(await portBase());
      const args = ["--home", home.path, "--nats-url", nats.url, "--port-base", port];
      await using second = new Process(args);
      expect(await second.exit()).toBe(1);
      expect(second.output).toContain("home_in_use");
    });

    test("accepts a kill while the stream is away, and commits it when that is back", async () => {
      await nats.kill();
      const { command } = await client.calls.kill({ scope: "team/away", operator: "olga" });
      expect(command).toMatchObject({ accepted: true, committed: false });
      await nats.restart();
      await waitUntil("the kill's commit", async () => {
        const { kills } = await client.calls.listKills({});
        return kills.some(({ scope, committed }) => scope === "team/away" && committed);
      });
    });
  });
});
