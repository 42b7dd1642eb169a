import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePortBase } from "../../bench/harness/free-ports.ts";
import { type AltraceProcess, runAltrace, startProcess } from "./run-altrace.ts";
import { type NatsServer, startNats } from "./start-nats.ts";
import { waitUntil } from "./wait-until.ts";

export type MeshOptions = {
  readonly nodes: number;
  /** Text of the policy. */
  readonly policy: string;
  /** Settings of every node. */
  readonly nodeEnv?: Readonly<Record<string, string>>;
};

const METRICS_OFFSET = { node: 91, coordinator: 93 } as const;
const PORTS_OF_ONE = 100;

/** A coordinator and its nodes, each a process, over a real nats-server. */
export async function startMesh(options: MeshOptions): Promise<Mesh> {
  const nats = await startNats();
  const folder = mkdtempSync(join(tmpdir(), "altm-"));
  const mesh = new Mesh({ options, nats, folder, portBases: await portBases(options.nodes + 1) });
  try {
    await mesh.found();
    return mesh;
  } catch (error) {
    await mesh[Symbol.asyncDispose]();
    throw error;
  }
}

type Member = {
  readonly name: string;
  readonly home: string;
  readonly metrics: string;
  readonly words: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  process: AltraceProcess | undefined;
};

export type MeshNode = Member & { readonly gateway: string };

export class Mesh implements AsyncDisposable {
  readonly nats: NatsServer;
  readonly coordinator: Member;
  readonly nodes: readonly MeshNode[];
  readonly #folder: string;
  readonly #policy: string;
  readonly #keys = new Map<string, string>();

  constructor(of: {
    readonly options: MeshOptions;
    readonly nats: NatsServer;
    readonly folder: string;
    readonly portBases: readonly number[];
  }) {
    const { options, nats, folder } = of;
    const [first = 0, ...bases] = of.portBases;
    this.nats = nats;
    this.#folder = folder;
    this.#policy = options.policy;
    const home = join(folder, "c");
    mkdirSync(home, { mode: 0o700 });
    const shared = (base: number, at: string) =>
      ["--home", at, "--nats-url", nats.url, "--port-base", String(base)] as const;
    this.coordinator = {
      name: "coordinator",
      home,
      metrics: `http://127.0.0.1:${first + METRICS_OFFSET.coordinator}`,
      words: ["coordinator", ...shared(first, home)],
      env: {},
      process: undefined,
    };
    this.nodes = bases.map((base, i) => {
      const name = `n${i + 1}`;
      const at = join(folder, name);
      const trust = join(home, "trust.json");
      return {
        name,
        home: at,
        gateway: `http://127.0.0.1:${base}`,
        metrics: `http://127.0.0.1:${base + METRICS_OFFSET.node}`,
        words: ["node", ...shared(base, at), "--node-id", name, "--trust", trust],
        env: options.nodeEnv ?? {},
        process: undefined,
      };
    });
  }

  node(name: string): MeshNode {
    const found = this.nodes.find((one) => one.name === name);
    if (found === undefined) throw new Error(`no node ${name}`);
    return found;
  }

  /** Where an agent's clients go, by node. */
  door(name: string): { readonly gateway: string; key(agent: string): string } {
    const { gateway } = this.node(name);
    return { gateway, key: (agent) => this.#keys.get(agent) ?? "" };
  }

  /** Starts everything for the first time: enrols the nodes and puts the policy in force. */
  async found(): Promise<void> {
    this.launch(this.coordinator);
    await this.#whenReady(this.coordinator);
    const file = join(this.#folder, "policy.yaml");
    writeFileSync(file, this.#policy);
    await this.mustCli("policy", "apply", file);
    for (const node of this.nodes) {
      const token = (await this.mustCli("token", node.name)).trim();
      this.launch(node, "--enrol", token);
    }
    await this.whenReady();
  }

  async issueKey(agent: string): Promise<void> {
    const { key } = JSON.parse(await this.mustCli("key", "issue", agent, "--json")) as {
      readonly key: string;
    };
    this.#keys.set(agent, key);
  }

  launch(member: Member, ...more: string[]): AltraceProcess {
    const started = startProcess([...member.words, ...more], { env: member.env });
    member.process = started;
    return started;
  }

  async whenReady(): Promise<void> {
    await this.#whenReady(this.coordinator);
    for (const node of this.nodes) await this.#whenReady(node);
  }

  cli(...words: string[]) {
    return runAltrace([...words, "--home", this.coordinator.home]);
  }

  async mustCli(...words: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.cli(...words);
    if (code !== 0) throw new Error(`altrace ${words.join(" ")}: exit ${code}\n${stdout}${stderr}`);
    return stdout;
  }

  /** SIGKILL for every process, the NATS server among them. */
  async crash(): Promise<void> {
    const ended = [this.coordinator, ...this.nodes].map((one) => one.process?.end("SIGKILL"));
    await Promise.all([...ended, this.nats.kill()]);
  }

  /** What `/readyz` of a member says, with its status. */
  async readiness(member: Member): Promise<string> {
    try {
      const answer = await fetch(`${member.metrics}/readyz`);
      return `${answer.status} ${(await answer.text()).trim()}`;
    } catch {
      return "no answer";
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.crash();
    await this.nats[Symbol.asyncDispose]();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #whenReady(member: Member): Promise<void> {
    let said = "";
    const failure = () =>
      `${member.name} to be ready: ${said}\n${member.process?.stdout()}${member.process?.stderr()}`;
    await waitUntil(failure, async () => {
      if (member.process?.isRunning() !== true) throw new Error(`it ended: ${failure()}`);
      said = await this.readiness(member);
      return said.startsWith("200 ");
    });
  }
}

/** Free bases whose ports do not overlap. */
async function portBases(count: number): Promise<readonly number[]> {
  const bases: number[] = [];
  while (bases.length < count) {
    const base = await freePortBase();
    if (bases.every((other) => Math.abs(other - base) >= PORTS_OF_ONE)) bases.push(base);
  }
  return bases;
}
