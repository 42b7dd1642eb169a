import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { delimiter, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "../../bench/harness/free-ports.ts";
import { tempDir } from "./temp-dir.ts";

/** A real nats-server with JetStream, on 127.0.0.1, with a folder of its own. */
export type NatsServer = AsyncDisposable & {
  readonly url: string;
  readonly port: number;
  readonly pid: number | undefined;
  /** Where it stores its streams. */
  readonly storeDir: string;
  /** Ends the process without a word to it; what it stored stays. */
  kill(): Promise<void>;
  /** Starts it again on the same port and folder; resolves once it takes connections. */
  restart(): Promise<void>;
  /** Replaces the further lines of its configuration, in force from the next start. */
  configure(config: string): void;
};

export type NatsServerOptions = {
  /** Further lines of its configuration. */
  readonly config?: string;
  /** False: the port is chosen and nothing listens there until `restart`. */
  readonly started?: boolean;
  /** Path of the server's program; default: the one from PATH. */
  readonly program?: string;
  /** Where it stores its streams; default: a folder of its own, which goes with it. */
  readonly storeDir?: string;
};

const READY_MS = 20_000;

/**
 * Starts the server, tells its process id, and ends it once our end of the pipe is closed: by us,
 * or by the death of a test runner that could not clean up, whatever killed it.
 */
const KEEPER = '"$0" "$@" </dev/null >/dev/null 2>&1 & echo $!; read -r _; kill -9 $!; wait';

/**
 * Starts a nats-server from PATH. Where there is none, root on Debian gets the distribution's
 * package; anyone else is told what to do.
 */
export async function startNats(options: NatsServerOptions = {}): Promise<NatsServer> {
  const program = options.program ?? natsServerProgram();
  const dir = tempDir();
  const port = await freePort();
  const { config = "", storeDir = join(dir.path, "js") } = options;
  const server = new RunningNats({ program, port, dir, storeDir, config });
  if (options.started !== false) await server.restart();
  return server;
}

class RunningNats implements NatsServer {
  readonly url: string;
  readonly port: number;
  readonly storeDir: string;
  readonly #program: string;
  readonly #dir: ReturnType<typeof tempDir>;
  readonly #configPath: string;
  readonly #logPath: string;
  #running: { readonly keeper: ChildProcess; readonly pid: number } | undefined;

  constructor(setup: {
    readonly program: string;
    readonly port: number;
    readonly dir: ReturnType<typeof tempDir>;
    readonly storeDir: string;
    readonly config: string;
  }) {
    this.port = setup.port;
    this.storeDir = setup.storeDir;
    this.url = `nats://127.0.0.1:${setup.port}`;
    this.#program = setup.program;
    this.#dir = setup.dir;
    this.#configPath = join(setup.dir.path, "nats.conf");
    this.#logPath = join(setup.dir.path, "nats.log");
    mkdirSync(setup.storeDir, { recursive: true });
    this.configure(setup.config);
  }

  configure(config: string): void {
    const lines = [
      `listen: "127.0.0.1:${this.port}"`,
      // A value without quotes would swallow the closing brace.
      `jetstream { store_dir: "${this.storeDir}", max_mem: 64M, max_file: 2G }`,
      config,
    ];
    writeFileSync(this.#configPath, `${lines.join("\n")}\n`);
  }

  get pid(): number | undefined {
    return this.#running?.pid;
  }

  async kill(): Promise<void> {
    const running = this.#running;
    this.#running = undefined;
    if (!running) return;
    const ended = once(running.keeper, "exit");
    running.keeper.stdin?.end();
    await ended;
  }

  async restart(): Promise<void> {
    await this.kill();
    const args = ["-c", KEEPER, this.#program, "-c", this.#configPath, "-l", this.#logPath];
    const keeper = spawn("/bin/sh", args, { stdio: ["pipe", "pipe", "ignore"] });
    const [line] = (await once(keeper.stdout, "data")) as [Buffer];
    this.#running = { keeper, pid: Number(line.toString()) };
    await this.#ready();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    this.#dir[Symbol.dispose]();
  }

  async #ready(): Promise<void> {
    const deadline = Date.now() + READY_MS;
    while (Date.now() < deadline) {
      if (await answers(this.port)) return;
      await sleep(20);
    }
    const log = existsSync(this.#logPath) ? readFileSync(this.#logPath, "utf8") : "no log";
    throw new Error(`nats-server does not answer on ${this.url}:\n${log}`);
  }
}

/** True once the server greets: it listens before JetStream is ready, and greets after. */
function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1" });
    const end = (isReady: boolean): void => {
      socket.destroy();
      resolve(isReady);
    };
    socket.once("data", (data) => end(data.toString("latin1").startsWith("INFO ")));
    socket.once("error", () => end(false));
    socket.once("close", () => end(false));
  });
}

function natsServerProgram(): string {
  const found = findProgram();
  if (found) return found;
  const isRoot = process.getuid?.() === 0;
  if (isRoot && existsSync("/usr/bin/apt-get")) {
    execFileSync("apt-get", ["install", "-y", "--no-install-recommends", "nats-server"]);
    const installed = findProgram();
    if (installed) return installed;
  }
  throw new Error(
    "no nats-server: install it (Debian: apt-get install nats-server; others: " +
      "https://github.com/nats-io/nats-server/releases) and put it on PATH",
  );
}

function findProgram(): string | undefined {
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/usr/local/bin"];
  return folders.map((folder) => join(folder, "nats-server")).find((path) => existsSync(path));
}
