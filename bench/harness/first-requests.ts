import { wishBody } from "../fixtures/upstream.ts";
import { Times } from "./histogram.ts";
import { pause } from "./operator.ts";
import { RawPool } from "./raw-pool.ts";

const CONNECTIONS = 256;
const SLICE_MS = 10;
/** A node gives up an actor that nobody used for 30 s, by its next ticks: who asks later is a newcomer again. */
const LET_GO_MS = 35_000;

/**
 * Agents of a crowd that each make their first request, and another one only when they were let go since:
 * for a node that is the same.
 */
export class FirstRequests {
  /** From the moment at which a request was due, sent then or not, to its whole answer. */
  readonly times = new Times();
  readonly #pool: RawPool;
  readonly #keys: readonly string[];
  readonly #answers: Record<string, number> = {};
  /** When each answer of `atPace` was there, ms after the first was due. */
  readonly #answeredMs: number[] = [];
  /** When each agent asked last, by its number. */
  readonly #askedMs: number[] = [];
  #next = 0;

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

  /** Those of them whose agent had asked before, and was let go. */
  get again(): number {
    return Math.max(0, this.#next - this.#keys.length);
  }

  /** There is nobody who would be a newcomer now. */
  get isOver(): boolean {
    const askedMs = this.#askedMs[this.#next % this.#keys.length];
    return askedMs !== undefined && performance.now() - askedMs < LET_GO_MS;
  }

  /**
   * So many newcomers a second, whether those before have their answers or not, until there are none or the
   * signal says stop; resolves when all have their answer.
   */
  async atPace(perSecond: number, signal: AbortSignal): Promise<void> {
    const asking: Promise<void>[] = [];
    const startedMs = performance.now();
    const dueMs = (sent: number) => startedMs + (sent * 1_000) / perSecond;
    let sent = 0;
    while (!this.isOver && !signal.aborted) {
      for (; !this.isOver && dueMs(sent) <= performance.now(); sent += 1) {
        const answered = this.#askOnce(dueMs(sent));
        asking.push(answered.then(() => void this.#answeredMs.push(performance.now() - startedMs)));
      }
      await pause(SLICE_MS);
    }
    await Promise.all(asking);
  }

  /**
   * Answers a second in each of `count` equal parts of the time for which requests were sent at a pace.
   *
   * @param tookMs That time. What was answered later belongs to no part.
   */
  perSecondIn(count: number, tookMs: number): readonly number[] {
    const partMs = tookMs / count;
    return Array.from({ length: count }, (_, no) => {
      const [fromMs, toMs] = [no * partMs, (no + 1) * partMs];
      const answered = this.#answeredMs.filter((atMs) => atMs >= fromMs && atMs < toMs).length;
      return (answered * 1_000) / partMs;
    });
  }

  /** The next `count` agents, so many at once; resolves when all have their answer. */
  async atOnce(count: number, atOnce: number): Promise<void> {
    const end = Math.min(this.#keys.length, this.#next + count);
    const one = async () => {
      while (this.#next < end) await this.#askOnce(performance.now());
    };
    await Promise.all(Array.from({ length: atOnce }, one));
  }

  close(): void {
    this.#pool.close();
  }

  async #askOnce(dueMs: number): Promise<void> {
    const no = this.#next++;
    this.#askedMs[no % this.#keys.length] = performance.now();
    const key = this.#keys[no % this.#keys.length] as string;
    const { status, reason } = await this.#pool.ask({ key, body: wishBody("answer", `c${no}`) });
    this.times.add(Math.round((performance.now() - dueMs) * 1e6));
    const word = `${status} ${reason ?? "ok"}`;
    this.#answers[word] = (this.#answers[word] ?? 0) + 1;
  }
}
