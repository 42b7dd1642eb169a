import type { Missing } from "../decision/facts.ts";
import type { NamedKey } from "../named-key.ts";

/**
 * What was read in the credential that a connection sent last: a client sends the same one with each request,
 * and reading and hashing it again costs more than all else of its head. It is kept for as long as the
 * connection is open and no longer, and says nothing of whether the key is good: that is asked each time.
 */
export class KeyMemo {
  #credential = "";
  #named: NamedKey | Missing | undefined;

  /** @param read Says the same of the same credential. */
  of(credential: string, read: (credential: string) => NamedKey | Missing): NamedKey | Missing {
    if (this.#named === undefined || credential !== this.#credential) {
      this.#named = read(credential);
      // As a part of its head's text it would keep all of that for as long as the connection is open.
      this.#credential = Buffer.from(credential).toString();
    }
    return this.#named;
  }
}
