import { readFileSync } from "node:fs";
import { sourceOf } from "./built-lines.ts";

/** A CPU profile as V8 writes it. @see https://chromedevtools.github.io/devtools-protocol/tot/Profiler/#type-Profile */
type Profile = {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: {
      readonly functionName: string;
      readonly url: string;
      readonly lineNumber: number;
    };
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
};

/** The profiler's own work, which no node that is not profiled does, and waiting. */
const NOT_WORK = new Set(["(idle)", "(root)", "node:inspector"]);

/** Time that a thread was seen in each part of the program itself, not below it; microseconds. */
export function partsOf(file: string): ReadonlyMap<string, number> {
  const { nodes, samples, timeDeltas } = JSON.parse(readFileSync(file, "utf8")) as Profile;
  const partOf = new Map(nodes.map(({ id, callFrame }) => [id, nameOf(callFrame)]));
  const parts = new Map<string, number>();
  for (const [i, id] of samples.entries()) {
    const part = partOf.get(id) ?? "(unknown)";
    if (!NOT_WORK.has(part)) parts.set(part, (parts.get(part) ?? 0) + (timeDeltas[i] ?? 0));
  }
  return parts;
}

/** A folder of ours, a package, a module of Node, or by its own name what is written in C++. */
function nameOf(frame: Profile["nodes"][number]["callFrame"]): string {
  const { functionName } = frame;
  const url = sourceOf(frame.url, frame.lineNumber, ROOT);
  // Where the inspector stops a profile it copies it, and that takes long.
  if (url.startsWith("node:inspector") || url.endsWith("harness/profiler.ts")) {
    return "node:inspector";
  }
  if (url === "") return functionName === "" ? "(native)" : functionName;
  if (url.startsWith("node:")) return url.split("/").slice(0, 2).join("/");
  if (url.startsWith("wasm:")) return "wasm";
  const packaged = url.split("/node_modules/")[1];
  if (packaged !== undefined) return packaged.split("/")[0] as string;
  const own = url.slice(ROOT.length).split("/");
  return own.slice(0, Math.min(2, own.length - 1)).join("/");
}

const ROOT = new URL("../../", import.meta.url).href;
