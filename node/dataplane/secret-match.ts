/**
 * As many first characters of a secret are no sign of it: keys of a provider begin alike, and words end in as many.
 * They pass at once, and text that ends in `s` or `sk` is not held up for a key that begins so.
 */
const BEGUN_CHARS_MIN = 4;

/** What a secret is looked for with. */
export class SecretPattern {
  readonly bytes: Uint8Array;
  /** For each length of what was found: how much of the beginning its end is as well. */
  readonly fallbacks: Uint16Array;

  constructor(secret: string) {
    this.bytes = Buffer.from(secret);
    this.fallbacks = new Uint16Array(this.bytes.length + 1);
    let matched = 0;
    for (let at = 1; at < this.bytes.length; at++) {
      matched = this.after(matched, this.bytes[at] as number);
      this.fallbacks[at + 1] = matched;
    }
  }

  /** How much of the secret a text ends in that ended in so much of it, and goes on with this byte. */
  after(matched: number, byte: number): number {
    const { bytes, fallbacks } = this;
    let length = matched;
    while (length > 0 && bytes[length] !== byte) length = fallbacks[length] as number;
    return bytes[length] === byte ? length + 1 : 0;
  }
}

/**
 * Looks for one secret in a text that comes in pieces, in one step a byte and with no memory of the text.
 *
 * M1. How the text is cut changes nothing.
 */
export class SecretMatch {
  isFound = false;
  readonly #pattern: SecretPattern;
  #matched = 0;

  constructor(pattern: SecretPattern) {
    this.#pattern = pattern;
  }

  push(text: Uint8Array): void {
    const pattern = this.#pattern;
    let matched = this.#matched;
    for (let at = 0; at < text.length; at++) {
      matched = pattern.after(matched, text[at] as number);
      if (matched === pattern.bytes.length) this.isFound = true;
    }
    this.#matched = matched;
  }

  /** So many bytes at the end of the text may be the beginning of the secret. */
  get begunBytes(): number {
    return this.#matched < BEGUN_CHARS_MIN ? 0 : this.#matched;
  }
}
