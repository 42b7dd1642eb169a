import { type PreparedThread, prepareThread } from "../ports/prepared-thread.ts";
import type { MeshRehearsal } from "./mesh/mesh-worker.ts";

/** All threads of a node. */
export type PreparedThreads = AsyncDisposable & {
  readonly audit: PreparedThread;
  readonly mesh: PreparedThread;
  readonly loops: readonly PreparedThread[];
  /** Resolves once all of them are loaded. */
  readonly loaded: Promise<unknown>;
};

/**
 * What a thread may have of objects that are new, MiB. The engine would let it grow to 96 MiB in each, also where a thread once had
 * much to read and has little to do since, and it gives nothing back. A third of it is what is collected at once. A loop has the
 * most: what lives as long as a request is not to be taken for what stays.
 */
const YOUNG_MIB_MAX = { audit: 3, mesh: 6, loop: 24 } as const;

/** For a node that takes another one's place: on what its threads try what they do first. */
export type Rehearsal = {
  /** A policy. */
  readonly bundle: Uint8Array;
  /** Left out: the mesh is in this process. */
  readonly mesh?: MeshRehearsal;
};

const PROGRAMS = {
  audit: new URL("./audit/audit-worker.ts", import.meta.url),
  mesh: new URL("./mesh/mesh-worker.ts", import.meta.url),
  loop: new URL("./loop-worker.ts", import.meta.url),
};

/**
 * Starts the threads of a node before there is anything for them to do. Loading a program takes a thread some
 * tenths of a second, and nothing of HOME, of the mesh or of a port: a node that takes another one's place
 * has that behind it when the other one ends.
 *
 * @param of For such a node alone.
 */
export function prepareThreads(loops: number, of?: Rehearsal): PreparedThreads {
  const prepare = (name: string, program: URL, youngMibMax: number, rehearsal?: unknown) =>
    prepareThread({ name, program, youngMibMax, rehearsal });
  const audit = prepare("audit", PROGRAMS.audit, YOUNG_MIB_MAX.audit);
  const mesh = prepare("mesh", PROGRAMS.mesh, YOUNG_MIB_MAX.mesh, of?.mesh);
  const numbers = Array.from({ length: loops }, (_, no) => no);
  const loopThreads = numbers.map((no) =>
    prepare(`loop${no}`, PROGRAMS.loop, YOUNG_MIB_MAX.loop, of?.bundle),
  );
  const all = [audit, mesh, ...loopThreads];
  return {
    audit,
    mesh,
    loops: loopThreads,
    loaded: Promise.all(all.map(({ loaded }) => loaded)),
    [Symbol.asyncDispose]: async () => {
      await Promise.all(all.map((one) => one[Symbol.asyncDispose]()));
    },
  };
}
