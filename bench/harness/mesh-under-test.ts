import { mkdtempSync, rmSync } from "node:fs";
import { setPriority, tmpdir } from "node:os";
import { join } from "node:path";
import { benchPolicy } from "../fixtures/policy.ts";
import { startUpstream, type Upstream } from "../fixtures/upstream.ts";
import { Operator, pause } from "./operator.ts";
import { type ProbeLog, readProbeLog } from "./probe-log.ts";
import { type Altrace, startAltrace } from "./start-altrace.ts";

export const TARGET = "bench/target";
export const NEIGHBOUR = "bench/neighbour";

/**
 * The generator and the upstream would be on other machines. Here they share processors with the node,
 * so they yield to it: what it waits for must be its own doing.
 */
const GENERATOR_NICENESS = 10;
/** Longer than the probes keep what they have seen to themselves. */
const PROBE_SETTLE_MS = 400;

/** `altrace up` with a policy, keys and an upstream of the benches' own. */
export type MeshUnderTest = AsyncDisposable & {
  readonly altrace: Altrace;
  readonly upstream: Upstream;
  readonly operator: Operator;
  /** Virtual keys by agent. */
  readonly keys: { readonly target: string; readonly neighbour: string };
  /** What the probes saw, when this was started with them. */
  probed(): Promise<ProbeLog>;
};

export async function startMesh(options: {
  /** Agents that only make the mesh large. */
  readonly crowd?: number;
  readonly isProbed?: boolean;
  /** Where tunnels may go on this machine, `host:port`. */
  readonly tunnelsTo?: string;
  /** Where `profiler.ts` writes what it sampled of each thread; absent: it is not there. */
  readonly profileDir?: string;
  /** How long a request waits for money at most; see `benchPolicy`. */
  readonly reserveWaitMs?: number;
  /** How often a held stream says something; default: as the upstream thinks right. */
  readonly heldEveryMs?: number;
  /** Further settings of the node. */
  readonly env?: Readonly<Record<string, string>>;
}): Promise<MeshUnderTest> {
  await using stack = new AsyncDisposableStack();
  const upstream = stack.use(await startUpstream(options));
  const folder = mkdtempSync(join(tmpdir(), "altrace-probe-"));
  stack.defer(() => rmSync(folder, { recursive: true, force: true }));
  const { isProbed = false, profileDir } = options;
  const preload = (file: string) => ["--import", new URL(file, import.meta.url).href];
  const altrace = stack.use(
    await startAltrace({
      isOfSources: isProbed,
      nodeArgs: [
        ...(isProbed ? preload("./probe.ts") : []),
        ...(profileDir === undefined ? [] : preload("./profiler.ts")),
      ],
      env: {
        ...options.env,
        ...(isProbed && { BENCH_PROBE_DIR: folder }),
        ...(options.tunnelsTo !== undefined && { ALTRACE_TUNNEL_RANGES: "127.0.0.0/8,::1/128" }),
        ...(profileDir !== undefined && { BENCH_PROFILE_DIR: profileDir }),
      },
    }),
  );
  setPriority(GENERATOR_NICENESS);
  const operator = stack.use(new Operator(altrace.ready));
  const { crowd = 0, tunnelsTo, reserveWaitMs } = options;
  const policy = benchPolicy({
    upstream: upstream.url,
    crowd,
    ...(tunnelsTo !== undefined && { tunnelsTo }),
    ...(reserveWaitMs !== undefined && { reserveWaitMs }),
  });
  await operator.applyPolicy(policy);
  const keys = {
    target: await operator.issueKey(TARGET),
    neighbour: await operator.issueKey(NEIGHBOUR),
  };
  const owned = stack.move();
  return {
    altrace,
    upstream,
    operator,
    keys,
    probed: async () => {
      await pause(PROBE_SETTLE_MS);
      return readProbeLog(folder);
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
