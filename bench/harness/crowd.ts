import { Pool } from "undici";
import { crowdAgent } from "../fixtures/policy.ts";
import { wishBody } from "../fixtures/upstream.ts";
import type { MeshUnderTest } from "./mesh-under-test.ts";
import { pause } from "./operator.ts";

const KEYS_AT_ONCE = 32;
const PAGE_SIZE = 1_000;
const LIST_PAUSE_MS = 50;
const ACTIVATIONS_PER_SECOND = 1_000;
const SLICE_MS = 10;

/**
 * Many agents beside the one that is measured: somebody lists them over and over, and each of them
 * makes its first request, a thousand a second, until there are no new ones left.
 */
export class Crowd {
  readonly #mesh: MeshUnderTest;
  readonly #keys: readonly string[];
  readonly #answers: Record<string, number> = {};
  #activatingMs = 0;
  #lists = 0;
  #listed = 0;

  constructor(mesh: MeshUnderTest, keys: readonly string[]) {
    this.#mesh = mesh;
    this.#keys = keys;
  }

  /** Gives each agent of the crowd a key. */
  static async gather(mesh: MeshUnderTest, size: number): Promise<Crowd> {
    const keys: string[] = [];
    for (let from = 0; from < size; from += KEYS_AT_ONCE) {
      const count = Math.min(KEYS_AT_ONCE, size - from);
      const some = Array.from({ length: count }, (_, i) =>
        mesh.operator.issueKey(`crowd/${crowdAgent(from + i)}`),
      );
      keys.push(...(await Promise.all(some)));
    }
    return new Crowd(mesh, keys);
  }

  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#listAll(signal), this.#activate(signal)]);
  }

  /** Agents that made their first request, a second; 0 before all of them have. */
  get perSecond(): number {
    return this.#activatingMs > 0 ? (this.#asked / this.#activatingMs) * 1_000 : 0;
  }

  /** First requests that were not allowed. */
  get refused(): number {
    return this.#asked - (this.#answers["200 ok"] ?? 0);
  }

  get #asked(): number {
    return Object.values(this.#answers).reduce((all, count) => all + count, 0);
  }

  describe(): string {
    return (
      `${this.#asked} agents activated at ${Math.round(this.perSecond)}/s (${JSON.stringify(this.#answers)}); ` +
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

  async #activate(signal: AbortSignal): Promise<void> {
    const pool = new Pool(this.#mesh.altrace.ready.gateway, { connections: 64, pipelining: 1 });
    const asking: Promise<void>[] = [];
    const startedMs = Date.now();
    for (let next = 0; next < this.#keys.length && !signal.aborted; ) {
      const due = ((Date.now() - startedMs) / 1_000) * ACTIVATIONS_PER_SECOND;
      for (; next < Math.min(due, this.#keys.length); next += 1) {
        asking.push(this.#askOnce(pool, next, this.#keys[next] as string));
      }
      await pause(SLICE_MS);
    }
    await Promise.all(asking);
    this.#activatingMs = Date.now() - startedMs;
    await pool.close();
  }

  async #askOnce(pool: Pool, no: number, key: string): Promise<void> {
    const { statusCode, headers, body } = await pool.request({
      path: "/v1/chat/completions",
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${key}` },
      body: wishBody("answer", `c${no}`),
    });
    await body.dump({ limit: 1_000_000 });
    const word = `${statusCode} ${headers["x-altrace-reason"] ?? "ok"}`;
    this.#answers[word] = (this.#answers[word] ?? 0) + 1;
  }
}
