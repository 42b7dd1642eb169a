import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import {
  accessSync,
  chmodSync,
  constants,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { delimiter, dirname, join, relative } from "node:path";
import { createInterface } from "node:readline";
import type { HostCommand } from "../../node/kernel/host-command.ts";
import { KERNEL_PACKAGES } from "../setup/kernel-programs.ts";
import { folderPrefix, namespacePrefix, pidsIn, signalOne, sweepLeftLabs } from "./left-labs.ts";
import { cleanEnv } from "./run-altrace.ts";
import { stopProcess } from "./stop-process.ts";
import { waitUntil } from "./wait-until.ts";

const ROOT = join(import.meta.dirname, "..", "..");
const TOOLS = ["ip", "nft", "python3", "cc", "make", "setpriv", "nsenter"] as const;
const MISSING = "missing programs:";

/**
 * Why the kernel's part cannot be tried here; undefined when it can.
 *
 * Where the machine could try it and only programs are missing, that is a failure if `CI` is set: a run
 * that quietly leaves out the walls proves less than it says.
 */
export function kernelUnavailable(): string | undefined {
  const why = reason();
  if (why?.startsWith(MISSING) && process.env.CI)
    throw new Error(`CI must try the kernel's part: ${why}`);
  if (why !== undefined) console.log(`SKIPPED, the kernel's part: ${why}`);
  return why;
}

function reason(): string | undefined {
  if (process.platform !== "linux") return "this is not Linux";
  if (process.getuid?.() !== 0) return "only root may make network namespaces";
  const missing = TOOLS.filter((tool) => !isOnPath(tool));
  if (missing.length > 0)
    return `${MISSING} ${missing.join(", ")}: apt-get install ${KERNEL_PACKAGES.join(" ")}`;
  const name = `${namespacePrefix()}-try`;
  const made = spawnSync("ip", ["netns", "add", name], { encoding: "utf8" });
  if (made.status !== 0) return `no network namespaces here: ${made.stderr.trim()}`;
  const hook = "type filter hook prerouting priority mangle";
  const rules = `table inet t {\nchain c {\n${hook}\nmeta l4proto tcp tproxy ip to 127.0.0.1:1\n}\n}\n`;
  const nft = spawnSync("ip", ["netns", "exec", name, "nft", "-f", "-"], {
    input: rules,
    encoding: "utf8",
  });
  spawnSync("ip", ["netns", "del", name]);
  return nft.status === 0 ? undefined : `this kernel has no tproxy: ${nft.stderr.trim()}`;
}

function isOnPath(program: string): boolean {
  return (process.env.PATH ?? "").split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** One line that an oracle, an attacker or a proxy said. */
export type Said = Readonly<Record<string, unknown>>;

/** A process in a namespace that says lines of JSON. */
export type Speaker = {
  readonly said: Said[];
  readonly child: ChildProcess;
  readonly exit: Promise<number | null>;
};

/** Which processes: their user, and a word of their command line. */
export type Running = { readonly uid: number; readonly word: string };

/** What the manifests give the node's launcher, and nothing beside. */
export const LAUNCHER_CAPABILITIES = ["net_admin", "setuid", "setgid", "setpcap", "kill"] as const;

/** By the path at which a file is seen: the path at which it lies. */
export type FilesInPlace = Readonly<Record<string, string>>;

/** For a shell that has mounts of its own: puts files in place and becomes the program behind it. */
export function mounting(files: FilesInPlace): string {
  const mounts = Object.entries(files).map(([seen, from]) => `mount --bind ${from} ${seen}`);
  return ["mount --make-rprivate /", ...mounts, 'exec "$@"'].join(" && ");
}

/** Names of the lab's namespaces: the outside, the machine, and two pods. */
export type Place = "inet" | "node" | "a1" | "a2";

export const LAB = {
  node4: "10.9.0.2",
  node6: "fd09::2",
  inet4: "10.9.0.1",
  inet6: "fd09::1",
  a1: ["10.77.0.11", "fd77::11"],
  a2: ["10.77.0.12", "fd77::12"],
  gateway4: "10.77.0.1",
  gatewayMac: "02:00:00:00:00:fe",
} as const;

/**
 * Four network namespaces: two pods on one machine that leads to the outside. Nothing is masqueraded,
 * so whatever leaks is seen outside under its own address.
 */
export class KernelLab implements Disposable {
  readonly folder: string;
  readonly #prefix: string;
  readonly #speakers: Speaker[] = [];
  readonly #network: "routed" | "bridged";
  readonly #path = [dirname(pythonItself()), process.env.PATH].join(delimiter);

  constructor(network: "routed" | "bridged" = "routed") {
    this.#network = network;
    sweepLeftLabs();
    this.folder = mkdtempSync(folderPrefix());
    chmodSync(this.folder, 0o755);
    this.#prefix = namespacePrefix();
    try {
      this.#build();
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  namespace(place: Place): string {
    return `${this.#prefix}-${place}`;
  }

  /** Runs a command to its end. @throws Error It did not end with 0. */
  run(place: Place, line: string, input?: string): string {
    return execFileSync("ip", ["netns", "exec", this.namespace(place), ...line.split(" ")], {
      encoding: "utf8",
      stdio: ["pipe", "pipe", "pipe"],
      env: { ...process.env, PATH: this.#path },
      ...(input !== undefined && { input }),
    });
  }

  /** The same for code under test that takes a HostCommand. */
  hostOf(place: Place): HostCommand {
    return (program, args, input) => {
      const done = spawnSync("ip", ["netns", "exec", this.namespace(place), program, ...args], {
        encoding: "utf8",
        input: input ?? "",
      });
      return Promise.resolve({ code: done.status, output: done.stdout, errors: done.stderr });
    };
  }

  readonly host: HostCommand = (program, args, input) => this.hostOf("node")(program, args, input);

  /** Starts a process that says lines of JSON; what is no JSON is kept as `{ text }`. */
  speak(
    place: Place,
    command: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): Speaker {
    const child = spawn("ip", ["netns", "exec", this.namespace(place), ...command], {
      stdio: ["pipe", "pipe", "pipe"],
      env: { ...cleanEnv(), PATH: this.#path, ...env },
    });
    const said: Said[] = [];
    for (const stream of [child.stdout, child.stderr])
      createInterface({ input: stream }).on("line", (line) => said.push(parsed(line)));
    const exit = new Promise<number | null>((resolve) => child.once("close", resolve));
    const speaker = { said, child, exit };
    this.#speakers.push(speaker);
    return speaker;
  }

  /** Listens on links and ports of a place; resolves when it hears. */
  async oracle(
    place: Place,
    on: {
      readonly links?: readonly string[];
      readonly tcp?: readonly number[];
      readonly udp?: readonly number[];
    },
  ): Promise<Speaker> {
    const script = join(ROOT, "test", "kernel", "oracle.py");
    const oracle = this.speak(place, ["python3", script, JSON.stringify(on)]);
    const wanted = (on.links?.length ?? 0) + 2 * (on.tcp?.length ?? 0) + (on.udp?.length ?? 0);
    await waitUntil(`the oracle of ${place}: ${JSON.stringify(oracle.said)}`, () => {
      return oracle.said.filter(({ ready }) => ready !== undefined).length === wanted;
    });
    oracle.said.length = 0;
    return oracle;
  }

  launcher(): string {
    return this.#program("launcher", "altrace-launcher");
  }

  gateHelper(): string {
    return this.#program("gate-helper", "altrace-gate");
  }

  canaryPackets(): string {
    return this.#program("canary-packets", "altrace-canary");
  }

  /** Compiled once for each text of it, and put where every user may start it. */
  #program(source: string, name: string): string {
    const out = join(this.folder, name);
    if (existsSync(out)) return out;
    const folder = join(ROOT, "node", "kernel", source);
    const hash = createHash("sha256");
    for (const file of readdirSync(folder).sort()) hash.update(readFileSync(join(folder, file)));
    const cache = join(ROOT, "node_modules", ".cache", "altrace-programs");
    const kept = join(cache, `${name}-${hash.digest("hex").slice(0, 16)}`);
    if (!existsSync(kept)) {
      mkdirSync(cache, { recursive: true });
      execFileSync("make", ["-s", "-C", folder, `OUT=${kept}.${process.pid}`]);
      renameSync(`${kept}.${process.pid}`, kept);
    }
    copyFileSync(kept, out);
    return out;
  }

  /**
   * Runs a TypeScript file of this repository in a place, under the launcher. The repository is shown at
   * a path that any user may read, because the program under the launcher is nobody in particular.
   */
  launch(
    place: Place,
    of: {
      readonly flags: readonly string[];
      readonly script: string;
      readonly args?: readonly string[];
      readonly env?: Readonly<Record<string, string>>;
      /** All that the launcher itself may do, such as `net_admin`. */
      readonly capabilities: readonly string[];
      /** Files that it sees in the place of others. */
      readonly files?: FilesInPlace;
    },
  ): Speaker {
    const seen = join(this.folder, "repository");
    mkdirSync(seen, { recursive: true });
    const inside = (path: string) =>
      relative(ROOT, path).startsWith("..") ? path : join(seen, relative(ROOT, path));
    const boot = existsSync(this.#bootFile) ? { [BOOT_ID]: this.#bootFile } : {};
    const command = [
      ...["unshare", "-m", "sh", "-c", mounting({ ...boot, ...of.files, [seen]: ROOT }), "sh"],
      ...bounded(of.capabilities),
      ...[this.launcher(), ...of.flags, "--"],
      ...[inside(process.execPath), inside(join(ROOT, of.script)), ...(of.args ?? [])],
    ];
    return this.speak(place, command, of.env);
  }

  /** In the place of the node: lets through one name, and says who came for what. */
  async captureProbe(flags: readonly string[] = [], env = {}): Promise<Speaker> {
    const probe = this.launch("node", {
      flags: ["--port", "14001", "--uid", "4737", "--gid", "4737", ...flags],
      capabilities: LAUNCHER_CAPABILITIES,
      script: "test/kernel/capture-probe.ts",
      env: { PROBE_ALLOWED: LAB.inet4, ...env },
    });
    await waitUntil(
      () => `the probe: ${JSON.stringify(probe.said)}`,
      () => probe.said.some(({ ready }) => ready === true),
    );
    return probe;
  }

  /** Runs attacks from a pod, and tells what the attacker saw. */
  async attack(
    of: {
      readonly only?: readonly string[];
      readonly uid?: number;
      readonly mark?: number;
      readonly from?: "a1" | "a2";
      /** Questions for names are answered here, and the answer is waited for. */
      readonly isAnswered?: boolean;
    } = {},
  ): Promise<readonly Said[]> {
    const from = of.from ?? "a1";
    const [self4, self6] = LAB[from];
    const [other4, other6] = LAB[from === "a1" ? "a2" : "a1"];
    const { node4, node6, gatewayMac } = LAB;
    const places = { self4, self6, other4, other6, node4, node6, gatewayMac };
    const { only = null, uid, mark, isAnswered } = of;
    const otherMac = this.#network === "bridged" ? this.#macOf(from === "a1" ? "a2" : "a1") : null;
    const args = { ...places, otherMac, only, uid, mark, isAnswered };
    const script = join(ROOT, "test", "kernel", "attack.py");
    const attacker = this.speak(from, ["python3", script, JSON.stringify(args)]);
    await attacker.exit;
    return attacker.said;
  }

  #macOf(place: Place): string {
    const [link] = JSON.parse(this.run(place, "ip -j link show eth0")) as [{ address: string }];
    return link.address;
  }

  /** Resolves once everything that was sent before has passed the oracle. */
  async settled(oracle: Speaker): Promise<void> {
    const mark = `ALTRACE-${Math.random().toString(36).slice(2)}`;
    this.run("node", `python3 -c ${sender(mark)}`);
    const text = Buffer.from(mark).toString("hex");
    await waitUntil(
      () => `the oracle to hear ${mark}: ${JSON.stringify(oracle.said.slice(-5))}`,
      () => oracle.said.some((one) => String(one.text).includes(text)),
    );
  }

  /**
   * The processes of a place that are these. A namespace for networks alone sees the processes of the
   * whole machine, and another lab has some of the same names: only those that live in here are meant.
   */
  running(place: Place, which: Running): readonly number[] {
    return pidsIn(this.namespace(place)).filter((pid) => isRunning(pid, which));
  }

  /** Signals them. @returns How many there were. */
  signal(place: Place, which: Running, signal: NodeJS.Signals): number {
    const pids = this.running(place, which);
    for (const pid of pids) signalOne(pid, signal);
    return pids.length;
  }

  /** How many there were. They stand still when it resolves, which SIGSTOP alone does not promise. */
  async stop(place: Place, which: Running): Promise<number> {
    const pids = this.running(place, which);
    await Promise.all(pids.map(stopProcess));
    return pids.length;
  }

  /** Ends every process that was started in here. */
  async silence(): Promise<void> {
    for (const { child } of this.#speakers) child.kill("SIGKILL");
    this.#killAll();
    await Promise.all(this.#speakers.map(({ exit }) => exit));
    this.#speakers.length = 0;
  }

  /**
   * As when the power goes and comes back: no process, rule, set or route is left, interfaces are others, the boot has
   * another id, and of what was written only what lay on a disk is there. What lies in `run` lay in memory.
   */
  async reboot(): Promise<void> {
    await this.silence();
    this.#removeNamespaces();
    rmSync(join(this.folder, "run"), { recursive: true, force: true });
    writeFileSync(this.#bootFile, randomUUID());
    this.#build();
  }

  [Symbol.dispose](): void {
    for (const { child } of this.#speakers) child.kill("SIGKILL");
    this.#killAll();
    this.#removeNamespaces();
    rmSync(this.folder, { recursive: true, force: true });
  }

  get #bootFile(): string {
    return join(this.folder, "boot_id");
  }

  #removeNamespaces(): void {
    for (const place of PLACES) spawnSync("ip", ["netns", "del", this.namespace(place)]);
  }

  /** Whoever the launcher has started is not our child; it lives in the namespace. */
  #killAll(): void {
    for (const place of PLACES)
      for (const pid of pidsIn(this.namespace(place))) signalOne(pid, "SIGKILL");
  }

  #build(): void {
    const at = (place: Place) => this.namespace(place);
    ipBatch(
      undefined,
      PLACES.map((place) => `netns add ${at(place)}`),
    );
    // Before there are links: a fresh address would not be used for a second, while it is looked for.
    for (const place of PLACES)
      for (const kind of ["all", "default"])
        this.#setting(place, `ipv6/conf/${kind}/accept_dad`, 0);
    ipBatch(undefined, [
      `link add ext0 netns ${at("node")} type veth peer name eth0 netns ${at("inet")}`,
      `link add p1 netns ${at("node")} type veth peer name eth0 netns ${at("a1")}`,
      `link add p2 netns ${at("node")} type veth peer name eth0 netns ${at("a2")}`,
    ]);
    ipBatch(at("inet"), INET_LINES);
    ipBatch(at("node"), [...NODE_LINES, ...NODE_PORTS[this.#network]]);
    ipBatch(at("a1"), podLines(LAB.a1, this.#network));
    ipBatch(at("a2"), podLines(LAB.a2, this.#network));
    this.#setting("node", "ipv4/ip_forward", 1);
    this.#setting("node", "ipv6/conf/all/forwarding", 1);
  }

  #setting(place: Place, name: string, value: number): void {
    this.run(place, `tee /proc/sys/net/${name}`, `${value}`);
  }
}

const BOOT_ID = "/proc/sys/kernel/random/boot_id";

const PLACES = ["inet", "node", "a1", "a2"] as const;

const INET_LINES = [
  "link set lo up",
  "link set eth0 up",
  `addr add ${LAB.inet4}/24 dev eth0`,
  `addr add ${LAB.inet6}/64 dev eth0 nodad`,
  `route add 10.77.0.0/16 via ${LAB.node4}`,
  `route add fd77::/64 via ${LAB.node6}`,
  "route add local 198.18.0.0/16 dev lo",
  "route add local 169.254.169.254 dev lo",
  "route add local fd00:ec2::254 dev lo",
  "route add local 2001:db8::/32 dev lo",
  "route add local 64:ff9b::/96 dev lo",
];

const NODE_LINES = [
  "link set lo up",
  "link set ext0 up",
  `addr add ${LAB.node4}/24 dev ext0`,
  `addr add ${LAB.node6}/64 dev ext0 nodad`,
  `route add default via ${LAB.inet4}`,
  `route add ::/0 via ${LAB.inet6}`,
];

const NODE_PORTS = {
  routed: ([1, 2] as const).flatMap((i) => [
    `link set p${i} address ${LAB.gatewayMac}`,
    `link set p${i} up`,
    `addr add ${LAB.gateway4}/32 dev p${i}`,
    `addr add fe80::1/64 dev p${i} nodad`,
    `route add ${LAB[`a${i}`][0]}/32 dev p${i}`,
    `route add ${LAB[`a${i}`][1]}/128 dev p${i}`,
  ]),
  bridged: [
    `link add br0 address ${LAB.gatewayMac} type bridge`,
    "link set br0 up",
    "link set p1 master br0",
    "link set p2 master br0",
    "link set p1 up",
    "link set p2 up",
    `addr add ${LAB.gateway4}/24 dev br0`,
    "addr add fd77::1/64 dev br0 nodad",
    "addr add fe80::1/64 dev br0 nodad",
  ],
} as const;

function podLines([v4, v6]: readonly [string, string], network: "routed" | "bridged"): string[] {
  const bits = network === "routed" ? { v4: 32, v6: 128 } : { v4: 24, v6: 64 };
  return [
    "link set lo up",
    "link set eth0 up",
    `addr add ${v4}/${bits.v4} dev eth0`,
    `addr add ${v6}/${bits.v6} dev eth0 nodad`,
    `route add default via ${LAB.gateway4} dev eth0 onlink`,
    "route add ::/0 via fe80::1 dev eth0",
  ];
}

const SYSTEM_PYTHON = "/usr/bin/python3";
let python: string | undefined;

/**
 * What PATH has first may be a script that looks for the one to run, at a tenth of a second each time, and that one may look
 * through all that is installed beside it. The system's does neither.
 */
export function pythonItself(): string {
  const line = ["-c", "import sys; print(sys.executable)"];
  python ??= existsSync(SYSTEM_PYTHON)
    ? SYSTEM_PYTHON
    : execFileSync("python3", line, { encoding: "utf8" }).trim();
  return python;
}

/** Root with these capabilities and no others, as a container is given them. */
function bounded(capabilities: readonly string[]): string[] {
  const set = ["-all", ...capabilities.map((name) => `+${name}`)].join(",");
  const group = ["--regid", "4737", "--clear-groups"];
  return ["setpriv", "--bounding-set", set, "--inh-caps", "-all", ...group];
}

function ipBatch(namespace: string | undefined, lines: readonly string[]): void {
  const where = namespace === undefined ? [] : ["-n", namespace];
  execFileSync("ip", [...where, "-batch", "-"], { input: lines.join("\n"), stdio: "pipe" });
}

/** One datagram outwards, without a blank in its program. */
function sender(mark: string): string {
  return `import\tsocket;socket.socket(2,2).sendto(b"${mark}",("198.18.255.254",9))`;
}

function parsed(line: string): Said {
  try {
    return JSON.parse(line) as Said;
  } catch {
    return { text: line };
  }
}

/** One that ended in between is not there. */
function isRunning(pid: number, { uid, word }: Running): boolean {
  try {
    const isIts = new RegExp(`^Uid:\\s+${uid}\\s`, "m").test(
      readFileSync(`/proc/${pid}/status`, "utf8"),
    );
    return isIts && readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(word);
  } catch {
    return false;
  }
}
