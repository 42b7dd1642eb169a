import type { ClientLeg } from "./client-leg.ts";

const NO_BYTES = new Uint8Array(0);

/** Relays an answer that says no more than that it was taken. */
export class EmptyRelay {
  readonly #leg: ClientLeg;
  readonly #status: number;
  readonly #headers: readonly string[];

  /** @param headers Flat; without a type, for there is no body to have one. */
  constructor(leg: ClientLeg, status: number, headers: readonly string[]) {
    this.#leg = leg;
    this.#status = status;
    this.#headers = headers;
  }

  data(chunk: Uint8Array): boolean {
    if (chunk.length === 0) return true;
    this.#leg.object("response_unscannable");
    return false;
  }

  end(): void {
    if (this.#leg.objectToKill()) return;
    this.#leg.answer(this.#status, this.#headers, NO_BYTES);
  }
}
