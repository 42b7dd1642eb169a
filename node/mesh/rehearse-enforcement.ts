import { REHEARSALS, rehearsalPin, rehearsedKills } from "../../mesh/rehearse-kill.ts";
import { type Bus, BusFault } from "../../ports/bus.ts";
import type { Signer } from "../../ports/keys.ts";
import { uuidV7 } from "../../ports/random.ts";
import { twinStore } from "../../ports/twin-store.ts";
import { FAST_PATTERN } from "../../proto/subjects.ts";
import { createTable } from "../table/table.ts";
import { Replica, type ReplicaPorts } from "./replica.ts";

const NODE = "rehearsal";
/** Without the cells for proofs that a table has otherwise: of 4 MiB each time, outside of the heap, no collector hears in time. */
const TABLE = { rows: 1, loops: 1, scopes: 1, writers: 1, proofs: 64 } as const;
/** Nobody is told anything: these are never reached before the rehearsal is over. */
const TIMING = { deadManMs: 60_000, digestMs: 60_000, heartbeatMs: 60_000 } as const;

export type RehearsalPorts = Pick<ReplicaPorts, "clock" | "random" | "stall" | "nextTurn"> & {
  readonly verify: ReplicaPorts["keys"]["verify"];
};

/**
 * Puts kills of nobody in force, from the bus's callback to what would be said of it, in a replica that has a mesh,
 * a table, a store and a bus of its own and is then forgotten. A kill is rare: the first one after a start would else
 * run as code that nothing has compiled, and take several times as long.
 *
 * @returns How many kills were in force.
 */
export async function rehearseEnforcement(
  ports: RehearsalPorts,
  signer: Signer,
  count = REHEARSALS,
): Promise<number> {
  const { clock, random, verify, nextTurn } = ports;
  let enforced = 0;
  const bus = new UnheardBus();
  const replica = new Replica(
    {
      node: NODE,
      bootId: uuidV7(clock.nowMs(), random),
      pin: rehearsalPin(signer),
      enrolToken: undefined,
      nkey: "",
      timing: TIMING,
    },
    createTable(TABLE),
    {
      ...ports,
      bus,
      store: twinStore(),
      keys: {
        load: () => signer,
        loadOrCreate: () => signer,
        verify,
      },
    },
    {
      ...UNTOLD,
      cut: (_kill, done) => done(0, clock.monoNs()),
      onEnforced: () => {
        enforced += 1;
      },
    },
  );
  await replica.start();
  for (const { subject, bytes } of rehearsedKills(signer, count)) {
    bus.hear(subject, bytes);
    await nextTurn();
  }
  await replica.stop();
  return enforced;
}

const ignore = (): void => undefined;
const UNTOLD = {
  onPolicy: ignore,
  onCommand: ignore,
  onLimit: ignore,
  onDistrust: ignore,
  onCertificate: ignore,
  onRedaction: ignore,
  onRevived: ignore,
  onKills: ignore,
  onAlarm: ignore,
};

/** Says nothing to anybody, and is heard when it is told what to say. */
class UnheardBus implements Bus {
  #listener: Parameters<Bus["listen"]>[1] = ignore;

  hear(subject: string, bytes: Uint8Array): void {
    this.#listener({ subject, bytes });
  }

  listen(pattern: string, fn: Parameters<Bus["listen"]>[1]): () => void {
    if (pattern === FAST_PATTERN) this.#listener = fn;
    return ignore;
  }

  readonly send = ignore;
  readonly onUp = ignore;
  readonly isUp = (): boolean => false;
  readonly close = async (): Promise<void> => undefined;
  readonly ask = unconnected;
  readonly append = unconnected;
  readonly read = unconnected;
  readonly last = unconnected;
}

async function unconnected(): Promise<never> {
  throw new BusFault("closed", "a rehearsal has no connection");
}
