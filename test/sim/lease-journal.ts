import { createHash } from "node:crypto";
import { fromBinary } from "@bufbuild/protobuf";
import type { Write } from "../../ports/store.ts";
import { JournalRecordSchema } from "../../proto/gen/altrace/v1/journal_pb.ts";
import { SealedSchema } from "../../proto/gen/altrace/v1/mesh_pb.ts";
import type { JournalLease, SimEvent } from "./sim-event.ts";

const LEASE_PREFIX = "ledger/lease/";
const PLACE_KEY = "journal/place";

type Entry = { readonly key: string; readonly value?: Uint8Array | undefined };

/** A link as it was stored, and what the leases that it changed were before. */
type Link = {
  readonly n: bigint;
  readonly hash: string;
  readonly bytes: Uint8Array;
  readonly before: (readonly [id: string, lease: JournalLease | undefined])[];
};

/**
 * The ledger's leases as they are where it lies, whatever any coordinator's memory says: on the disk
 * of the one coordinator, or in the stream in which several write it.
 *
 * A link counts from when the stream has it. Where the stream loses it before any coordinator's disk has
 * it, nobody was told of it (J2), and the link that takes its number undoes it; that is told as well.
 */
export class LeaseJournal {
  readonly leases = new Map<string, JournalLease>();
  readonly #tell: (event: SimEvent) => void;
  readonly #isStored: (bytes: Uint8Array) => boolean;
  /** Links that were taken in: a message may come twice. */
  readonly #known = new Set<string>();
  /** Hashes of links up to which a coordinator's disk has, or had, the ledger. */
  readonly #copied = new Set<string>();
  readonly #chain: Link[] = [];
  #parts: Entry[] = [];

  /** @param isStored Whether the stream holds this link now. */
  constructor(tell: (event: SimEvent) => void, isStored: (bytes: Uint8Array) => boolean) {
    this.#tell = tell;
    this.#isStored = isStored;
  }

  /** Called with each commit, once it is on the disk. */
  persisted(writes: readonly Write[]): void {
    for (const write of writes) this.#take(write, []);
  }

  /** Called with each commit of a coordinator whose ledger is a chain, once it is on the disk. */
  copied(writes: readonly Write[]): void {
    const place = writes.find(({ key }) => key === PLACE_KEY)?.value;
    if (place !== undefined) this.#copied.add(JSON.parse(Buffer.from(place).toString()).hash);
  }

  /** Called with each link, once it is in the stream. */
  linked(bytes: Uint8Array): void {
    const hash = createHash("sha256").update(bytes).digest("hex");
    if (this.#known.has(hash)) return;
    this.#known.add(hash);
    const { n, body } = fromBinary(JournalRecordSchema, fromBinary(SealedSchema, bytes).payload);
    this.#undoFrom(n);
    const link: Link = { n, hash, bytes, before: [] };
    this.#chain.push(link);
    if (body.case === "changes")
      for (const entry of body.value.entries) this.#take(entry, link.before);
    if (body.case !== "part") return;
    const { no, count, entries } = body.value;
    this.#parts = no === 0 ? [...entries] : [...this.#parts, ...entries];
    if (no === count - 1) this.#replace(this.#parts, link.before);
  }

  /** Takes back the links that others have taken the numbers of, the newest first. */
  #undoFrom(n: bigint): void {
    for (let last = this.#chain.at(-1); last && last.n >= n; last = this.#chain.at(-1)) {
      this.#chain.pop();
      const ofLeases = [...new Set(last.before.map(([id]) => id))];
      for (const [id, lease] of last.before.toReversed()) {
        if (lease === undefined) this.leases.delete(id);
        else this.leases.set(id, lease);
      }
      const isKept = this.#copied.has(last.hash) || this.#isStored(last.bytes);
      this.#tell({ t: "undone", n: Number(last.n), isKept, leases: ofLeases });
    }
  }

  /** A snapshot is all that there is: what it does not have was never granted to anybody. */
  #replace(entries: readonly Entry[], changed: Link["before"]): void {
    const keys = new Set(entries.map(({ key }) => key));
    for (const [id, lease] of this.leases) {
      if (keys.has(LEASE_PREFIX + id)) continue;
      changed.push([id, lease]);
      this.leases.delete(id);
    }
    for (const entry of entries) this.#take(entry, changed);
  }

  #take({ key, value }: Entry, changed: Link["before"]): void {
    if (!key.startsWith(LEASE_PREFIX)) return;
    const id = key.slice(LEASE_PREFIX.length);
    const before = this.leases.get(id);
    if (value === undefined) {
      changed.push([id, before]);
      this.leases.delete(id);
      return;
    }
    const after = { ...JSON.parse(Buffer.from(value).toString()), id } as JournalLease;
    if (before !== undefined && JSON.stringify(before) === JSON.stringify(after)) return;
    changed.push([id, before]);
    this.leases.set(id, after);
    this.#tell({ t: "lease", before, after });
  }
}
