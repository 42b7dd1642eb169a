/**
 * The key that a connection named last, and its hash: a client sends the same one with each request, and
 * hashing it again costs more than the rest of reading it. It is kept for as long as the connection is
 * open and no longer, and says nothing of whether the key is good: that is asked each time.
 */
export class KeyMemo {
  #key = "";
  #hash = "";

  hashOf(key: string, hash: (key: string) => string): string {
    if (key !== this.#key) {
      this.#hash = hash(key);
      this.#key = key;
    }
    return this.#hash;
  }
}
