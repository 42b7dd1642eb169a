import { crowdAgent } from "../fixtures/policy.ts";
import { FirstRequests } from "./first-requests.ts";
import type { MeshUnderTest } from "./mesh-under-test.ts";
import { pause } from "./operator.ts";

const PAGE_SIZE = 1_000;
const LIST_PAUSE_MS = 50;
const ACTIVATIONS_PER_SECOND = 1_000;

/**
 * Many agents beside the one that is measured: somebody lists them over and over, and each of them
 * makes its first request, a thousand a second, until there are no new ones left.
 */
export class Crowd {
  readonly #mesh: MeshUnderTest;
  readonly #size: number;
  readonly requests: FirstRequests;
  #lists = 0;
  #listed = 0;

  constructor(mesh: MeshUnderTest, keys: readonly string[]) {
    this.#mesh = mesh;
    this.#size = keys.length;
    this.requests = new FirstRequests(mesh.altrace.ready.gateway, keys);
  }

  /** Gives each agent of the crowd a key. */
  static async gather(mesh: MeshUnderTest, size: number): Promise<Crowd> {
    const agents = Array.from({ length: size }, (_, no) => `crowd/${crowdAgent(no)}`);
    const keys = await mesh.operator.issueKeys(agents);
    return new Crowd(mesh, keys);
  }

  async run(signal: AbortSignal): Promise<void> {
    const asking = this.requests.atPace(this.#size, ACTIVATIONS_PER_SECOND, signal);
    await Promise.all([this.#listAll(signal), asking]);
    this.requests.close();
  }

  describe(): string {
    const { asked, perSecond, answers } = this.requests;
    return (
      `${asked} agents activated at ${Math.round(perSecond)}/s (${JSON.stringify(answers)}); ` +
      `ListAgents over ${this.#listed} agents, ${this.#lists} times`
    );
  }

  async #listAll(signal: AbortSignal): Promise<void> {
    const { calls } = this.#mesh.operator.node;
    while (!signal.aborted) {
      let listed = 0;
      let pageToken = "";
      do {
        const page = await calls.listAgents({ filter: "", pageToken, pageSize: PAGE_SIZE });
        listed += page.agents.length;
        pageToken = page.nextPageToken;
      } while (pageToken !== "" && !signal.aborted);
      this.#lists += 1;
      this.#listed = Math.max(this.#listed, listed);
      await pause(LIST_PAUSE_MS);
    }
  }
}
