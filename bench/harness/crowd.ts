import { crowdAgent } from "../fixtures/policy.ts";
import { AgentLister } from "./agent-lister.ts";
import { type CoresUsed, coresUsed } from "./cores-used.ts";
import { FirstRequests } from "./first-requests.ts";
import type { MeshUnderTest } from "./mesh-under-test.ts";
import { pause } from "./operator.ts";

/** A list of all begins so often, or when the one before has ended. */
const LIST_EVERY_MS = 500;
const WARM_UP_AT_ONCE = 16;
const ACTIVATIONS_PER_SECOND = 1_000;

/**
 * Many agents beside the one that is measured: somebody lists them over and over, and each of them
 * makes its first request, a thousand a second, until there are no new ones left.
 */
export class Crowd {
  readonly #mesh: MeshUnderTest;
  readonly #size: number;
  readonly requests: FirstRequests;
  #used: CoresUsed | undefined;
  #lists = 0;
  #listed = 0;

  constructor(mesh: MeshUnderTest, keys: readonly string[]) {
    this.#mesh = mesh;
    this.#size = keys.length;
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
    of: { readonly size: number; readonly warmUp?: number },
  ): Promise<Crowd> {
    const { size, warmUp = 0 } = of;
    const agents = Array.from({ length: size + warmUp }, (_, no) => `crowd/${crowdAgent(no)}`);
    const keys = await mesh.operator.issueKeys(agents);
    const warming = new FirstRequests(mesh.altrace.ready.gateway, keys.slice(size));
    await warming.atOnce(warmUp, WARM_UP_AT_ONCE);
    warming.close();
    return new Crowd(mesh, keys.slice(0, size));
  }

  async run(signal: AbortSignal): Promise<void> {
    const used = coresUsed(this.#mesh.altrace.pid);
    const asking = this.requests
      .atPace(this.#size, ACTIVATIONS_PER_SECOND, signal)
      .then(() => (this.#used = used()));
    await Promise.all([this.#listAll(signal), asking]);
    this.requests.close();
  }

  /** Processors at work while the agents made their first requests. */
  get cores(): CoresUsed {
    return this.#used ?? { node: 0, threads: new Map(), generator: 0, others: 0 };
  }

  describe(): string {
    const { asked, perSecond, answers } = this.requests;
    return (
      `${asked} agents activated at ${Math.round(perSecond)}/s (${JSON.stringify(answers)}); ` +
      `ListAgents over ${this.#listed} agents, ${this.#lists} times`
    );
  }

  async #listAll(signal: AbortSignal): Promise<void> {
    using lister = new AgentLister(this.#mesh.altrace.ready.grpc.node);
    while (!signal.aborted) {
      const nextMs = Date.now() + LIST_EVERY_MS;
      const listed = await lister.list(signal);
      this.#lists += 1;
      this.#listed = Math.max(this.#listed, listed);
      await pause(Math.max(0, nextMs - Date.now()));
    }
  }
}
