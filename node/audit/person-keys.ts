/**
 * The keys under which persons stand in the log, apart from it: whoever has only the log has pseudonyms.
 *
 * P1. A key is on the disk before the first record that is made under it: a pseudonym that nobody can
 *     resolve would be erased without anybody's order.
 * P2. An erased key is overwritten where it stood, the person's name with it, and that is on the disk
 *     before anybody is told. What the disk itself keeps of overwritten sectors is its own.
 * P3. An erasure is told to the log until it is certain that the log has it.
 * P4. Nothing of the log changes: its leaves, hashes and proofs are what they were.
 */

import { join } from "node:path";
import { AuditFault } from "../../audit/audit-fault.ts";
import { PERSON_KEY_BYTES, pseudonymOf } from "../../audit/pseudonym.ts";
import { type Disk, openIfThere, readInto, readWhole } from "../../ports/disk.ts";
import type { Random } from "../../ports/random.ts";
import {
  decodeSlot,
  type ErasedPerson,
  encodeSlot,
  type KeptPerson,
  type PersonSlot,
  SLOT_BYTES,
} from "./person-slot.ts";

/** Below a node's home, in none of the folders of the log. */
export const PERSONS_FOLDER = "persons";
const FILE = "keys";

export type PersonKeysOptions = {
  readonly disk: Disk;
  /** The node's own folder. */
  readonly home: string;
  readonly random: Random;
  /** A person stands under a new pseudonym after this, ms. */
  readonly periodMs: number;
  /** Keys of periods that ended longer ago are erased, ms; undefined: none is. */
  readonly keepMs: number | undefined;
  /** Places of the file: keys, and what is left of erased ones. */
  readonly slotsMax: number;
  /** What stands for a person in orders. */
  readonly tagOf: (person: string) => string;
};

/** Who has keys erased, and why, as the log will say. */
export type ErasedBy = { readonly by: string; readonly reason: string; readonly nowMs: number };

export class PersonKeys {
  readonly #options: PersonKeysOptions;
  readonly #fd: number;
  readonly #slots: (PersonSlot | undefined)[] = [];
  /** Where the key is that records are made under now, by person. */
  readonly #current = new Map<string, number>();
  readonly #kept = new Map<string, Set<number>>();
  /** Persons of whom a key is kept, by what stands for them in orders. */
  readonly #byTag = new Map<string, string>();
  #damaged = 0;

  /** @throws AuditFault, or what the disk reports: the keys cannot be used. */
  constructor(options: PersonKeysOptions) {
    const { disk, home } = options;
    this.#options = options;
    const folder = join(home, PERSONS_FOLDER);
    const path = join(folder, FILE);
    let fd = openIfThere(disk, path);
    if (fd === undefined) {
      disk.makeFolder(folder);
      fd = disk.create(path);
      disk.syncData(fd);
      disk.syncFolder(folder);
      disk.syncFolder(home);
    }
    this.#fd = fd;
    this.#load();
  }

  /** Places that held something else than what was written there, when the file was opened. */
  get damaged(): number {
    return this.#damaged;
  }

  /**
   * What stands for a person in records that are made now.
   *
   * @returns `full`: there is no place for another key.
   * @throws What the disk reports. There is no key then.
   */
  pseudonymFor(person: string, nowMs: number): KeptPerson | "full" {
    const current = this.#slots[this.#current.get(person) ?? -1];
    // A clock that was set back does not bring an earlier key into use again.
    if (current?.state === "kept" && nowMs < current.untilMs) return current;
    const at = this.#placeForOne();
    if (at === undefined) return "full";
    const { random, periodMs } = this.#options;
    const key = random.bytes(PERSON_KEY_BYTES);
    // All periods begin at multiples of their length, so that nobody is told apart by when theirs does.
    const untilMs = (Math.floor(nowMs / periodMs) + 1) * periodMs;
    const pseudonym = pseudonymOf(key, person);
    const slot = { state: "kept", person, key, pseudonym, madeMs: nowMs, untilMs } as const;
    try {
      this.#put(at, slot);
      this.#sync();
    } catch (fault) {
      // Nobody has used it, and whoever has this person erased must not miss it.
      this.#clear(at);
      throw fault;
    }
    this.#learn(at, slot);
    return slot;
  }

  /**
   * Erases every key, made by an instant, of the person whom an order means.
   *
   * @returns What stood for the person under them.
   * @throws What the disk reports: some may be erased; the same again erases the rest.
   */
  erase(tag: string, madeByMs: number, by: ErasedBy): readonly ErasedPerson[] {
    const at = [...(this.#kept.get(this.#byTag.get(tag) ?? "") ?? [])].filter(
      (no) => (this.#slots[no] as PersonSlot).madeMs <= madeByMs,
    );
    return this.#eraseAt(at, by);
  }

  /** Erases what has been kept for long enough. */
  eraseOld(nowMs: number): readonly ErasedPerson[] {
    const { keepMs } = this.#options;
    if (keepMs === undefined) return [];
    const old = this.#slots.flatMap((slot, no) =>
      slot?.state === "kept" && slot.untilMs + keepMs <= nowMs ? [no] : [],
    );
    return this.#eraseAt(old, { by: "age", reason: "key_expired", nowMs });
  }

  /** Erasures of which the log may have no record yet, P3. */
  untold(): readonly ErasedPerson[] {
    return this.#slots.filter((slot) => slot?.state === "erased" && !slot.isTold) as ErasedPerson[];
  }

  /** The log has records of these erasures, on its disk. */
  told(pseudonyms: readonly string[]): void {
    const told = new Set(pseudonyms);
    for (const [at, slot] of this.#slots.entries()) {
      if (slot?.state !== "erased" || slot.isTold || !told.has(slot.pseudonym)) continue;
      this.#put(at, { ...slot, isTold: true });
    }
    if (told.size > 0) this.#sync();
  }

  close(): void {
    this.#options.disk.close(this.#fd);
  }

  #load(): void {
    const { disk, slotsMax } = this.#options;
    const count = Math.ceil(disk.size(this.#fd) / SLOT_BYTES);
    if (count > slotsMax) {
      throw new AuditFault(`${count} persons' keys are there, and ${slotsMax} are allowed`);
    }
    const all = Buffer.alloc(count * SLOT_BYTES);
    readInto(disk, this.#fd, { into: all, at: 0 });
    for (let at = 0; at < count; at++) {
      const slot = decodeSlot(all.subarray(at * SLOT_BYTES, (at + 1) * SLOT_BYTES));
      if (slot === "damaged") {
        // P1 and P2: it was never used, or is being erased. Either way nothing of it may stay.
        disk.write(this.#fd, EMPTY, at * SLOT_BYTES);
        this.#damaged++;
      }
      this.#slots[at] = undefined;
      if (typeof slot === "string") continue;
      this.#slots[at] = slot;
      if (slot.state === "kept") this.#learn(at, slot);
      // P2: the run before may have ended between writing this and bringing it to the disk.
      else if (!slot.isTold) this.#write(at, slot);
    }
    if (this.#damaged > 0 || this.untold().length > 0) this.#sync();
  }

  /** As far as the disk lets it; else the next start finds a key that was never used. */
  #clear(at: number): void {
    this.#slots[at] = undefined;
    try {
      this.#options.disk.write(this.#fd, EMPTY, at * SLOT_BYTES);
    } catch {
      // What failed before this is thrown.
    }
  }

  #learn(at: number, slot: KeptPerson): void {
    const kept = this.#kept.get(slot.person) ?? new Set<number>();
    if (kept.size === 0) this.#byTag.set(this.#options.tagOf(slot.person), slot.person);
    this.#kept.set(slot.person, kept.add(at));
    const current = this.#slots[this.#current.get(slot.person) ?? -1];
    const isNewest = current?.state !== "kept" || current.untilMs <= slot.untilMs;
    if (isNewest) this.#current.set(slot.person, at);
  }

  /** A free place; else the one of the oldest erasure that the log has, which says all of it as well. */
  #placeForOne(): number | undefined {
    const free = this.#slots.indexOf(undefined);
    if (free >= 0) return free;
    if (this.#slots.length < this.#options.slotsMax) return this.#slots.length;
    let oldest: { readonly at: number; readonly erasedMs: number } | undefined;
    for (const [at, slot] of this.#slots.entries()) {
      if (slot?.state !== "erased" || !slot.isTold) continue;
      if (oldest === undefined || slot.erasedMs < oldest.erasedMs) {
        oldest = { at, erasedMs: slot.erasedMs };
      }
    }
    return oldest?.at;
  }

  /** P2: until the disk has all of it, it is not erased here either, and the same again writes it again. */
  #eraseAt(places: readonly number[], { by, reason, nowMs }: ErasedBy): readonly ErasedPerson[] {
    if (places.length === 0) return [];
    for (const at of places) {
      const { person } = this.#slots[at] as KeptPerson;
      // What may be gone from the disk stands for nobody from here on.
      if (this.#current.get(person) === at) this.#current.delete(person);
    }
    const erased = places.map((at) => {
      const { pseudonym, madeMs } = this.#slots[at] as KeptPerson;
      const slot = { pseudonym, madeMs, erasedMs: nowMs, by, reason, isTold: false };
      return this.#write(at, { state: "erased", ...slot });
    });
    this.#sync();
    for (const [no, at] of places.entries()) {
      const { person } = this.#slots[at] as KeptPerson;
      this.#slots[at] = erased[no];
      this.#kept.get(person)?.delete(at);
      if (this.#kept.get(person)?.size !== 0) continue;
      this.#kept.delete(person);
      this.#byTag.delete(this.#options.tagOf(person));
    }
    return erased;
  }

  #put(at: number, slot: PersonSlot): void {
    this.#slots[at] = this.#write(at, slot);
  }

  #write<S extends PersonSlot>(at: number, slot: S): S {
    const { disk } = this.#options;
    const written = disk.write(this.#fd, encodeSlot(slot), at * SLOT_BYTES);
    if (written !== SLOT_BYTES) throw new AuditFault(`${written} bytes of a person's key`);
    return slot;
  }

  #sync(): void {
    this.#options.disk.syncData(this.#fd);
  }
}

const EMPTY = Buffer.alloc(SLOT_BYTES);

/** Whether a home has keys of persons, or has had any. */
export function hasPersons(disk: Disk, home: string): boolean {
  const fd = openIfThere(disk, join(home, PERSONS_FOLDER, FILE));
  if (fd !== undefined) disk.close(fd);
  return fd !== undefined;
}

/** Reads the keys of a home while its node may be running. */
export function readPersons(disk: Disk, home: string): readonly PersonSlot[] {
  const bytes = readWhole(disk, join(home, PERSONS_FOLDER, FILE)) ?? Buffer.alloc(0);
  const slots: PersonSlot[] = [];
  for (let at = 0; at + SLOT_BYTES <= bytes.length; at += SLOT_BYTES) {
    const slot = decodeSlot(bytes.subarray(at, at + SLOT_BYTES));
    if (typeof slot !== "string") slots.push(slot);
  }
  return slots;
}
