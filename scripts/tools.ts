// Brings the programs that measure and serve beside us, each pinned by version and hash, into
// .tools/bin: `npm run tools`. Nothing that is tested or gated needs them.
//
// `--own-go` ignores the machine's Go and brings the pinned one.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { findGo } from "./go-toolchain.ts";
import { ROOT, runCommand } from "./run-command.ts";

type Tool = {
  readonly name: string;
  readonly module: string;
  readonly version: string;
  /** Go's own hash of the module, so that another text under the same version is refused. */
  readonly sum: string;
  readonly versionArgs: readonly string[];
};

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
];

const BIN = join(ROOT, ".tools", "bin");
const STAMPS = join(BIN, "stamps.json");
const COMPILE_TIMEOUT_MS = 3_600_000;

const { values: flags } = parseArgs({ options: { "own-go": { type: "boolean", default: false } } });

mkdirSync(BIN, { recursive: true });
const missing = TOOLS.filter((tool) => !isThere(tool));
if (missing.length > 0) {
  const go = await findGo({ ownOnly: flags["own-go"] });
  for (const tool of missing) await install(tool, go);
}
for (const tool of TOOLS) await printVersion(tool);

function isThere(tool: Tool): boolean {
  return existsSync(join(BIN, tool.name)) && stamps()[tool.name] === stampOf(tool);
}

function stampOf({ module, version, sum }: Tool): string {
  return `${module}@${version} ${sum}`;
}

function stamps(): Record<string, string> {
  return existsSync(STAMPS) ? JSON.parse(readFileSync(STAMPS, "utf8")) : {};
}

async function install(tool: Tool, go: string): Promise<void> {
  const { name, module, version, sum } = tool;
  const env = {
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
  const options = { cwd: tmpdir(), env, timeoutMs: COMPILE_TIMEOUT_MS };
  const download = await runCommand(go, ["mod", "download", "-json", `${module}@${version}`], {
    ...options,
    env: { ...env, GOFLAGS: "-mod=mod" },
  });
  const found = /"Sum": "(h1:[^"]+)"/.exec(download.output)?.[1];
  if (found !== sum) {
    throw new Error(`${module}@${version} has the hash ${found}:\n${download.output}`);
  }
  console.log(`compiling ${name} ${version}, which takes minutes`);
  const { code, output, tookMs } = await runCommand(
    go,
    ["install", `${module}@${version}`],
    options,
  );
  if (code !== 0) throw new Error(`${module} did not compile:\n${output}`);
  writeFileSync(STAMPS, `${JSON.stringify({ ...stamps(), [name]: stampOf(tool) }, null, 2)}\n`);
  console.log(`compiled ${name} in ${Math.round(tookMs / 1000)} s`);
}

async function printVersion({ name, versionArgs }: Tool): Promise<void> {
  const { code, output } = await runCommand(join(BIN, name), versionArgs, { cwd: tmpdir() });
  if (code !== 0) throw new Error(`${name} does not run:\n${output}`);
  console.log(`.tools/bin/${name}: ${output.trim().split("\n")[0]}`);
}
