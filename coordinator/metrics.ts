import { Counter, Gauge, Histogram, Registry as MetricsRegistry } from "prom-client";
import { COORDINATOR_EVENTS, type CoordinatorEvent } from "./events.ts";
import type { OutsideStatus } from "./outside/outside-witnesses.ts";
import { OUTCOMES } from "./outside/witness-lane.ts";
import type { StreamWait } from "./stream-waits.ts";

/** What a scrape reads from the running coordinator. */
export type MetricsSource = {
  readonly nodes: () => { readonly live: number; readonly silent: number; readonly inSync: number };
  readonly quorumAgeMs: () => number;
  readonly lastSeq: () => number;
  readonly records: () => number;
  readonly recordsUnsaved: () => number;
  readonly streams: () => readonly StreamWait[];
  /** Micro-dollars; undefined where another coordinator knows it. */
  readonly exposureUsdMicros: () => Promise<number | undefined>;
  /** Share of what the ledger's journal takes. */
  readonly ledgerFill: () => number;
};

/** Every metric of the coordinator. Labels come from closed sets: no agents, no nodes. */
export class CoordinatorMetrics {
  readonly registry = new MetricsRegistry();
  readonly #events = new Counter({
    name: "altrace_coordinator_events_total",
    help: "What the coordinator says about itself, by name",
    labelNames: ["event"],
    registers: [this.registry],
  });
  readonly #requests = new Counter({
    name: "altrace_coordinator_node_requests_total",
    help: "Requests of nodes by method and outcome: ok, or why not",
    labelNames: ["method", "outcome"],
    registers: [this.registry],
  });
  readonly #acks = new Histogram({
    name: "altrace_kill_ack_seconds",
    help: "From the acceptance of a command to a node's word that it is in force there",
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    registers: [this.registry],
  });

  readonly #outsideAnswers = new Counter({
    name: "altrace_outside_witness_answers_total",
    help: "Answers of witnesses outside of the mesh, by what they were",
    labelNames: ["witness", "outcome"],
    registers: [this.registry],
  });
  readonly #outsideLogs = new Gauge({
    name: "altrace_outside_witness_logs",
    help: "Logs by what a witness outside of the mesh is to them",
    labelNames: ["witness", "standing"],
    registers: [this.registry],
  });
  readonly #outsideWaiting = new Gauge({
    name: "altrace_outside_witness_waiting_seconds",
    help: "For how long the log that waits longest for this witness waits; 0 where none does",
    labelNames: ["witness"],
    registers: [this.registry],
  });
  readonly #unwitnessed = new Gauge({
    name: "altrace_outside_unwitnessed_seconds",
    help: "For how long the log that waits longest for its quorum of witnesses waits; 0 where none does",
    registers: [this.registry],
  });

  constructor() {
    // Present from the start, so that an alert on a rate sees the first one.
    for (const event of Object.keys(COORDINATOR_EVENTS)) this.#events.inc({ event }, 0);
  }

  event(event: CoordinatorEvent): void {
    this.#events.inc({ event });
  }

  request(method: string, outcome: string): void {
    this.#requests.inc({ method, outcome });
  }

  acknowledged(seconds: number): void {
    this.#acks.observe(seconds);
  }

  /** How it stands with witnesses outside of the mesh, now and since it was told last. */
  outside({ witnesses, unwitnessedMs }: OutsideStatus): void {
    this.#unwitnessed.set(unwitnessedMs / 1_000);
    // One that the operator has taken out of the file waits for nothing.
    this.#outsideWaiting.reset();
    this.#outsideLogs.reset();
    for (const { name: witness, logs, waitingMs, answers } of witnesses) {
      this.#outsideWaiting.set({ witness }, waitingMs / 1_000);
      for (const [standing, count] of Object.entries(logs)) {
        this.#outsideLogs.set({ witness, standing }, count);
      }
      // Present from the start, as events are.
      for (const outcome of OUTCOMES) {
        this.#outsideAnswers.inc({ witness, outcome }, answers[outcome] ?? 0);
      }
    }
  }

  /** Adds what is read at each scrape. */
  follow(source: MetricsSource): void {
    this.#gauge("altrace_mesh_nodes", "Enrolled nodes by state", ["state"], (gauge) => {
      const { live, silent, inSync } = source.nodes();
      gauge.set({ state: "live" }, live);
      gauge.set({ state: "silent" }, silent);
      gauge.set({ state: "in_sync" }, inSync);
    });
    const quorum = "Time since the control stream's leader answered; large before the first answer";
    this.#gauge("altrace_mesh_quorum_age_seconds", quorum, [], (gauge) => {
      gauge.set(source.quorumAgeMs() / 1_000);
    });
    this.#gauge("altrace_mesh_last_seq", "Control stream merged up to here", [], (gauge) => {
      gauge.set(source.lastSeq());
    });
    this.#gauge("altrace_mesh_records", "Scopes that have a record", [], (gauge) => {
      gauge.set(source.records());
    });
    const exposure =
      "Most that may be spent beyond all budgets as it stands; NaN where another coordinator leads";
    this.#gauge("altrace_worst_case_exposure_usd", exposure, [], async (gauge) => {
      const micros = await source.exposureUsdMicros();
      gauge.set(micros === undefined ? Number.NaN : micros / 1e6);
    });
    const fill = "Share of what the ledger's journal takes; at 1 nothing is lent any more";
    this.#gauge("altrace_ledger_fill_ratio", fill, [], (gauge) => {
      gauge.set(source.ledgerFill());
    });
    const unsaved = "Records that count here and are not on this coordinator's disk";
    this.#gauge("altrace_mesh_records_unsaved", unsaved, [], (gauge) => {
      gauge.set(source.recordsUnsaved());
    });
    this.#followStreams(source);
  }

  #followStreams({ streams }: MetricsSource): void {
    const uncommitted =
      "Accepted commands that are not in the stream; kills among them are in force";
    this.#gauge("altrace_mesh_commands_uncommitted", uncommitted, ["stream"], (gauge) => {
      for (const wait of streams()) gauge.set({ stream: wait.stream }, wait.uncommitted);
    });
    const age =
      "Age of the oldest accepted command that is not in the stream; 0 where there is none";
    this.#gauge("altrace_mesh_commands_uncommitted_age_seconds", age, ["stream"], (gauge) => {
      for (const wait of streams()) gauge.set({ stream: wait.stream }, wait.uncommittedMs / 1_000);
    });
    const unanswered = "For how long appends to the stream were tried and nothing was stored";
    this.#gauge("altrace_mesh_stream_unanswered_seconds", unanswered, ["stream"], (gauge) => {
      for (const wait of streams()) gauge.set({ stream: wait.stream }, wait.unansweredMs / 1_000);
    });
    const behind = "Servers whose copy of the stream is not current, as its leader says";
    this.#gauge("altrace_mesh_stream_servers_behind", behind, ["stream"], (gauge) => {
      gauge.reset();
      for (const { stream, behind: names, silent } of streams()) {
        // Of what nobody speaks for none is known to be behind, which is not that none is.
        if (silent === "") gauge.set({ stream }, names.length);
      }
    });
  }

  #gauge(
    name: string,
    help: string,
    labelNames: readonly string[],
    collect: (gauge: Gauge) => void | Promise<void>,
  ): void {
    new Gauge({
      name,
      help,
      labelNames: [...labelNames],
      registers: [this.registry],
      collect() {
        return collect(this);
      },
    });
  }
}
