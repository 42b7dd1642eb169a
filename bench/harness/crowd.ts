import { crowdAgent } from "../fixtures/policy.ts";
import { AgentLister } from "./agent-lister.ts";
import { type CoresUsed, coresUsed } from "./cores-used.ts";
import { FirstRequests } from "./first-requests.ts";
import type { MeshUnderTest } from "./mesh-under-test.ts";
import { pause } from "./operator.ts";

/** A list begins so often, or when the one before has ended. */
const LIST_EVERY_MS = 500;
/** Agents that a list has; the others only make it longer than is asked for. */
const LISTED = 10_000;
const WARM_UP_AT_ONCE = 16;

/**
 * Many agents beside the one that is measured: somebody lists ten thousand of them over and over, and
 * so many a second make their first request, until the signal says stop.
 */
export class Crowd {
  readonly #mesh: MeshUnderTest;
  readonly #perSecond: number;
  readonly requests: FirstRequests;
  #used: CoresUsed | undefined;
  #tookMs = 0;
  #lists = 0;
  #listed = 0;

  constructor(mesh: MeshUnderTest, keys: readonly string[], perSecond: number) {
    this.#mesh = mesh;
    this.#perSecond = perSecond;
    this.requests = new FirstRequests(mesh.altrace.ready.gateway, keys);
  }

  /**
   * Gives each agent of the crowd a key.
   *
   * @param of.warmUp Further agents, which make their first request before this resolves: what a
   *   node that has just started costs is mostly its engine's compiling.
   */
  static async gather(
    mesh: MeshUnderTest,
    of: { readonly size: number; readonly perSecond: number; readonly warmUp: number },
  ): Promise<Crowd> {
    const { size, perSecond, warmUp } = of;
    const agents = shuffled(size + warmUp).map((no) => `crowd/${crowdAgent(no)}`);
    const keys = await mesh.operator.issueKeys(agents);
    const warming = new FirstRequests(mesh.altrace.ready.gateway, keys.slice(size));
    await warming.atOnce(warmUp, WARM_UP_AT_ONCE);
    warming.close();
    return new Crowd(mesh, keys.slice(0, size), perSecond);
  }

  /** Resolves when all that asked have their answer. */
  async run(signal: AbortSignal): Promise<void> {
    const used = coresUsed(this.#mesh.altrace.pid);
    const startedMs = performance.now();
    const noteEnd = () => {
      this.#used ??= used();
      this.#tookMs ||= performance.now() - startedMs;
    };
    signal.addEventListener("abort", noteEnd, { once: true });
    const asking = this.requests.atPace(this.#perSecond, signal).then(noteEnd);
    await Promise.all([this.#listAll(signal), asking]);
    this.requests.close();
  }

  /** Processors at work while the agents made their first requests. */
  get cores(): CoresUsed {
    return this.#used ?? { node: 0, threads: new Map(), generator: 0, others: 0 };
  }

  /** Agents that had their first answer, a second: over all of the time, and in `count` parts of it. */
  perSecond(count: number): { readonly all: number; readonly parts: readonly number[] } {
    const [all = 0] = this.requests.perSecondIn(1, this.#tookMs);
    return { all, parts: this.requests.perSecondIn(count, this.#tookMs) };
  }

  describe(): string {
    const { asked, again, answers } = this.requests;
    return (
      `${asked} activations in ${(this.#tookMs / 1_000).toFixed(1)} s ` +
      `(${JSON.stringify(answers)}), ${again} of agents that had been let go; ListAgents over ${this.#listed} agents, ${this.#lists} times`
    );
  }

  async #listAll(signal: AbortSignal): Promise<void> {
    using lister = new AgentLister(this.#mesh.altrace.ready.grpc.node);
    while (!signal.aborted) {
      const nextMs = Date.now() + LIST_EVERY_MS;
      const listed = await lister.list(LISTED, signal);
      this.#lists += 1;
      this.#listed = Math.max(this.#listed, listed);
      await pause(Math.max(0, nextMs - Date.now()));
    }
  }
}

/** 0 to `count` - 1 in an order of chance: whoever is listed first is not who asks first. */
function shuffled(count: number): readonly number[] {
  const all = Array.from({ length: count }, (_, no) => no);
  for (let last = count - 1; last > 0; last -= 1) {
    const other = Math.floor(Math.random() * (last + 1));
    [all[last], all[other]] = [all[other] as number, all[last] as number];
  }
  return all;
}
