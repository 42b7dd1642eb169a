import type { MeshRecord } from "../../mesh/record.ts";
import { IdsBy } from "./ids-by.ts";

/** A virtual key as its record describes it. */
export type VirtualKey = {
  readonly keyId: string;
  readonly sha256: string;
  readonly agentId: string;
  readonly contractId: string | undefined;
  /** Wall-clock validity, ms since the Unix epoch; 0 means no bound. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
};

type Entry = { readonly key: VirtualKey; readonly removed: boolean };

/** Every virtual key of the mesh by the hash of its secret. */
export class KeyRing {
  readonly #byId = new Map<string, Entry>();
  readonly #idsByHash = new IdsBy();
  readonly #idsByAgent = new IdsBy();

  /** Takes in the current record of a `key/<id>` scope. */
  learn(record: MeshRecord): void {
    if (record.parsed.kind !== "key") return;
    const { id } = record.parsed;
    const before = this.#byId.get(id);
    if (record.op.case === "kill") {
      // The hash is kept so that the answer is "revoked"; after a restart it is "unknown".
      if (before) this.#byId.set(id, { key: before.key, removed: true });
      return;
    }
    if (record.op.case !== "key") return;
    if (before) this.#forget(before.key);
    const { agent, contract, sha256, notBeforeMs, notAfterMs } = record.op.value;
    const key = {
      keyId: id,
      sha256: Buffer.from(sha256).toString("hex"),
      agentId: agent,
      contractId: contract === "" ? undefined : contract,
      notBeforeMs: Number(notBeforeMs),
      notAfterMs: Number(notAfterMs),
    };
    this.#byId.set(id, { key, removed: false });
    this.#idsByHash.add(key.sha256, id);
    this.#idsByAgent.add(agent, id);
  }

  /** The key with that hash. Two records that claim one hash name nobody: doubt is a refusal. */
  find(sha256: string): VirtualKey | "key_unknown" | "key_revoked" {
    const ids = this.#idsByHash.of(sha256);
    if (ids.size === 0) return "key_unknown";
    const entries = [...ids].map((id) => this.#byId.get(id) as Entry);
    const live = entries.filter((entry) => !entry.removed);
    if (live.length === 0) return "key_revoked";
    return live.length === 1 && live[0] ? live[0].key : "key_unknown";
  }

  /**
   * A key of the agent that no contract binds, the first by id: it stands for an agent that is known by
   * its address. Whoever holds only keys of contracts has to show one.
   */
  findOf(agentId: string): VirtualKey | "key_unknown" | "key_revoked" {
    const entries = [...this.#idsByAgent.of(agentId)].flatMap((id) => this.#byId.get(id) ?? []);
    const own = entries.filter(({ key }) => key.agentId === agentId && !key.contractId);
    const live = own.filter(({ removed }) => !removed).map(({ key }) => key);
    const [first] = live.toSorted((a, b) => (a.keyId < b.keyId ? -1 : 1));
    return first ?? (own.length > 0 ? "key_revoked" : "key_unknown");
  }

  get size(): number {
    return this.#byId.size;
  }

  #forget(key: VirtualKey): void {
    this.#idsByHash.remove(key.sha256, key.keyId);
    this.#idsByAgent.remove(key.agentId, key.keyId);
  }
}
