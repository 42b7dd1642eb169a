import type { MeshRecord } from "../../mesh/record.ts";

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
  readonly #idsByHash = new Map<string, Set<string>>();
  readonly #idsByAgent = new Map<string, Set<string>>();

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
    const ids = this.#idsByHash.get(key.sha256) ?? new Set();
    this.#idsByHash.set(key.sha256, ids.add(id));
    const ofAgent = this.#idsByAgent.get(agent) ?? new Set();
    this.#idsByAgent.set(agent, ofAgent.add(id));
  }

  /** The key with that hash. Two records that claim one hash name nobody: doubt is a refusal. */
  find(sha256: string): VirtualKey | "key_unknown" | "key_revoked" {
    const ids = this.#idsByHash.get(sha256);
    if (!ids || ids.size === 0) return "key_unknown";
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
    const entries = [...(this.#idsByAgent.get(agentId) ?? [])].flatMap(
      (id) => this.#byId.get(id) ?? [],
    );
    const own = entries.filter(({ key }) => key.agentId === agentId && !key.contractId);
    const live = own.filter(({ removed }) => !removed).map(({ key }) => key);
    const [first] = live.toSorted((a, b) => (a.keyId < b.keyId ? -1 : 1));
    return first ?? (own.length > 0 ? "key_revoked" : "key_unknown");
  }

  get size(): number {
    return this.#byId.size;
  }

  #forget(key: VirtualKey): void {
    const ids = this.#idsByHash.get(key.sha256);
    ids?.delete(key.keyId);
    if (ids?.size === 0) this.#idsByHash.delete(key.sha256);
    const ofAgent = this.#idsByAgent.get(key.agentId);
    ofAgent?.delete(key.keyId);
    if (ofAgent?.size === 0) this.#idsByAgent.delete(key.agentId);
  }
}
