import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT, runCommand } from "./run-command.ts";

/** A program of others, from the module proxy. */
type ModuleTool = {
  readonly name: string;
  readonly module: string;
  /** Package of the program within the module. */
  readonly path?: string;
  readonly version: string;
  /** Go's own hash of the module, so that another text under the same version is refused. */
  readonly sum: string;
  /** Words that make it say its version; absent where it has none to say. */
  readonly versionArgs?: readonly string[];
};

/** A program of this repository over modules of others, which its go.sum pins. */
type LocalTool = {
  readonly name: string;
  readonly folder: string;
  /** It takes a quarter of an hour to compile: brought only when it is named. */
  readonly isDear?: true;
};

type Tool = ModuleTool | LocalTool;

const TOOLS: readonly Tool[] = [
  {
    name: "k6",
    module: "go.k6.io/k6",
    version: "v1.8.1",
    sum: "h1:orZsbZ2Od0CVZICs9YpTgkKcxfPghJW8VZtwg0cj8H8=",
    versionArgs: ["version"],
  },
  {
    name: "nats-server",
    module: "github.com/nats-io/nats-server/v2",
    version: "v2.15.2",
    sum: "h1:yLsgt2kslgymvxvjFq1WGWck5hkat2YYfbXvQ145tzU=",
    versionArgs: ["--version"],
  },
  {
    name: "kustomize",
    module: "sigs.k8s.io/kustomize/kustomize/v5",
    version: "v5.8.1",
    sum: "h1:Pgsg5psubpVEy7Nf6S89PARg5VmmWUC1l9dC6Dl4PG0=",
    versionArgs: ["version"],
  },
  {
    name: "fsck",
    module: "github.com/transparency-dev/tessera",
    path: "cmd/fsck",
    version: "v1.0.4",
    sum: "h1:IXjGowubcLR0T3zUQrysSMKgtTh9KGKQ0iajUiubyP4=",
  },
  { name: "tlogcheck", folder: join("test", "go", "tlogcheck") },
  {
    name: "omniwitness",
    module: "github.com/transparency-dev/witness",
    path: "cmd/omniwitness",
    version: "v0.0.0-20260720115447-2e1c6971d19e",
    sum: "h1:YGwUZRKoG5GjoissskUoEumfgaFtXuon4L3j6+SBnrc=",
  },
  { name: "controlplane", folder: join("test", "go", "controlplane"), isDear: true },
];

/** The programs by which others verify and witness a log, without a line of ours between. */
export const VERIFIERS = ["fsck", "tlogcheck", "omniwitness"] as const;

const BIN = join(ROOT, ".tools", "bin");
const STAMPS = join(BIN, "stamps.json");
const COMPILE_TIMEOUT_MS = 3_600_000;
const GO_ENV = {
  GOBIN: BIN,
  GOFLAGS: "-trimpath",
  GOSUMDB: "sum.golang.org",
  GONOSUMDB: "",
  GOPRIVATE: "",
  GOINSECURE: "",
  // No C compiler is needed, and none decides what is built.
  CGO_ENABLED: "0",
  // A module that asks for a newer Go than ours gets it from the same proxy, hashed the same way.
  GOTOOLCHAIN: "auto",
};

/** What a module proxy that is not reached makes go say. */
const UNREACHED = /dial tcp|no such host|i\/o timeout|connection refused|TLS handshake timeout/;

/** The module proxy could not be reached: nothing is said of the tool. */
export class ProxyUnreached extends Error {
  override readonly name = "ProxyUnreached";
}

/**
 * Brings tools that are missing or of another version.
 *
 * @param go Asked for the path of a `go` only when something has to be compiled.
 * @param names Of these tools alone. Default: all but those that are dear.
 * @throws ProxyUnreached A module could not be asked for.
 */
export async function bringTools(of: {
  readonly go: () => Promise<string>;
  readonly names?: readonly string[];
}): Promise<void> {
  const wanted = TOOLS.filter((tool) => of.names?.includes(tool.name) ?? !("isDear" in tool));
  mkdirSync(BIN, { recursive: true });
  const missing = wanted.filter((tool) => !isThere(tool));
  if (missing.length > 0) {
    const go = await of.go();
    for (const tool of missing) await install(tool, go);
  }
  for (const tool of wanted) await printVersion(tool);
}

function isThere(tool: Tool): boolean {
  return existsSync(join(BIN, tool.name)) && stamps()[tool.name] === stampOf(tool);
}

function stampOf(tool: Tool): string {
  if ("module" in tool) return `${tool.module}@${tool.version} ${tool.sum}`;
  const hash = createHash("sha256");
  const folder = join(ROOT, tool.folder);
  for (const name of readdirSync(folder).sort()) {
    hash.update(`${name}\n`).update(readFileSync(join(folder, name)));
  }
  return `sha256:${hash.digest("hex")}`;
}

function stamps(): Record<string, string> {
  return existsSync(STAMPS) ? JSON.parse(readFileSync(STAMPS, "utf8")) : {};
}

async function install(tool: Tool, go: string): Promise<void> {
  const { name } = tool;
  if ("module" in tool) await checkHash(tool, go);
  console.log(`compiling ${name}, which may take minutes`);
  const { code, output, tookMs } =
    "module" in tool ? await compile(tool, go) : await build(tool, go);
  if (code !== 0) throw faultOf(`${name} did not compile`, output);
  writeFileSync(STAMPS, `${JSON.stringify({ ...stamps(), [name]: stampOf(tool) }, null, 2)}\n`);
  console.log(`compiled ${name} in ${Math.round(tookMs / 1000)} s`);
}

async function checkHash({ module, version, sum }: ModuleTool, go: string): Promise<void> {
  const { output } = await runCommand(go, ["mod", "download", "-json", `${module}@${version}`], {
    cwd: tmpdir(),
    env: { ...GO_ENV, GOFLAGS: "-mod=mod" },
    timeoutMs: COMPILE_TIMEOUT_MS,
  });
  const found = /"Sum": "(h1:[^"]+)"/.exec(output)?.[1];
  if (found !== sum) throw faultOf(`${module}@${version} has the hash ${found}`, output);
}

function compile({ module, path, version }: ModuleTool, go: string) {
  const target = `${path === undefined ? module : `${module}/${path}`}@${version}`;
  const options = { cwd: tmpdir(), env: GO_ENV, timeoutMs: COMPILE_TIMEOUT_MS };
  return runCommand(go, ["install", target], options);
}

function build({ name, folder }: LocalTool, go: string) {
  return runCommand(go, ["build", "-mod=readonly", "-o", join(BIN, name), "."], {
    cwd: join(ROOT, folder),
    env: GO_ENV,
    timeoutMs: COMPILE_TIMEOUT_MS,
  });
}

function faultOf(what: string, output: string): Error {
  const message = `${what}:\n${output}`;
  return UNREACHED.test(output) ? new ProxyUnreached(message) : new Error(message);
}

async function printVersion(tool: Tool): Promise<void> {
  const { name } = tool;
  if (!("module" in tool) || tool.versionArgs === undefined) {
    console.log(`.tools/bin/${name}: ${"module" in tool ? tool.version : "of this repository"}`);
    return;
  }
  const { code, output } = await runCommand(join(BIN, name), tool.versionArgs, { cwd: tmpdir() });
  if (code !== 0) throw new Error(`${name} does not run:\n${output}`);
  console.log(`.tools/bin/${name}: ${output.trim().split("\n")[0]}`);
}
