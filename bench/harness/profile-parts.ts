import { sourceOf } from "./built-lines.ts";

/** A CPU profile as V8 writes it. @see https://chromedevtools.github.io/devtools-protocol/tot/Profiler/#type-Profile */
export type Profile = {
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

/**
 * The profiler's own work, which no node that is not profiled does, and waiting: V8 samples by the clock, and
 * a thread that waits for a disk is in its call all the while.
 */
const NOT_WORK = new Set([
  "(idle)",
  "(root)",
  "node:inspector",
  "fdatasync",
  "fsync",
  "holdThread",
]);

/** Share of a thread's work that each part of the program had by itself, not below it; together 1, or none. */
export function sharesOf(profile: Profile): ReadonlyMap<string, number> {
  const parts = partsOf(profile);
  const all = [...parts.values()].reduce((sum, micros) => sum + micros, 0);
  return new Map([...parts].map(([part, micros]) => [part, micros / all]));
}

/** Time that a thread was seen in each part; microseconds. */
function partsOf({ nodes, samples, timeDeltas }: Profile): ReadonlyMap<string, number> {
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
  // It waits in Atomics.wait(), which has no name of its own here.
  if (functionName === "holdThread") return functionName;
  if (url === "") return functionName === "" ? "(native)" : functionName;
  if (url.startsWith("node:")) return url.split("/").slice(0, 2).join("/");
  if (url.startsWith("wasm:")) return "wasm";
  const packaged = url.split("/node_modules/")[1];
  if (packaged !== undefined) return packaged.split("/")[0] as string;
  const own = url.slice(ROOT.length).split("/");
  return own.slice(0, Math.min(2, own.length - 1)).join("/");
}

const ROOT = new URL("../../", import.meta.url).href;
