import { join } from "node:path";
import { machineDisk } from "../../adapters/machine-disk.ts";
import { pseudonymOf } from "../../audit/pseudonym.ts";
import type { SealedRecord } from "../../audit/record.ts";
import { readPersons } from "../../node/audit/person-keys.ts";
import type { PersonSlot } from "../../node/audit/person-slot.ts";
import type { Erasures } from "./erasures.ts";

/** What is shown where a person's key is erased. */
export const REDACTED = "redacted";
/** What is shown where a key does not give the pseudonym that it lies beside: somebody changed one of them. */
export const ALTERED = "altered";

/** What the pseudonyms of records stand for, as far as the keys in this HOME, and the log itself, say. */
export class Persons {
  readonly #slots = new Map<string, PersonSlot>();
  readonly #erasures: Pick<Erasures, "has">;
  readonly #isNamed: boolean;

  /** @param options.isNamed Names are shown where their keys are here, and nothing says that they are erased. */
  constructor(
    home: string,
    options: { readonly isNamed: boolean; readonly erasures: Pick<Erasures, "has"> },
  ) {
    this.#isNamed = options.isNamed;
    this.#erasures = options.erasures;
    for (const slot of readPersons(machineDisk, join(home, "node"))) {
      this.#slots.set(slot.pseudonym, slot);
    }
  }

  /** Undefined: nothing but the pseudonym is to be shown. */
  nameOf(record: SealedRecord): string | undefined {
    const pseudonym = "sp" in record ? record.sp : undefined;
    if (pseudonym === undefined) return undefined;
    const slot = this.#slots.get(pseudonym);
    if (slot?.state === "erased" || this.#erasures.has(pseudonym)) return REDACTED;
    if (slot === undefined) return undefined;
    // Keys lie where the log's own hashes do not reach.
    if (pseudonymOf(slot.key, slot.person) !== pseudonym) return ALTERED;
    return this.#isNamed ? slot.person : undefined;
  }

  /** What stood, or stands, for a person under keys that are here. */
  pseudonymsOf(person: string): ReadonlySet<string> {
    const slots = [...this.#slots.values()];
    return new Set(
      slots.flatMap((slot) =>
        slot.state === "kept" && slot.person === person && !this.#erasures.has(slot.pseudonym)
          ? [slot.pseudonym]
          : [],
      ),
    );
  }
}
