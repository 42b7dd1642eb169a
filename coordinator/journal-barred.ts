import type { Write } from "../ports/store.ts";

// Keys whose links count no more from a place of the chain on.
//
// A coordinator that was taken out of the trust bundle may have lent until it heard so. What it wrote counts,
// or the next leader would lend that money again, and it ends where a coordinator in force has written that
// it knows: an entry of the ledger like any other, which every later snapshot repeats.

const PREFIX = "barred/";

/** The barred keys as they are at a place of the chain. */
export class JournalBarred {
  readonly #kids: Set<string>;

  constructor(kids: Iterable<string> = []) {
    this.#kids = new Set(kids);
  }

  get kids(): ReadonlySet<string> {
    return this.#kids;
  }

  has(kid: string): boolean {
    return this.#kids.has(kid);
  }

  /** Takes in what a link that counts changes. */
  change(writes: readonly Write[]): void {
    for (const { key, value } of writes) {
      for (const kid of kidsOf(key)) {
        if (value === undefined) this.#kids.delete(kid);
        else this.#kids.add(kid);
      }
    }
  }

  /** Takes over what a snapshot has: what is not in it is barred no more. */
  replace(keys: Iterable<string>): void {
    this.#kids.clear();
    for (const key of keys) for (const kid of kidsOf(key)) this.#kids.add(kid);
  }
}

/**
 * What the writer of the next link has to say of keys, beside what it writes.
 *
 * @param barred As they are where the link is written.
 * @param former Keys of coordinators that are listed and not in force.
 * @param isInForce Whether a key seals for a coordinator now.
 */
export function barring(
  barred: JournalBarred,
  former: readonly string[],
  isInForce: (kid: string) => boolean,
): readonly Write[] {
  const bars = former
    .filter((kid) => !barred.has(kid))
    .map((kid) => ({ key: PREFIX + kid, value: new Uint8Array([1]) }));
  const lifted = [...barred.kids]
    .filter(isInForce)
    .map((kid) => ({ key: PREFIX + kid, value: undefined }));
  return [...bars, ...lifted];
}

function kidsOf(key: string): readonly string[] {
  return key.startsWith(PREFIX) ? [key.slice(PREFIX.length)] : [];
}
