import { wishBody } from "../fixtures/upstream.ts";
import { pause } from "./operator.ts";
import { RawPool } from "./raw-pool.ts";

const CONNECTIONS = 64;
const SLICE_MS = 10;

/** Agents of a crowd that each make their first request. */
export class FirstRequests {
  readonly #pool: RawPool;
  readonly #keys: readonly string[];
  readonly #answers: Record<string, number> = {};
  #next = 0;
  #ms = 0;

  constructor(origin: string, keys: readonly string[]) {
    this.#pool = new RawPool(origin, { connections: CONNECTIONS });
    this.#keys = keys;
  }

  /** How often each answer was given. */
  get answers(): Readonly<Record<string, number>> {
    return this.#answers;
  }

  get asked(): number {
    return Object.values(this.#answers).reduce((all, count) => all + count, 0);
  }

  /** First requests that were not allowed. */
  get refused(): number {
    return this.asked - (this.#answers["200 ok"] ?? 0);
  }

  /** Agents that made their first request, a second; 0 before all that were asked for have. */
  get perSecond(): number {
    return this.#ms > 0 ? (this.asked / this.#ms) * 1_000 : 0;
  }

  /** The next `count` agents, so many a second; resolves when all have their answer. */
  async atPace(count: number, perSecond: number, signal?: AbortSignal): Promise<void> {
    const asking: Promise<void>[] = [];
    const startedMs = Date.now();
    const end = Math.min(this.#keys.length, this.#next + count);
    const first = this.#next;
    while (this.#next < end && signal?.aborted !== true) {
      const due = first + ((Date.now() - startedMs) / 1_000) * perSecond;
      while (this.#next < Math.min(due, end)) asking.push(this.#askOnce());
      await pause(SLICE_MS);
    }
    await Promise.all(asking);
    this.#ms += Date.now() - startedMs;
  }

  /** The next `count` agents, so many at once; resolves when all have their answer. */
  async atOnce(count: number, atOnce: number): Promise<void> {
    const startedMs = Date.now();
    const end = Math.min(this.#keys.length, this.#next + count);
    const one = async () => {
      while (this.#next < end) await this.#askOnce();
    };
    await Promise.all(Array.from({ length: atOnce }, one));
    this.#ms += Date.now() - startedMs;
  }

  close(): void {
    this.#pool.close();
  }

  async #askOnce(): Promise<void> {
    const no = this.#next++;
    const key = this.#keys[no] as string;
    const { status, reason } = await this.#pool.ask({ key, body: wishBody("answer", `c${no}`) });
    const word = `${status} ${reason ?? "ok"}`;
    this.#answers[word] = (this.#answers[word] ?? 0) + 1;
  }
}
