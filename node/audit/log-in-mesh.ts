import { CHECKPOINT_PATH } from "../../audit/tiles.ts";
import type { Clock } from "../../ports/clock.ts";
import type { AskArchive } from "./log-shipper.ts";
import { type Archives, LogShipping, type ShippedLog } from "./log-shipping.ts";
import { type AskWitness, WitnessLink } from "./witness-link.ts";

export type LogInMeshOptions = {
  readonly ask: AskWitness & AskArchive;
  readonly archives: () => Promise<Archives>;
  readonly bootId: string;
  readonly node: string;
  readonly newId: () => string;
  readonly clock: Clock;
  /** In the order of their epochs: the last one grows. */
  readonly logs: readonly ShippedLog[];
  /** Time between two rounds of shipping, ms. */
  readonly shipEveryMs: number;
  /** A checkpoint of one of the logs was cosigned. */
  readonly onCosigned: (text: string, line: string) => void;
  /** Witnesses outside of the mesh have cosigned a checkpoint of the log with this place in `logs`. */
  readonly onWitnessed: (log: number, note: string) => void;
  /** The witness has seen what the log that grows does not have: its last checkpoint of it. */
  readonly onDisowned: (cosigned: string) => void;
  readonly onFault: (message: string) => void;
};

/** What a node's logs are to the rest of the mesh: cosigned there, and copied there. */
export class LogInMesh {
  readonly #links: readonly WitnessLink[];
  readonly #shipping: LogShipping;
  readonly #newest: number;

  constructor(options: LogInMeshOptions) {
    const { logs, shipEveryMs, onFault } = options;
    this.#newest = logs.length - 1;
    this.#shipping = new LogShipping({
      ...options,
      everyMs: shipEveryMs,
      onRefused: (why) => onFault(`the log is not shipped to ${why}`),
    });
    this.#links = logs.map((log, no) => this.#link(options, log, no));
    for (const [no, log] of logs.entries()) {
      const last = log.read(CHECKPOINT_PATH);
      if (last !== undefined) this.#links[no]?.signed(Buffer.from(last).toString("utf8"));
    }
  }

  /** A checkpoint of the log that grows was signed. */
  signed(checkpoint: string): void {
    this.#links[this.#newest]?.signed(checkpoint);
  }

  /** Entries of the log with this place in `logs` that most coordinators have on their disks. */
  shippedSize(log: number): number {
    return this.#shipping.shippedSize(log);
  }

  stop(): void {
    for (const link of this.#links) link.stop();
    this.#shipping.stop();
  }

  #link(options: LogInMeshOptions, log: ShippedLog, no: number): WitnessLink {
    const { onFault } = options;
    const grows = no === this.#newest;
    return new WitnessLink({
      ...options,
      ...log,
      onCosigned: (text, line, note) => {
        this.#shipping.cosigned(no, note);
        options.onCosigned(text, line);
      },
      onWitnessed: (note) => options.onWitnessed(no, note),
      // An earlier log was left because of that, or is a copy of an older state: it is not shipped.
      onDisowned: grows ? options.onDisowned : () => undefined,
      onRefused: (why) => onFault(`the witness refuses: ${why}`),
    });
  }
}
