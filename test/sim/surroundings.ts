import type { Write } from "../../ports/store.ts";
import type { CommitFate } from "../../ports/twin-store.ts";
import type { Draw } from "./draw.ts";
import type { Weather } from "./sim-bus.ts";
import type { SimTime } from "./sim-clock.ts";
import type { SimEvent } from "./sim-event.ts";
import type { SimKeys } from "./sim-keys.ts";
import type { LogFaults } from "./sim-log.ts";
import type { SimProvider } from "./sim-provider.ts";
import type { SimServer } from "./sim-server.ts";

/** What every machine of a world shares. */
export type Surroundings = {
  readonly time: SimTime;
  readonly server: SimServer;
  readonly provider: SimProvider;
  readonly keys: SimKeys;
  readonly weather: Weather;
  readonly logFaults: LogFaults;
  /** What becomes of the commits of one disk, as the world's phase has it. */
  readonly commitFate: (draw: Draw) => (writes: readonly Write[]) => CommitFate;
  readonly onAppended: (subject: string, bytes: Uint8Array) => void;
  readonly tell: (event: SimEvent) => void;
};
