import type { TopUpAnswer } from "../thread-messages.ts";

/** Whoever waits for the answer to a top-up, by the number of the question. */
export class Replies {
  readonly #waiting = new Map<number, (answer: TopUpAnswer) => void>();
  #lastId = 0;

  expect(): { readonly id: number; readonly answer: Promise<TopUpAnswer> } {
    const { promise: answer, resolve } = Promise.withResolvers<TopUpAnswer>();
    const id = ++this.#lastId;
    this.#waiting.set(id, resolve);
    return { id, answer };
  }

  /** Once for each question; a second answer reaches nobody. */
  tell(id: number, answer: TopUpAnswer): void {
    this.#waiting.get(id)?.(answer);
    this.#waiting.delete(id);
  }
}
