import { join } from "node:path";
import { LogFiles } from "../../audit/log-files.ts";
import { retiredOf } from "../../audit/retired-log.ts";
import { parseVkey, type VerifierKey } from "../../audit/signed-note.ts";
import type { Disk } from "../../ports/disk.ts";
import { errorMessage } from "../../ports/error-message.ts";
import type { FromOutside, WitnessedLog } from "../archive/archive-worker.ts";
import type { OutsidePolicy } from "./outside-file.ts";
import { OutsideWitnesses, type OutsideWitnessesOptions } from "./outside-witnesses.ts";

export type BroughtLogsOptions = Pick<
  OutsideWitnessesOptions,
  "outside" | "everyMs" | "call" | "clock"
> & {
  readonly disk: Disk;
  /** Folder of all copies; undefined: none are kept. */
  readonly copies: string | undefined;
  /** Where the coordinator's own log lies, and a folder above it whose name is on the disk. */
  readonly own: { readonly home: string; readonly dir: string };
  /** This coordinator as a witness. */
  readonly coordinator: VerifierKey;
  readonly post: (message: FromOutside | WitnessedLog) => void;
};

type NamedLog = {
  readonly key: VerifierKey;
  readonly isOwn: boolean;
  readonly at: { readonly home: string; readonly dir: string };
};

/** The logs on a coordinator's disk, handed to what brings them to witnesses as they grow. Never throws. */
export class BroughtLogs {
  readonly #options: BroughtLogsOptions;
  /** By origin, those that are not brought among them. */
  readonly #named = new Map<string, NamedLog>();
  #witnesses: OutsideWitnesses;

  constructor(options: BroughtLogsOptions) {
    this.#options = options;
    this.#witnesses = this.#openWitnesses(options.outside);
  }

  /** Goes on with other witnesses, as a start would: what was cosigned so far stays beside the logs. */
  replace(outside: OutsidePolicy): void {
    this.#witnesses.stop();
    this.#witnesses = this.#openWitnesses(outside);
    for (const log of this.#named.values()) this.#take(log);
    this.#witnesses.start();
  }

  /** A log of a node that may lie here, from earlier runs. */
  known({ origin, vkey }: { readonly origin: string; readonly vkey: string }): void {
    const { copies } = this.#options;
    const key = parseVkey(vkey);
    if (copies === undefined || !key.ok) return;
    const at = { home: copies, dir: join(copies, origin) };
    this.#take({ key: key.value, isOwn: false, at });
  }

  /** A copy has a newer checkpoint on the disk. */
  readonly published = (of: {
    readonly origin: string;
    readonly vkey: string;
    readonly note: string;
  }): void => {
    if (!this.#witnesses.has(of.origin)) this.known(of);
    this.#witnesses.offer(of.origin, of.note);
  };

  /** The coordinator's own log has. */
  readonly own = (key: VerifierKey, note: string): void => {
    const { home, dir } = this.#options.own;
    const at = { home, dir: join(dir, key.name) };
    if (!this.#witnesses.has(key.name)) this.#take({ key, isOwn: true, at });
    this.#witnesses.offer(key.name, note);
  };

  /** The records of a copy are gone, so there is nothing left to prove of it. */
  retired(origin: string): void {
    this.#named.delete(origin);
    this.#witnesses.forget(origin);
  }

  start(): void {
    this.#witnesses.start();
  }

  stop(): void {
    this.#witnesses.stop();
  }

  #openWitnesses(outside: OutsidePolicy): OutsideWitnesses {
    const { post } = this.#options;
    return new OutsideWitnesses({
      ...this.#options,
      outside,
      onNews: (news) => post({ t: "news", ...news }),
      onStatus: (status) => post({ t: "status", status }),
      onEvidence: (evidence) => post({ t: "evidence", evidence }),
    });
  }

  #take(log: NamedLog): void {
    const { key, isOwn, at } = log;
    const { disk, coordinator, post } = this.#options;
    this.#named.set(key.name, log);
    try {
      const files = new LogFiles(disk, at);
      // It has ended, and what proofs are made of is not here any more.
      if (retiredOf(files) !== undefined) {
        this.retired(key.name);
        return;
      }
      const onWitnessed = (size: number, note: string): void =>
        post({ t: "witnessed", origin: key.name, size, note });
      this.#witnesses.take({ key, isOwn, files, coordinator, onWitnessed });
    } catch (error) {
      const fields = { witness: "", origin: key.name, detail: errorMessage(error) };
      post({ t: "news", event: "outside_witness_fault", fields });
    }
  }
}
