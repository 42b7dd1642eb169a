import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { freePort } from "../../../bench/harness/free-ports.ts";
import { builtOverlay, kustomizeCommand, type Manifest } from "../../support/kustomize.ts";
import { tempDir } from "../../support/temp-dir.ts";
import { waitUntil } from "../../support/wait-until.ts";

// What an overlay tells its servers, put before real ones: with addresses of this machine in the place of the pods'.

type Env = { readonly name: string; readonly value?: string };
type Server = { readonly route: number; readonly monitor: number; readonly client: number };

const command = kustomizeCommand();
/** All digits, which a server that reads its environment as it reads its file takes for a number. */
const PASSWORD = "20261130";

describe.skipIf(command === undefined)("the servers of an overlay", () => {
  test.each(["sidecar", "production"])("of %s find one another", async (name) => {
    const objects = builtOverlay(command as readonly string[], name);
    using folder = tempDir();
    const servers = [await freePorts(), await freePorts()];
    const running = servers.map((own, i) => {
      const env = environment(objects, servers, `altrace-nats-${i}`);
      const file = join(folder.path, `${i}.conf`);
      writeFileSync(file, configuration(objects, own, join(folder.path, `data-${i}`)));
      return spawn("nats-server", ["-c", file], { env: { ...process.env, ...env } });
    });
    const log = listen(running);
    try {
      for (const { monitor } of servers)
        await waitUntil(
          () => `a route:\n${log()}`,
          async () => (await routesOf(monitor)) > 0,
        );
      expect(log()).not.toMatch(/Authorization Violation|authentication error/);
    } finally {
      for (const one of running) one.kill("SIGKILL");
      await Promise.all(running.map((one) => once(one, "close")));
    }
  });
});

async function freePorts(): Promise<Server> {
  return { route: await freePort(), monitor: await freePort(), client: await freePort() };
}

/** As the kubelet makes it: `$(NAME)` is what was set before under that name. */
function environment(
  objects: readonly Manifest[],
  servers: readonly Server[],
  serverName: string,
): Record<string, string> {
  const { spec } = natsObject(objects, "StatefulSet");
  const { template } = spec as { template: { spec: { containers: { env: Env[] }[] } } };
  const known: Record<string, string> = { PASSWORD, NATS_SERVER_NAME: serverName };
  for (const { name, value } of template.spec.containers[0]?.env ?? [])
    known[name] ??= (value ?? "")
      .replace(/\$\((\w+)\)/g, (_, of: string) => known[of] ?? "")
      .replace(/altrace-nats-(\d)\.altrace-nats:6222/, (_, i: string) => {
        return `127.0.0.1:${servers[Number(i)]?.route ?? 1}`;
      });
  return known;
}

function natsObject(objects: readonly Manifest[], kind: string): Manifest {
  const found = objects.find(
    (one) => one.kind === kind && one.metadata.name.startsWith("altrace-nats"),
  );
  if (found === undefined) throw new Error(`no ${kind} of NATS`);
  return found;
}

function configuration(objects: readonly Manifest[], own: Server, dataDir: string): string {
  const { data } = natsObject(objects, "ConfigMap") as Manifest & {
    readonly data: Record<string, string>;
  };
  const text = data["nats.conf"] as string;
  return (
    text
      .replace("0.0.0.0:4222", `127.0.0.1:${own.client}`)
      .replace("0.0.0.0:6222", `127.0.0.1:${own.route}`)
      .replace("0.0.0.0:8222", `127.0.0.1:${own.monitor}`)
      .replace('"/data"', JSON.stringify(dataDir))
      // Known from 2.10 on.
      .replace(/^ {2}sync_interval: "always"$/m, "")
      // The certificate is for names that this machine does not have.
      .replace(/^ *tls \{[^}]*\}$/gm, "")
  );
}

async function routesOf(monitor: number): Promise<number> {
  const answer = await fetch(`http://127.0.0.1:${monitor}/routez`).catch(() => undefined);
  if (answer === undefined) return 0;
  return ((await answer.json()) as { num_routes: number }).num_routes;
}

function listen(of: readonly ChildProcess[]): () => string {
  const lines: string[] = [];
  for (const { stderr } of of) stderr?.on("data", (bytes: Buffer) => lines.push(String(bytes)));
  return () => lines.join("");
}
