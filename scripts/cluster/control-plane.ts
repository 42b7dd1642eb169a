import { type ChildProcess, spawn } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { freePort } from "../../bench/harness/free-ports.ts";
import { ClusterApi } from "./cluster-api.ts";

const TOKEN = "of-whoever-tries-it";
const READY_MS = 120_000;
const ADDRESS = "127.0.0.1";

/** Kubernetes' own API, controllers and scheduler over a store in a folder, without a machine. */
export class ControlPlane implements AsyncDisposable {
  readonly #program: string;
  readonly #folder = mkdtempSync(join(tmpdir(), "alt-cluster-"));
  readonly #running = new Map<string, ChildProcess>();
  #api: ClusterApi | undefined;
  #origin = "";

  private constructor(program: string) {
    this.#program = program;
  }

  /** @throws Error A part of it ended, or it was not ready in time; the message is its log's end. */
  static async start(program: string): Promise<ControlPlane> {
    const plane = new ControlPlane(program);
    try {
      await plane.#start();
      return plane;
    } catch (error) {
      await plane[Symbol.asyncDispose]();
      throw error;
    }
  }

  get api(): ClusterApi {
    if (this.#api === undefined) throw new Error("it has not started");
    return this.#api;
  }

  /** Where the API is, and the certificate by which it is known. */
  get address(): { readonly origin: string; readonly ca: string } {
    return {
      origin: this.#origin,
      ca: readFileSync(join(this.#folder, "apiserver.crt"), "utf8"),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#api?.close();
    await Promise.all([...this.#running.values()].map(ended));
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #start(): Promise<void> {
    const [port, store, peers] = [await freePort(), await freePort(), await freePort()];
    this.#run("etcd", [
      `--data-dir=${join(this.#folder, "etcd")}`,
      `--listen-client-urls=http://${ADDRESS}:${store}`,
      `--advertise-client-urls=http://${ADDRESS}:${store}`,
      `--listen-peer-urls=http://${ADDRESS}:${peers}`,
      "--unsafe-no-fsync",
    ]);
    const key = join(this.#folder, "accounts.key");
    const pair = generateKeyPairSync("rsa", { modulusLength: 2048 });
    writeFileSync(key, pair.privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
    writeFileSync(join(this.#folder, "tokens"), `${TOKEN},admin,1,system:masters\n`);
    this.#run("apiserver", [
      `--etcd-servers=http://${ADDRESS}:${store}`,
      ...[`--bind-address=${ADDRESS}`, `--secure-port=${port}`, `--cert-dir=${this.#folder}`],
      `--token-auth-file=${join(this.#folder, "tokens")}`,
      ...["--authorization-mode=RBAC", "--service-account-issuer=https://cluster.invalid"],
      ...[`--service-account-key-file=${key}`, `--service-account-signing-key-file=${key}`],
      ...["--service-cluster-ip-range=10.96.0.0/16", "--endpoint-reconciler-type=none"],
      "--allow-privileged=true",
    ]);
    const origin = `https://${ADDRESS}:${port}`;
    this.#origin = origin;
    this.#api = await this.#untilReady(origin);
    const config = this.#writeConfig(origin);
    const alone = [`--kubeconfig=${config}`, "--leader-elect=false", "--secure-port=0"];
    this.#run("controllers", [
      ...alone,
      `--service-account-private-key-file=${key}`,
      `--root-ca-file=${join(this.#folder, "apiserver.crt")}`,
      // No machine says that it lives: none is there.
      "--node-monitor-grace-period=1h",
    ]);
    this.#run("scheduler", alone);
  }

  async #untilReady(origin: string): Promise<ClusterApi> {
    const endMs = performance.now() + READY_MS;
    for (;;) {
      const api = this.#apiAt(origin);
      try {
        await api?.call("/readyz");
        if (api !== undefined) return api;
      } catch (error) {
        await api?.close();
        if (performance.now() > endMs) throw new Error(`${error}\n${this.#tail("apiserver")}`);
      }
      for (const [part, { exitCode }] of this.#running)
        if (exitCode !== null) throw new Error(`${part} ended: ${this.#tail(part)}`);
      await pause(200);
    }
  }

  /** It makes its certificate itself, a moment after it has started. */
  #apiAt(origin: string): ClusterApi | undefined {
    try {
      const ca = readFileSync(join(this.#folder, "apiserver.crt"), "utf8");
      return new ClusterApi(origin, TOKEN, ca);
    } catch {
      return undefined;
    }
  }

  #writeConfig(origin: string): string {
    const path = join(this.#folder, "config");
    const authority = join(this.#folder, "apiserver.crt");
    const config = {
      ...{ apiVersion: "v1", kind: "Config", "current-context": "it" },
      clusters: [{ name: "it", cluster: { server: origin, "certificate-authority": authority } }],
      users: [{ name: "it", user: { token: TOKEN } }],
      contexts: [{ name: "it", context: { cluster: "it", user: "it" } }],
    };
    writeFileSync(path, JSON.stringify(config), { mode: 0o600 });
    return path;
  }

  #run(part: string, flags: readonly string[]): void {
    const log = openSync(join(this.#folder, `${part}.log`), "w");
    const child = spawn(this.#program, [part, ...flags], { stdio: ["ignore", log, log] });
    closeSync(log);
    this.#running.set(part, child);
  }

  #tail(part: string): string {
    return readFileSync(join(this.#folder, `${part}.log`), "utf8").slice(-2_000);
  }
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await exit;
}
