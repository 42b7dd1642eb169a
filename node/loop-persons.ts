import type { Clock } from "../ports/clock.ts";
import type { ControlLink } from "./loop-links.ts";
import type { Pseudonym } from "./person-messages.ts";

/** Persons whose pseudonyms a loop remembers; who was first heard of longest ago is asked for again. */
const REMEMBERED_MAX = 4_096;

/** What stands for persons in this loop's records. A request costs one look-up; the first one of a person waits. */
export class LoopPersons {
  readonly #link: Pick<ControlLink, "pseudonymOf">;
  readonly #clock: Clock;
  readonly #known = new Map<string, Pseudonym>();

  constructor(link: Pick<ControlLink, "pseudonymOf">, clock: Clock) {
    this.#link = link;
    this.#clock = clock;
  }

  known(person: string): string | undefined {
    const pseudonym = this.#known.get(person);
    if (pseudonym === undefined) return undefined;
    return this.#clock.nowMs() < pseudonym.untilMs ? pseudonym.text : undefined;
  }

  /** Never rejects; undefined: there is nothing to be had. */
  async find(person: string): Promise<string | undefined> {
    const pseudonym = await this.#link.pseudonymOf(person);
    if (pseudonym === undefined) return undefined;
    this.#known.delete(person);
    for (const first of this.#known.keys()) {
      if (this.#known.size < REMEMBERED_MAX) break;
      this.#known.delete(first);
    }
    this.#known.set(person, pseudonym);
    return pseudonym.text;
  }

  /** After keys were erased: records that are made from now on stand under others. */
  forget(): void {
    this.#known.clear();
  }
}
