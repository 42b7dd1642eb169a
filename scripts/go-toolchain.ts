import { createHash } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { ProxyUnreached } from "./bring-tools.ts";
import { readZip, type ZipEntry } from "./read-zip.ts";
import { ROOT, runCommand } from "./run-command.ts";

/** The oldest Go that is taken from PATH. */
const GO_MINOR_MIN = 24;

const VERSION = "go1.26.8";
/** Go's own hash of each archive (dirhash `h1:`), as its checksum database has it. */
const SUMS: Readonly<Record<string, string>> = {
  "linux-amd64": "h1:ZOmGe1OnfREDMIdb1Qi4G9JSuDPBLGExZMQ4nis1RXM=",
  "linux-arm64": "h1:sYL/O6MqS68ML0kjsQ36WoYIpJqkw60TxizWUYUKQMc=",
  "darwin-amd64": "h1:7/9KPPN8PckcA9s91hm2jmQMhzW4KyTJXHIs45L0C9M=",
  "darwin-arm64": "h1:dFjGhY6f8DTsY8/rLchUTDRRfjJP4pCrGCwxvHFT2Fg=",
};

const TOOLS = join(ROOT, ".tools");
const OWN = join(TOOLS, "go", "bin", "go");

/** Path of a `go` that is new enough: one of the machine's, or the pinned one, brought if needed. */
export async function findGo(options: { readonly ownOnly: boolean }): Promise<string> {
  const there = await goHere(options);
  if (there !== undefined) return there;
  await bringToolchain();
  return OWN;
}

/** Path of a `go` that is here and new enough; `undefined`: there is none, and none was brought. */
export async function goHere(options: { readonly ownOnly: boolean }): Promise<string | undefined> {
  const candidates = options.ownOnly ? [OWN] : ["go", "/usr/local/go/bin/go", OWN];
  for (const candidate of candidates) {
    const { code, output } = await runCommand(candidate, ["version"], { cwd: "/" });
    const minor = /^go version go1\.(\d+)/.exec(output)?.[1];
    if (code === 0 && Number(minor) >= GO_MINOR_MIN) return candidate;
  }
  return undefined;
}

/** Unpacks the pinned toolchain into .tools/go, after its hash was found right. */
async function bringToolchain(): Promise<void> {
  const platform = `${process.platform}-${process.arch === "x64" ? "amd64" : process.arch}`;
  const sum = SUMS[platform];
  if (sum === undefined) {
    throw new Error(`no pinned Go for ${platform}: put Go 1.${GO_MINOR_MIN} or newer on PATH`);
  }
  const module = `golang.org/toolchain@v0.0.1-${VERSION}.${platform}`;
  console.log(`bringing ${VERSION} for ${platform} (70 MB)`);
  const entries = readZip(await download(module.replace("@", "/@v/")));
  const found = hashOf(entries);
  if (found !== sum) throw new Error(`${module} has the hash ${found}, and ${sum} is pinned`);
  const target = join(TOOLS, "go");
  const staging = `${target}.new`;
  rmSync(staging, { recursive: true, force: true });
  for (const entry of entries) unpackInto(staging, entry, `${module}/`);
  rmSync(target, { recursive: true, force: true });
  renameSync(staging, target);
}

async function download(path: string): Promise<Buffer> {
  const proxy = (process.env.GOPROXY ?? "").split(/[,|]/)[0];
  const base = proxy?.startsWith("http") ? proxy : "https://proxy.golang.org";
  const url = `${base}/${path}.zip`;
  const response = await fetch(url).catch((cause: unknown) => {
    throw new ProxyUnreached(`${url} cannot be reached`, { cause });
  });
  if (!response.ok) throw new Error(`${url} answers ${response.status}`);
  return Buffer.from(await response.arrayBuffer());
}

/** @see https://pkg.go.dev/golang.org/x/mod/sumdb/dirhash#Hash1 */
function hashOf(entries: readonly ZipEntry[]): string {
  const all = createHash("sha256");
  const byName = entries.toSorted((left, right) => (left.name < right.name ? -1 : 1));
  for (const { name, read } of byName) {
    all.update(`${createHash("sha256").update(read()).digest("hex")}  ${name}\n`);
  }
  return `h1:${all.digest("base64")}`;
}

function unpackInto(folder: string, entry: ZipEntry, prefix: string): void {
  if (!entry.name.startsWith(prefix)) throw new Error(`${entry.name} lies outside of ${prefix}`);
  const name = entry.name.slice(prefix.length);
  const path = join(folder, name);
  if (!existsSync(dirname(path))) mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, entry.read());
  // Module archives carry no modes.
  if (/^(bin|pkg\/tool)\//.test(name)) chmodSync(path, 0o755);
}
