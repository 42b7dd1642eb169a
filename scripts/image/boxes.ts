import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { ROOT, runCommand } from "../run-command.ts";

/** One container, as much of it as a manifest says and a runtime asks for. */
export type Box = {
  readonly name: string;
  readonly args: readonly string[];
  readonly uid: number;
  readonly gid: number;
  /** Without the prefix that the kernel's names have. */
  readonly capabilities: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** By the path at which it is seen: the path at which it lies. */
  readonly mounts: Readonly<Record<string, string>>;
};

type Manifest = {
  readonly name: string;
  readonly command: readonly string[];
  readonly args: readonly string[];
  readonly env: readonly { readonly name: string; readonly value?: string }[];
  readonly securityContext: {
    readonly runAsUser: number;
    readonly runAsGroup?: number;
    readonly readOnlyRootFilesystem: boolean;
    readonly allowPrivilegeEscalation: boolean;
    readonly capabilities: { readonly drop: readonly string[]; readonly add: readonly string[] };
  };
};

/** A container of the machine's pod, with the rights that its manifest gives it. @throws Error There is none. */
export function machineBox(name: string): Box {
  const file = join(ROOT, "deploy", "kustomize", "base", "machine", "daemonset.yaml");
  const documents = readFileSync(file, "utf8").split(/^---$/m);
  const { containers } = documents
    .map((text) => parse(text))
    .find(({ kind }) => kind === "DaemonSet").spec.template.spec;
  const found = (containers as Manifest[]).find((one) => one.name === name);
  if (found === undefined) throw new Error(`no container ${name} in ${file}`);
  const { command, args, env, securityContext: rights } = found;
  if (!rights.readOnlyRootFilesystem || rights.allowPrivilegeEscalation)
    throw new Error(`${name} may write its root, or gain rights: nothing here runs it so`);
  const told = env.flatMap(({ name, value }) => (value === undefined ? [] : [[name, value]]));
  return {
    name,
    args: [...command, ...args],
    uid: rights.runAsUser,
    gid: rights.runAsGroup ?? 0,
    capabilities: rights.capabilities.add,
    env: Object.fromEntries(told),
    mounts: {},
  };
}

/** Containers of one image that share a network of their own, run by runc. */
export class Boxes implements AsyncDisposable {
  readonly #rootfs: string;
  readonly #folder: string;
  readonly #network = `altrace-image-${process.pid}`;
  readonly #running = new Map<string, ChildProcess>();
  readonly #said = new Map<string, string>();

  private constructor(rootfs: string, folder: string) {
    this.#rootfs = rootfs;
    this.#folder = folder;
  }

  static async open(rootfs: string, folder: string): Promise<Boxes> {
    const boxes = new Boxes(rootfs, folder);
    await must("ip", ["netns", "add", boxes.#network]);
    await boxes.inNetwork("ip", "link", "set", "lo", "up");
    return boxes;
  }

  /** Starts it; what it says is kept for `saidBy`. */
  start(box: Box): void {
    const bundle = this.#bundleOf(box);
    const started = spawn("runc", ["run", "--bundle", bundle, this.#idOf(box.name)], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    const take = (chunk: Buffer) => {
      this.#said.set(box.name, `${this.saidBy(box.name)}${chunk}`.slice(-4_000));
    };
    started.stdout.on("data", take);
    started.stderr.on("data", take);
    this.#running.set(box.name, started);
  }

  /** Runs it to its end. */
  async run(box: Box): Promise<{ readonly code: number | undefined; readonly output: string }> {
    return runCommand("runc", ["run", "--bundle", this.#bundleOf(box), this.#idOf(box.name)]);
  }

  saidBy(name: string): string {
    return this.#said.get(name) ?? "";
  }

  /** Runs a command within a container that runs, with the rights of the container's own. */
  exec(name: string, user: string, ...command: readonly string[]) {
    return runCommand("runc", ["exec", "--user", user, this.#idOf(name), ...command]);
  }

  inNetwork(...command: readonly string[]) {
    return runCommand("ip", ["netns", "exec", this.#network, ...command]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const [name, child] of this.#running) {
      const ended = new Promise((resolve) => child.once("exit", resolve));
      await runCommand("runc", ["delete", "--force", this.#idOf(name)]);
      if (child.exitCode === null && child.signalCode === null) await ended;
    }
    await runCommand("ip", ["netns", "del", this.#network]);
  }

  #idOf(name: string): string {
    return `${this.#network}-${name}`;
  }

  #bundleOf(box: Box): string {
    const bundle = join(this.#folder, box.name);
    mkdirSync(bundle, { recursive: true });
    const network = `/run/netns/${this.#network}`;
    writeFileSync(
      join(bundle, "config.json"),
      JSON.stringify(specOf(box, { rootfs: this.#rootfs, network })),
    );
    return bundle;
  }
}

/** Of the Open Container Initiative's runtime specification, what Kubernetes makes of such a manifest. */
function specOf(box: Box, at: { readonly rootfs: string; readonly network: string }) {
  const { args, uid, gid } = box;
  const all = box.capabilities.map((name) => `CAP_${name}`);
  // For another user than root they are nothing that a program could use: none of them is ambient.
  const held = uid === 0 ? all : [];
  const capabilities = { bounding: all, effective: held, permitted: held, inheritable: [] };
  const env = Object.entries({ PATH: PATH_OF_IMAGE, ...box.env }).map(([key, value]) => {
    return `${key}=${value}`;
  });
  const bound = Object.entries(box.mounts).map(([destination, source]) => {
    return { destination, source, type: "bind", options: ["rbind", "rw"] };
  });
  const tmpfs = ["nosuid", "nodev", "mode=1777"];
  return {
    ociVersion: "1.0.2",
    hostname: "altrace",
    root: { path: at.rootfs, readonly: true },
    process: {
      args,
      env,
      cwd: "/opt/altrace",
      user: { uid, gid },
      capabilities,
      noNewPrivileges: true,
    },
    mounts: [
      { destination: "/proc", type: "proc", source: "proc" },
      { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755"] },
      { destination: "/dev/shm", type: "tmpfs", source: "shm", options: tmpfs },
      { destination: "/sys", type: "sysfs", source: "sysfs", options: ["nosuid", "noexec", "ro"] },
      { destination: "/tmp", type: "tmpfs", source: "tmpfs", options: tmpfs },
      ...bound,
    ],
    linux: {
      namespaces: [
        ...["pid", "ipc", "uts", "mount"].map((type) => ({ type })),
        { type: "network", path: at.network },
      ],
    },
  };
}

const PATH_OF_IMAGE =
  "/opt/altrace/node_modules/.bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

async function must(program: string, args: readonly string[]): Promise<void> {
  const { code, output } = await runCommand(program, args);
  if (code !== 0) throw new Error(`${program} ${args.join(" ")}: ${output}`);
}
