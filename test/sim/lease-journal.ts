import type { Write } from "../../ports/store.ts";
import type { JournalLease, SimEvent } from "./sim-event.ts";

const LEASE_PREFIX = "ledger/lease/";

/** The ledger's leases as they are on its disk, whatever its memory says. */
export class LeaseJournal {
  readonly leases = new Map<string, JournalLease>();
  readonly #tell: (event: SimEvent) => void;
  #epoch = 0;

  constructor(tell: (event: SimEvent) => void) {
    this.#tell = tell;
  }

  /** A new run of the coordinator may write from now on. */
  beginEpoch(epoch: number): void {
    this.#epoch = epoch;
  }

  /** Called with each commit, once it is on the disk. */
  persisted(writes: readonly Write[]): void {
    for (const { key, value } of writes) {
      if (!key.startsWith(LEASE_PREFIX)) continue;
      const id = key.slice(LEASE_PREFIX.length);
      const before = this.leases.get(id);
      if (value === undefined) {
        this.leases.delete(id);
        continue;
      }
      const after = { ...JSON.parse(Buffer.from(value).toString()), id } as JournalLease;
      this.leases.set(id, after);
      this.#tell({ t: "lease", before, after, epoch: this.#epoch });
    }
  }
}
