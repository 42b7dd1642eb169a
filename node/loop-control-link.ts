import type { Cancel, Clock } from "../ports/clock.ts";
import { AlikeEvents } from "./alike-events.ts";
import type { InspectionGrant } from "./dataplane/tls/host-certificates.ts";
import type { Cost, Standing } from "./decision/facts.ts";
import { MoreRate } from "./more-rate.ts";
import type { HoldInfo } from "./open-holds.ts";
import type { Pseudonym } from "./person-messages.ts";
import type { NoShare, RateNeed } from "./rate-need.ts";
import { isNews, SettledItems } from "./settled-items.ts";
import type { StrangerNews } from "./stranger-sightings.ts";
import type {
  AgentEvent,
  AgentOpen,
  ConnectionInfo,
  ControlToLoop,
  LoopToControl,
  SettledItem,
  TopUpAnswer,
} from "./thread-messages.ts";
import type { ClosablePort } from "./thread-port.ts";

/** Top-ups that are asked for and not yet answered; more are `unavailable` at once. */
export const TOP_UPS_PENDING_MAX = 4_096;
/** Persons that are asked for and not yet answered; more are nobody at once. */
export const PERSONS_PENDING_MAX = 1_024;
/** How long a request waits for what stands for its person: a key is made and synced in milliseconds. */
const PERSON_WAIT_MS = 1_000;
/** Settled requests or events in one message; what is more goes at once. */
export const ITEMS_PER_MESSAGE_MAX = 512;
/**
 * How long what the control thread need not know at once waits for more of its kind, ms. Each message
 * wakes that thread and is a turn of each account's actor, which costs more than most requests' own decision;
 * whoever looks at agents or watches decisions does not see the difference.
 */
export const GATHER_MS = 50;
/**
 * Events a second that no score depends on and that are told singly: an agent that asks all the time must not
 * occupy the control thread, and allowed requests must not hide a refusal. Whoever watches allows reads no more.
 */
export const SHOWN_PER_SECOND_MAX = { allowed: 100, refused: 1_000 } as const;

export type TopUpRequest = {
  readonly row: number;
  readonly generation: number;
  readonly agentId: string;
  readonly contractId: string | undefined;
  readonly need: Cost;
  /** What would do with the lowest output limit that policy lets this node set; else absent. */
  readonly floor?: Cost;
  readonly overrunMicros: bigint;
};

/** What the control thread asks of a loop. */
export type ControlHandlers = {
  policy(version: number, bundle: Uint8Array): void;
  standing(agentId: string, standing: Standing): void;
  inspection(grant: InspectionGrant): void;
  /** What stood for persons does so no more. */
  personsErased?(): void;
  /** @param accepts Only what is open now is waited for, and nothing is cut. */
  drain(deadlineMs: number, accepts: boolean): void;
  /** Resolves with why not, where what is captured cannot be taken in. */
  capture?(): Promise<string | undefined>;
  connections(): readonly ConnectionInfo[];
  holds(): readonly HoldInfo[];
  openByAgent(): readonly AgentOpen[];
  metrics(): unknown | Promise<unknown>;
};

export type ControlLinkOptions = {
  readonly port: ClosablePort;
  readonly clock: Clock;
  /** How long a request may wait for money; the policy's bound, read at each ask. */
  readonly reserveWaitMaxMs: () => number;
  readonly handlers: ControlHandlers;
};

/** A data loop's link to the control thread. */
export type ControlLink = {
  /** Never rejects; `unavailable` when no answer came in time or too many are waited for. */
  topUp(request: TopUpRequest): Promise<TopUpAnswer>;
  /**
   * Has a share of the agent's rate brought into its row. Never rejects.
   *
   * @returns Undefined: it is there.
   */
  needRate(row: RateNeed): Promise<NoShare | undefined>;
  /**
   * Has more of the agent's rate brought into its row, whose bucket has run dry. Never rejects.
   *
   * @returns Whether it has more now. Undefined: it was asked for just now, and there was no more.
   */
  moreRate(row: RateNeed): Promise<boolean> | undefined;
  /** What stands for a person in records. Never rejects; undefined: there is nothing to be had. */
  pseudonymOf(person: string): Promise<Pseudonym | undefined>;
  /** Sent with others within `GATHER_MS`, and before a top-up that is asked for. Never dropped. */
  settled(item: SettledItem): void;
  /**
   * The largest bill over hold that the mesh has seen of a model, as far as is known here, thousandths;
   * 0 where none was more than its price entry allows for. Never falls.
   */
  distrustMilli(model: string): number;
  /**
   * One that a score depends on is sent with the others of this turn; one that none does, within
   * `GATHER_MS`. Of too many, equal ones become one with their count.
   */
  event(event: AgentEvent): void;
  listening(gatewayPort: number, forwardPort: number): void;
  policyReady(version: number): void;
  policyFailed(version: number, message: string): void;
  /** How many exchanges are open; says nothing when that is what was said last. */
  open(count: number): void;
  /** Who tried to get out and is no agent, since it was told last. */
  strangers(news: StrangerNews): void;
  drained(open: number): void;
  /** Sends what is gathered, now: before the loop ends. */
  flush(): void;
  close(): void;
};

type PendingTopUp = {
  readonly resolve: (answer: TopUpAnswer) => void;
  readonly cancelTimer: Cancel;
};

/** See `ControlLink`. */
export class ControlThreadLink implements ControlLink {
  readonly #options: ControlLinkOptions;
  readonly #topUps = new Map<number, PendingTopUp>();
  readonly #rates = new Map<number, (none: NoShare | undefined) => void>();
  readonly #more: MoreRate;
  readonly #persons = new Map<number, (pseudonym: Pseudonym | undefined) => void>();
  #openTold = 0;
  /** By model; models are those of policy, so there are never many. */
  readonly #distrust = new Map<string, { readonly distrustMilli: number; readonly era: number }>();
  #lastId = 0;
  readonly #settledItems = new SettledItems();
  #events: AgentEvent[] = [];
  /** It is planned for the end of this turn. */
  #flushPlanned = false;
  #cancelGathering: Cancel | undefined;
  readonly #alike = new AlikeEvents();
  #shownSinceNs = 0n;
  #shown = { allowed: 0, refused: 0 };

  constructor(options: ControlLinkOptions) {
    this.#options = options;
    this.#more = new MoreRate(options.clock, (need) => this.needRate(need));
    options.port.on("message", (message: ControlToLoop) => void this.#onMessage(message));
  }

  topUp(request: TopUpRequest): Promise<TopUpAnswer> {
    if (this.#topUps.size >= TOP_UPS_PENDING_MAX) return Promise.resolve(UNAVAILABLE);
    const id = ++this.#lastId;
    // What was spent is told first: the actor then lends from what is really left.
    this.flush();
    return new Promise((resolve) => {
      const cancelTimer = this.#whenWaited(() => this.#onToppedUp(id, UNAVAILABLE));
      this.#topUps.set(id, { resolve, cancelTimer });
      this.#send({ t: "top_up", id, ...request });
    });
  }

  needRate(need: RateNeed): Promise<NoShare | undefined> {
    if (this.#rates.size >= TOP_UPS_PENDING_MAX) return Promise.resolve("unanswered");
    const id = ++this.#lastId;
    return new Promise((resolve) => {
      const cancel = this.#whenWaited(() => this.#onRate(id, "unanswered"));
      this.#rates.set(id, (none) => {
        cancel();
        resolve(none);
      });
      this.#send({ t: "need_rate", id, ...need });
    });
  }

  moreRate(need: RateNeed): Promise<boolean> | undefined {
    return this.#more.ask(need);
  }

  pseudonymOf(person: string): Promise<Pseudonym | undefined> {
    if (this.#persons.size >= PERSONS_PENDING_MAX) return Promise.resolve(undefined);
    const id = ++this.#lastId;
    return new Promise((resolve) => {
      const none = (): void => this.#onPseudonym(id, undefined);
      const cancel = this.#options.clock.after(PERSON_WAIT_MS, none);
      this.#persons.set(id, (pseudonym) => {
        cancel();
        resolve(pseudonym);
      });
      this.#send({ t: "person", id, person });
    });
  }

  distrustMilli(model: string): number {
    return this.#distrust.get(model)?.distrustMilli ?? 0;
  }

  settled(item: SettledItem): void {
    if (item.distrustMilli !== undefined) this.#onBilled(item.model, item.distrustMilli);
    this.#settledItems.add(item);
    this.#planFlush(this.#settledItems.count, isNews(item));
  }

  event(event: AgentEvent): void {
    if (event.cause === undefined && !this.#mayShow(event)) {
      this.#alike.add(event);
      this.#planFlush(this.#alike.count, false);
      return;
    }
    this.#events.push(event);
    this.#planFlush(this.#events.length, event.cause !== undefined);
  }

  listening(gatewayPort: number, forwardPort: number): void {
    this.#send({ t: "listening", gatewayPort, forwardPort });
  }

  policyReady(version: number): void {
    this.#send({ t: "policy_ready", version });
  }

  policyFailed(version: number, message: string): void {
    this.#send({ t: "policy_failed", version, message });
  }

  open(count: number): void {
    if (count === this.#openTold) return;
    this.#openTold = count;
    this.#send({ t: "open", count });
  }

  strangers(news: StrangerNews): void {
    this.#send({ t: "strangers", ...news });
  }

  drained(open: number): void {
    this.flush();
    this.#send({ t: "drained", open });
  }

  flush(): void {
    this.#cancelGathering?.();
    this.#cancelGathering = undefined;
    if (this.#settledItems.count > 0) {
      this.#send({ t: "settled", items: this.#settledItems.take() });
    }
    if (this.#events.length + this.#alike.count > 0) {
      this.#send({ t: "events", items: [...this.#events, ...this.#alike.take()] });
      this.#events = [];
    }
  }

  close(): void {
    this.flush();
    for (const id of [...this.#topUps.keys()]) this.#onToppedUp(id, UNAVAILABLE);
    for (const id of [...this.#rates.keys()]) this.#onRate(id, "unanswered");
    for (const id of [...this.#persons.keys()]) this.#onPseudonym(id, undefined);
    this.#options.port.close();
  }

  async #onMessage(message: ControlToLoop): Promise<void> {
    const { handlers } = this.#options;
    switch (message.t) {
      case "policy":
        return handlers.policy(message.version, message.bundle);
      case "topped_up":
        return this.#onToppedUp(message.id, answerOf(message));
      case "rate_lent":
        return this.#onRate(message.id, message.none);
      case "pseudonym":
        return this.#onPseudonym(message.id, message.pseudonym);
      case "persons_erased":
        return handlers.personsErased?.();
      case "distrust":
        return this.#onDistrust(message);
      case "inspection":
        return handlers.inspection(message);
      case "standing":
        return handlers.standing(message.agentId, message.standing);
      case "capture":
        return this.#send({ t: "captured", fault: await handlers.capture?.() });
      case "drain":
      case "outlive":
        return handlers.drain(message.deadlineMs, message.t === "outlive");
      case "list_holds":
        return this.#send({ t: "holds", id: message.id, items: handlers.holds() });
      case "list_connections":
        return this.#send({ t: "connections", id: message.id, items: handlers.connections() });
      case "count_open":
        return this.#send({ t: "open_by_agent", id: message.id, items: handlers.openByAgent() });
      case "collect_metrics":
        return this.#send({ t: "metrics", id: message.id, json: await handlers.metrics() });
    }
  }

  /**
   * Calls `fn` once a request has waited for as long as it may. A thread that had no processor meanwhile hears of
   * the time before it hears of the answer, so what has come by then is read first.
   */
  #whenWaited(fn: () => void): Cancel {
    const { clock, reserveWaitMaxMs } = this.#options;
    let planned: NodeJS.Immediate | undefined;
    const cancel = clock.after(reserveWaitMaxMs(), () => {
      planned = setImmediate(fn);
    });
    return () => {
      cancel();
      clearImmediate(planned);
    };
  }

  #onRate(id: number, none: NoShare | undefined): void {
    const resolve = this.#rates.get(id);
    this.#rates.delete(id);
    resolve?.(none);
  }

  #onPseudonym(id: number, pseudonym: Pseudonym | undefined): void {
    const resolve = this.#persons.get(id);
    this.#persons.delete(id);
    resolve?.(pseudonym);
  }

  /** A bill of this loop counts before anybody else has heard of it. */
  #onBilled(model: string, distrustMilli: number): void {
    this.#onDistrust({ model, distrustMilli, era: this.#distrust.get(model)?.era ?? 0 });
  }

  /** Within an era the most that was heard counts, whatever came first. */
  #onDistrust({
    model,
    distrustMilli,
    era,
  }: Pick<Extract<ControlToLoop, { t: "distrust" }>, "model" | "distrustMilli" | "era">): void {
    const known = this.#distrust.get(model);
    const isNews = known === undefined || era > known.era;
    if (isNews) this.#distrust.set(model, { distrustMilli, era });
    else if (era === known.era && distrustMilli > known.distrustMilli) {
      this.#distrust.set(model, { distrustMilli, era });
    }
  }

  #onToppedUp(id: number, answer: TopUpAnswer): void {
    const pending = this.#topUps.get(id);
    // An answer after the wait ended: what it lent is in the table for the next request.
    if (pending === undefined) return;
    this.#topUps.delete(id);
    pending.cancelTimer();
    pending.resolve(answer);
  }

  #mayShow({ allowed }: AgentEvent): boolean {
    const nowNs = this.#options.clock.monoNs();
    if (nowNs - this.#shownSinceNs >= 1_000_000_000n) {
      this.#shownSinceNs = nowNs;
      this.#shown = { allowed: 0, refused: 0 };
    }
    const kind = allowed ? "allowed" : "refused";
    return ++this.#shown[kind] <= SHOWN_PER_SECOND_MAX[kind];
  }

  #planFlush(gathered: number, isUrgent: boolean): void {
    if (gathered >= ITEMS_PER_MESSAGE_MAX) {
      this.flush();
    } else if (!isUrgent) {
      this.#cancelGathering ??= this.#options.clock.after(GATHER_MS, () => this.flush());
    } else if (!this.#flushPlanned) {
      this.#flushPlanned = true;
      setImmediate(() => {
        this.#flushPlanned = false;
        this.flush();
      });
    }
  }

  #send(message: LoopToControl): void {
    this.#options.port.postMessage(message);
  }
}

const UNAVAILABLE: TopUpAnswer = { outcome: "unavailable" };

function answerOf({ outcome, left, refusal }: TopUpAnswer): TopUpAnswer {
  return {
    outcome,
    ...(left !== undefined && { left }),
    ...(refusal !== undefined && { refusal }),
  };
}
