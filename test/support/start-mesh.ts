import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readTrustFile } from "../../adapters/trust-file.ts";
import { freePortBase } from "../../bench/harness/free-ports.ts";
import type { CallRole } from "../../proto/call-roles.ts";
import { MeshCertificates } from "./mesh-certificates.ts";
import type { NatsCluster } from "./nats-cluster.ts";
import { type AltraceProcess, startProcess } from "./run-altrace.ts";
import { runHere } from "./run-here.ts";
import { type NatsServer, startNats } from "./start-nats.ts";
import { waitUntil } from "./wait-until.ts";

export type MeshOptions = {
  readonly nodes: number;
  /** Text of the policy. */
  readonly policy: string;
  /** Settings of every node. */
  readonly nodeEnv?: Readonly<Record<string, string>>;
  /** Coordinators; default 1. */
  readonly coordinators?: number;
  /** Settings of every coordinator. */
  readonly coordinatorEnv?: Readonly<Record<string, string>>;
  /** Path of the nats-server; default: the one from PATH. */
  readonly natsProgram?: string | undefined;
  /** Three servers that run already and hold every stream together, in place of one of its own; they end with it. */
  readonly cluster?: NatsCluster;
  /** Further lines of the server's configuration, for the members as they will be. */
  readonly natsConfig?: (mesh: Pick<Mesh, "coordinators" | "nodes">) => Promise<string>;
  /** True: members and server speak TLS and show certificates, and coordinators listen for operators. */
  readonly tls?: boolean;
};

const METRICS_OFFSET = { node: 91, coordinator: 93 } as const;
const GRPC_OFFSET = { node: 90, coordinator: 92 } as const;

/** A coordinator and its nodes, each a process, over a real nats-server. */
export async function startMesh(options: MeshOptions): Promise<Mesh> {
  const { natsProgram: program } = options;
  const single = { started: false, ...(program === undefined ? {} : { program }) };
  const nats = options.cluster ?? (await startNats(single));
  const folder = mkdtempSync(join(tmpdir(), "altm-"));
  const certificates = options.tls ? await MeshCertificates.in(folder) : undefined;
  const members = Array.from({ length: options.nodes + (options.coordinators ?? 1) });
  const mesh = new Mesh({
    options,
    certificates,
    nats,
    folder,
    portBases: await Promise.all(members.map(freePortBase)),
  });
  try {
    const lines = [await options.natsConfig?.(mesh), certificates?.natsConfig].filter(Boolean);
    if (lines.length > 0 && "configure" in nats) nats.configure(lines.join("\n"));
    if (options.cluster === undefined) await nats.restart();
    await mesh.found();
    return mesh;
  } catch (error) {
    await mesh[Symbol.asyncDispose]();
    throw error;
  }
}

export type Member = {
  readonly name: string;
  readonly home: string;
  readonly metrics: string;
  /** For operators over TLS, where the mesh has it. */
  readonly grpc: string;
  readonly words: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  process: AltraceProcess | undefined;
};

export type MeshNode = Member & { readonly gateway: string };

export class Mesh implements AsyncDisposable {
  readonly nats: NatsServer | NatsCluster;
  /** The one that founded the mesh: its HOME holds the operator's key. */
  readonly coordinator: Member;
  readonly coordinators: readonly Member[];
  readonly nodes: readonly MeshNode[];
  readonly #certificates: MeshCertificates | undefined;
  readonly #folder: string;
  readonly #policy: string;
  readonly #keys = new Map<string, string>();

  constructor(of: {
    readonly options: MeshOptions;
    readonly certificates: MeshCertificates | undefined;
    readonly nats: NatsServer | NatsCluster;
    readonly folder: string;
    readonly portBases: readonly number[];
  }) {
    const { options, certificates, nats, folder } = of;
    const overTls = certificates?.memberEnv ?? {};
    const ofThree = options.cluster === undefined ? {} : { ALTRACE_NATS_REPLICAS: "3" };
    const count = options.coordinators ?? 1;
    const bases = of.portBases.slice(count);
    this.nats = nats;
    this.#certificates = certificates;
    this.#folder = folder;
    this.#policy = options.policy;
    const shared = (base: number, at: string) =>
      ["--home", at, "--nats-url", nats.url, "--port-base", String(base)] as const;
    this.coordinators = of.portBases.slice(0, count).map((base, i) => {
      const name = `c${i + 1}`;
      const at = join(folder, name);
      mkdirSync(at, { mode: 0o700 });
      const joined = i === 0 ? [] : ["--trust", join(folder, "c1", "trust.json")];
      return {
        name,
        home: at,
        metrics: `http://127.0.0.1:${base + METRICS_OFFSET.coordinator}`,
        grpc: `tls://127.0.0.1:${base + GRPC_OFFSET.coordinator}`,
        words: ["coordinator", ...shared(base, at), "--replica-id", name, ...joined],
        env: { ...overTls, ...certificates?.grpcEnv, ...ofThree, ...options.coordinatorEnv },
        process: undefined,
      };
    });
    this.coordinator = this.coordinators[0] as Member;
    const { home } = this.coordinator;
    this.nodes = bases.map((base, i) => {
      const name = `n${i + 1}`;
      const at = join(folder, name);
      const trust = join(home, "trust.json");
      return {
        name,
        home: at,
        gateway: `http://127.0.0.1:${base}`,
        metrics: `http://127.0.0.1:${base + METRICS_OFFSET.node}`,
        grpc: `tls://127.0.0.1:${base + GRPC_OFFSET.node}`,
        words: ["node", ...shared(base, at), "--node-id", name, "--trust", trust],
        env: { ...overTls, ...certificates?.grpcEnv, ...options.nodeEnv },
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
    for (const further of this.coordinators.slice(1)) await this.join(further);
    for (const node of this.nodes) {
      const token = (await this.mustCli("token", node.name)).trim();
      this.launch(node, "--enrol", token);
    }
    await this.whenReady();
  }

  /** A further coordinator says who it is, and the operator has the mesh trust it. */
  async join(further: Member): Promise<void> {
    this.launch(further);
    const identity = join(further.home, "coordinator.json");
    await waitUntil(`${further.name} to say who it is`, async () => existsSync(identity));
    await this.mustCli("trust", "add", identity);
    await this.#whenReady(further);
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
    for (const one of this.coordinators) await this.#whenReady(one);
    for (const node of this.nodes) await this.#whenReady(node);
  }

  /** The same by the socket of another coordinator, with the operator's key of the first. */
  cliVia(member: Member, ...words: string[]) {
    return this.cli(...words, "--coordinator", `unix:${join(member.home, "coordinator.sock")}`);
  }

  /** The same over TLS, in a role, as somebody on another machine would. */
  async cliOverTls(member: Member, role: CallRole, ...words: string[]) {
    const identity = await this.identity(role);
    return this.cli(...words, "--coordinator", member.grpc, "--identity", identity);
  }

  /** Folder with a new certificate of this role, for `--identity`. */
  identity(role: CallRole): Promise<string> {
    if (this.#certificates === undefined) throw new Error("this mesh has no certificates");
    const { mesh } = readTrustFile(join(this.coordinator.home, "trust.json"));
    return this.#certificates.identity(mesh, role);
  }

  cli(...words: string[]) {
    return runHere(...words, "--home", this.coordinator.home);
  }

  async mustCli(...words: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.cli(...words);
    if (code !== 0) throw new Error(`altrace ${words.join(" ")}: exit ${code}\n${stdout}${stderr}`);
    return stdout;
  }

  /** SIGKILL for every process, the NATS server among them. */
  async crash(): Promise<void> {
    const ended = [...this.coordinators, ...this.nodes].map((one) => one.process?.end("SIGKILL"));
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
