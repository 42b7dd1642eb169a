import { createHash } from "node:crypto";
import { setImmediate as nextTurn } from "node:timers/promises";
import { cryptoRandom } from "../../adapters/crypto-random.ts";
import { ed25519SignerOf } from "../../adapters/ed25519.ts";
import { connectNatsBus, type NatsBus } from "../../adapters/nats-bus.ts";
import { systemClock } from "../../adapters/system-clock.ts";
import { kidOf } from "../../mesh/kid-of.ts";
import type { MeshRecord } from "../../mesh/record.ts";
import type { TrustPin } from "../../mesh/trust.ts";
import type { HostStall } from "../../node/mesh/host-stall.ts";
import type { MeshAlarm } from "../../node/mesh/mesh-alarms.ts";
import { Replica } from "../../node/mesh/replica.ts";
import { createTable } from "../../node/table/table.ts";
import type { Keys, Signer } from "../../ports/keys.ts";
import { uuidV7 } from "../../ports/random.ts";
import type { Store } from "../../ports/store.ts";

const TIMING = { deadManMs: 12_000, digestMs: 1_000, heartbeatMs: 2_000 } as const;
/** Cells for the handful of scopes that a bench kills; no agent is ever active. */
const TABLE = { rows: 8, loops: 1, scopes: 32, writers: 1 } as const;

export type LightNodeOptions = {
  readonly no: number;
  readonly url: string;
  readonly pin: TrustPin;
  readonly store: Store;
  readonly verify: Keys["verify"];
  readonly stall: HostStall;
  readonly onAlarm?: (name: MeshAlarm, detail: string) => void;
};

export const lightNodeId = (no: number): string => `light-${no}`;

/** The same key for the same number, so that a bench can enrol a node before it runs; it signs as a node's own key does. */
export function lightNodeSigner(no: number): Signer {
  const signer = ed25519SignerOf(createHash("sha256").update(`light node ${no}`).digest());
  return { kid: kidOf(signer.publicKey), ...signer };
}

/**
 * The mesh's part of a node and nothing else: the product's own replica with a bus, a store and a table
 * of its own, in a thread that it shares with others. There are no data loops, so a cut is over at once.
 */
export class LightNode {
  readonly replica: Replica;
  /** When each command came and was in force here, monotonic ns, by command. */
  readonly enforced = new Map<string, { readonly receivedNs: number; readonly atNs: number }>();

  private constructor(options: LightNodeOptions, bus: NatsBus) {
    const { no, pin, store, verify, stall } = options;
    const signer = lightNodeSigner(no);
    this.replica = new Replica(
      {
        node: lightNodeId(no),
        bootId: uuidV7(systemClock.nowMs(), cryptoRandom),
        pin,
        enrolToken: undefined,
        nkey: "",
        timing: TIMING,
      },
      createTable(TABLE),
      {
        bus,
        store,
        keys: {
          load: () => signer,
          loadOrCreate: () => signer,
          verify,
        },
        clock: systemClock,
        random: cryptoRandom,
        stall,
        nextTurn,
      },
      {
        cut: (_kill, done) => queueMicrotask(() => done(0, systemClock.monoNs())),
        onEnforced: ({ cmdId }: MeshRecord, times) => {
          const [receivedNs, atNs] = [Number(times.receivedNs), Number(times.enforcedNs)];
          if (!this.enforced.has(cmdId)) this.enforced.set(cmdId, { receivedNs, atNs });
        },
        onPolicy: () => undefined,
        onCommand: () => undefined,
        onLimit: () => undefined,
        onDistrust: () => undefined,
        onCertificate: () => undefined,
        // It records nobody.
        onRedaction: ({ scope, hashHex }) =>
          this.replica.redacted({ scope, record: hashHex, count: 0 }),
        onRevived: () => undefined,
        onKills: () => undefined,
        onAlarm: (name, detail) => options.onAlarm?.(name, detail),
      },
    );
  }

  /** Resolves once what its store holds is in force; it opens by itself later. */
  static async start(options: LightNodeOptions): Promise<LightNode> {
    const name = lightNodeId(options.no);
    const bus = await connectNatsBus({ url: options.url, name, inboxPrefix: `_INBOX.${name}` });
    const node = new LightNode(options, bus);
    await node.replica.start();
    return node;
  }

  get isOpen(): boolean {
    return this.replica.opening.isOpen;
  }
}
