import { createHash } from "node:crypto";
import { fromBinary } from "@bufbuild/protobuf";
import type { Write } from "../../ports/store.ts";
import { JournalRecordSchema } from "../../proto/gen/altrace/v1/journal_pb.ts";
import { SealedSchema } from "../../proto/gen/altrace/v1/mesh_pb.ts";
import type { JournalLease, SimEvent } from "./sim-event.ts";

const LEASE_PREFIX = "ledger/lease/";

type Entry = { readonly key: string; readonly value?: Uint8Array | undefined };

/**
 * The ledger's leases as they are where it lies, whatever any coordinator's memory says: on the disk
 * of the one coordinator, or in the stream in which several write it.
 */
export class LeaseJournal {
  readonly leases = new Map<string, JournalLease>();
  readonly #tell: (event: SimEvent) => void;
  /** Links that were taken in: a message may come twice. */
  readonly #links = new Set<string>();
  #parts: Entry[] = [];

  constructor(tell: (event: SimEvent) => void) {
    this.#tell = tell;
  }

  /** Called with each commit, once it is on the disk. */
  persisted(writes: readonly Write[]): void {
    for (const write of writes) this.#take(write);
  }

  /** Called with each link, once it is in the stream. */
  linked(bytes: Uint8Array): void {
    const hash = createHash("sha256").update(bytes).digest("hex");
    if (this.#links.has(hash)) return;
    this.#links.add(hash);
    const { body } = fromBinary(JournalRecordSchema, fromBinary(SealedSchema, bytes).payload);
    if (body.case === "changes") for (const entry of body.value.entries) this.#take(entry);
    if (body.case !== "part") return;
    const { no, count, entries } = body.value;
    this.#parts = no === 0 ? [...entries] : [...this.#parts, ...entries];
    if (no === count - 1) this.#replace(this.#parts);
  }

  /** A snapshot is all that there is: what it does not have was never granted to anybody. */
  #replace(entries: readonly Entry[]): void {
    const keys = new Set(entries.map(({ key }) => key));
    for (const id of this.leases.keys()) {
      if (!keys.has(LEASE_PREFIX + id)) this.leases.delete(id);
    }
    for (const entry of entries) this.#take(entry);
  }

  #take({ key, value }: Entry): void {
    if (!key.startsWith(LEASE_PREFIX)) return;
    const id = key.slice(LEASE_PREFIX.length);
    const before = this.leases.get(id);
    if (value === undefined) {
      this.leases.delete(id);
      return;
    }
    const after = { ...JSON.parse(Buffer.from(value).toString()), id } as JournalLease;
    if (before !== undefined && JSON.stringify(before) === JSON.stringify(after)) return;
    this.leases.set(id, after);
    this.#tell({ t: "lease", before, after });
  }
}
