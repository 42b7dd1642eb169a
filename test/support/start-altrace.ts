import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePortBase } from "../../bench/harness/free-ports.ts";
import { type AltraceProcess, type Ended, startProcess } from "./run-altrace.ts";
import { runHere } from "./run-here.ts";
import { waitUntil } from "./wait-until.ts";

/** What `altrace up --json` says when it is ready. */
export type Ready = {
  readonly ready: true;
  readonly gateway: string;
  readonly forward: string;
  readonly grpc: { readonly node: string; readonly coordinator: string };
  readonly metrics: string;
  /** Virtual keys by `team/agent`. */
  readonly keys: Readonly<Record<string, string>>;
  readonly home: string;
};

export type UpOptions = {
  /** Text of a policy instead of the demo's. */
  readonly policy?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly nodeArgs?: readonly string[];
};

/** Starts `altrace up` with a HOME of its own on free ports; resolves when it is ready. */
export async function startAltrace(options: UpOptions = {}): Promise<Altrace> {
  // Sockets lie in HOME, and their paths are bounded: a short one.
  const home = mkdtempSync(join(tmpdir(), "alt-"));
  const portBase = await freePortBase();
  const altrace = new Altrace({ ...options, home, portBase });
  try {
    await altrace.start();
    return altrace;
  } catch (error) {
    await altrace[Symbol.asyncDispose]();
    throw error;
  }
}

/** `altrace up`, which can be ended in any way and started again on what it left. */
export class Altrace implements AsyncDisposable {
  readonly home: string;
  readonly portBase: number;
  readonly #options: UpOptions;
  readonly #said: AltraceProcess[] = [];
  #ready: Ready | undefined;

  constructor(options: UpOptions & { readonly home: string; readonly portBase: number }) {
    this.home = options.home;
    this.portBase = options.portBase;
    this.#options = options;
    if (options.policy !== undefined) writeFileSync(`${this.home}-policy.yaml`, options.policy);
  }

  get ready(): Ready {
    if (this.#ready === undefined) throw new Error("altrace is not ready");
    return this.#ready;
  }

  get gateway(): string {
    return this.ready.gateway;
  }

  get process(): AltraceProcess {
    return this.#said.at(-1) as AltraceProcess;
  }

  /** The words of its command line. */
  get words(): readonly string[] {
    const { policy } = this.#options;
    const own = policy === undefined ? [] : ["--policy", `${this.home}-policy.yaml`];
    return ["up", "--json", "--home", this.home, "--port-base", String(this.portBase), ...own];
  }

  key(agent: string): string {
    const key = this.ready.keys[agent];
    if (key === undefined) throw new Error(`no key for ${agent}`);
    return key;
  }

  /** Starts the process; does not wait for it. */
  launch(): AltraceProcess {
    const { env = {}, nodeArgs = [] } = this.#options;
    const started = startProcess(this.words, { env, nodeArgs });
    this.#said.push(started);
    return started;
  }

  async start(): Promise<void> {
    this.launch();
    await this.whenReady();
  }

  async whenReady(): Promise<void> {
    const { process } = this;
    const failure = () => `altrace up to get ready:\n${process.stdout()}${process.stderr()}`;
    this.#ready = await waitUntil(failure, () => {
      const line = process.stdout().split("\n").find(isReadyLine);
      if (line !== undefined) return JSON.parse(line) as Ready;
      if (!process.isRunning()) throw new Error(`altrace up ended; it was: ${failure()}`);
      return undefined;
    });
  }

  /** Runs one command of the CLI against this HOME. */
  cli(...words: string[]) {
    return runHere(...words, "--home", this.home);
  }

  /** The same, when anything but success would end the test. */
  async mustCli(...words: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.cli(...words);
    if (code !== 0) throw new Error(`altrace ${words.join(" ")}: exit ${code}\n${stdout}${stderr}`);
    return stdout;
  }

  /** Ends it as a power cut would, as far as a process can tell. */
  crash(): Promise<Ended> {
    return this.process.end("SIGKILL");
  }

  stop(): Promise<Ended> {
    return this.process.end("SIGTERM");
  }

  /** Everything that all its runs have said. */
  said(): string {
    return this.#said.map((one) => one.stdout() + one.stderr()).join("");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const one of this.#said) await one.end("SIGKILL");
    rmSync(this.home, { recursive: true, force: true });
    rmSync(`${this.home}-policy.yaml`, { force: true });
  }
}

function isReadyLine(line: string): boolean {
  return line.startsWith("{") && line.includes('"ready":true');
}
