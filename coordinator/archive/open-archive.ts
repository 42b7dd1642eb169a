import type { Store } from "../../ports/store.ts";
import type { CoordinatorPorts } from "../app.ts";
import type { Tell } from "../events.ts";
import { keepEvidence } from "../evidence.ts";
import type { CoordinatorMetrics } from "../metrics.ts";
import { knownLogs } from "../witness.ts";
import type { ArchiveLink, ArchiveOf } from "./archive-link.ts";
import type { FromOutside } from "./archive-worker.ts";

/** Who hears of what happens to the logs on a coordinator's disk. */
type Hearers = {
  readonly store: Store;
  readonly tell: Tell;
  readonly metrics: CoordinatorMetrics;
};

/** Opens the logs on a coordinator's disk, where it has any. */
export function openArchive(
  open: CoordinatorPorts["openArchive"],
  of: Omit<ArchiveOf, "logs">,
  hearers: Hearers,
): ArchiveLink | undefined {
  const { store, tell } = hearers;
  const logs = knownLogs(store).map(({ origin, vkey }) => ({ origin, vkey }));
  return open?.(
    { ...of, logs },
    {
      onLost: (error) => tell("archive_lost", { error: String(error) }),
      onRetired: (origin, fault) => {
        if (fault === undefined) tell("log_retired", { origin });
        else tell("log_retirement_failed", { origin, detail: fault });
      },
      onOutside: (said) => hearOutside(said, hearers),
    },
  );
}

function hearOutside(said: FromOutside, { store, tell, metrics }: Hearers): void {
  if (said.t === "news") tell(said.event, said.fields);
  else if (said.t === "status") metrics.outside(said.status);
  else {
    const { origin, kind, witness } = said.evidence;
    // Whoever disputes a log was told of already; that both checkpoints are the log's own is more.
    const event = kind === "fork" ? "log_forked" : "log_went_back";
    const told = (): void => (kind === "disputed" ? undefined : tell(event, { origin, witness }));
    keepEvidence(store, said.evidence, told).catch((error) => {
      tell("store_failed", { what: "evidence", error: String(error) });
    });
  }
}
