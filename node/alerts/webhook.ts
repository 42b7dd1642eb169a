/**
 * Tells a receiver of the operator's what this node refuses, until the receiver has it.
 *
 * H1. An alert is on the disk, with what it was counted from, before its first attempt. So a restart neither
 *     loses it, nor counts its refusals again, nor gives it another id.
 * H2. It is tried until the receiver says 2xx, later and later; one that nobody took for a day is given up,
 *     and the node's log says so. A receiver may see one twice, under one id.
 * H3. What waits is bounded. When that is full, refusals go on being counted and are told later.
 * H4. Nothing of a request waits for any of this.
 *
 * A crash forgets what was counted in the moment before: the audit log has every refusal.
 */

import type { Clock } from "../../ports/clock.ts";
import { errorMessage } from "../../ports/error-message.ts";
import { backoffMs } from "../../ports/pause.ts";
import { type Random, uuidV7 } from "../../ports/random.ts";
import type { Store, Write } from "../../ports/store.ts";
import type { AgentEvent } from "../thread-messages.ts";
import { AlertBook, type KindState } from "./alert-book.ts";
import type { WebhookTarget } from "./webhook-file.ts";
import { type Alert, webhookRequest } from "./webhook-message.ts";
import type { PostWebhook } from "./webhook-post.ts";

/** Alerts that wait to be delivered. */
export const ALERTS_WAITING_MAX = 1_000;
/** How long an alert is tried, ms. */
export const ALERT_LIFE_MS = 24 * 60 * 60 * 1_000;
/** Wait after a first failure; it doubles up to the longest. ms */
export const RETRY_MS = { min: 1_000, max: 300_000 };
/** Attempts under way at once, while none fails: a receiver's answer takes longer than refusals take to come. */
export const POSTS_MAX = 32;
const TICK_MS = 1_000;
const KIND_PREFIX = "webhook/kind/";
const ALERT_PREFIX = "webhook/alert/";

export type WebhookOptions = {
  readonly target: Pick<WebhookTarget, "secret" | "reasons">;
  readonly from: { readonly mesh: string; readonly node: string };
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly post: PostWebhook;
  /** Told once when deliveries begin to fail, and for each alert that is given up. */
  readonly onProblem: (why: string) => void;
};

export class Webhook {
  readonly #options: WebhookOptions;
  readonly #book: AlertBook;
  /** Alerts on the disk, next one first. */
  readonly #waiting: Alert[];
  /** Those of which an attempt is under way. */
  readonly #posting = new Set<Alert>();
  readonly #stopping = new AbortController();
  /** Something is to be told that is not on the disk yet. */
  #isWanted = false;
  #isSaving = false;
  #failures = 0;
  #notBeforeNs = 0n;

  /** Takes up what an earlier run has left. */
  constructor(options: WebhookOptions) {
    this.#options = options;
    const { store } = options;
    this.#book = new AlertBook(store.list(KIND_PREFIX).map(([, bytes]) => read<KindState>(bytes)));
    this.#waiting = store.list(ALERT_PREFIX).map(([, bytes]) => read<Alert>(bytes));
    this.#tickLater();
  }

  /** A request was decided. Returns at once. */
  decided(event: AgentEvent): void {
    const { reasons } = this.#options.target;
    if (event.allowed || (reasons.size > 0 && !reasons.has(event.reason))) return;
    // What is only counted is kept with the next tick.
    if (this.#book.note(event)) this.#saveSoon();
  }

  /** Ends the attempt that is under way; what waits is on the disk. */
  stop(): void {
    this.#stopping.abort();
  }

  /** Refusals of one turn are one commit. */
  #saveSoon(): void {
    if (this.#isWanted) return;
    this.#isWanted = true;
    queueMicrotask(() => void this.#saveAll());
  }

  async #saveAll(): Promise<void> {
    if (this.#isSaving) return;
    this.#isSaving = true;
    while (this.#isWanted && !this.#stopping.signal.aborted) {
      this.#isWanted = false;
      await this.#save();
    }
    this.#isSaving = false;
  }

  async #save(): Promise<void> {
    const { clock, random, store } = this.#options;
    const nowMs = clock.nowMs();
    const due = this.#book.takeDue(nowMs, ALERTS_WAITING_MAX - this.#waiting.length);
    const alerts = due.map((one) => ({ ...one, id: `msg_${uuidV7(nowMs, random)}` }));
    const kinds = this.#book.takeChanged();
    const writes: Write[] = [
      ...kinds.map(([key, state]) => ({ key: KIND_PREFIX + key, value: state && written(state) })),
      ...alerts.map((alert) => ({ key: ALERT_PREFIX + alert.id, value: written(alert) })),
    ];
    try {
      if (writes.length > 0) await store.commit(writes);
    } catch (error) {
      // Told all the same: an alert too many after a restart is better than none.
      this.#options.onProblem(`alerts could not be kept: ${errorMessage(error)}`);
    }
    this.#waiting.push(...alerts);
    this.#deliver();
  }

  /** One at a time once the receiver failed: its return is tried for, and nothing is heaped on it. */
  #deliver(): void {
    const { clock } = this.#options;
    const atOnce = this.#failures === 0 ? POSTS_MAX : 1;
    if (this.#stopping.signal.aborted || clock.monoNs() < this.#notBeforeNs) return;
    while (this.#posting.size < atOnce) {
      const alert = this.#waiting.find((one) => !this.#posting.has(one));
      if (alert === undefined) return;
      this.#posting.add(alert);
      void this.#attempt(alert).finally(() => {
        this.#posting.delete(alert);
        this.#deliver();
      });
    }
  }

  async #attempt(alert: Alert): Promise<void> {
    const { target, from, clock, post } = this.#options;
    const nowMs = clock.nowMs();
    const failuresBefore = this.#failures;
    try {
      const request = webhookRequest(alert, from, { secret: target.secret, nowMs });
      await post(request, this.#stopping.signal);
      this.#failures = 0;
      // The next one does not wait for the disk to forget this one.
      void this.#remove(alert);
    } catch (error) {
      if (this.#stopping.signal.aborted) return;
      if (this.#failures === 0) this.#options.onProblem(errorMessage(error));
      // Those that were under way together have failed once.
      this.#failures = Math.max(this.#failures, failuresBefore + 1);
      this.#notBeforeNs = clock.monoNs() + BigInt(this.#pauseMs()) * 1_000_000n;
      if (nowMs - alert.lastMs > ALERT_LIFE_MS) await this.#giveUp(alert);
      // One that the receiver does not like must not keep the others from it.
      else this.#waiting.push(...this.#waiting.splice(this.#waiting.indexOf(alert), 1));
    }
  }

  /** Up to a quarter longer than the doubling says, so that nodes do not all come back at once. */
  #pauseMs(): number {
    const pauseMs = backoffMs(this.#failures - 1, RETRY_MS);
    const share = (this.#options.random.bytes(1)[0] as number) / 255;
    return Math.round(pauseMs * (1 + share / 4));
  }

  async #giveUp(alert: Alert): Promise<void> {
    const { agent, reason, count } = alert;
    this.#options.onProblem(`given up after a day: ${count} times ${reason} of ${agent}`);
    await this.#remove(alert);
  }

  async #remove(alert: Alert): Promise<void> {
    const at = this.#waiting.indexOf(alert);
    if (at >= 0) this.#waiting.splice(at, 1);
    try {
      await this.#options.store.commit([{ key: ALERT_PREFIX + alert.id, value: undefined }]);
    } catch (error) {
      // It is posted again after a restart, under its id.
      this.#options.onProblem(`a delivered alert is still kept: ${errorMessage(error)}`);
    }
  }

  #tickLater(): void {
    this.#options.clock.after(TICK_MS, () => {
      if (this.#stopping.signal.aborted) return;
      this.#saveSoon();
      this.#tickLater();
    });
  }
}

function written(value: Alert | KindState): Buffer {
  return Buffer.from(JSON.stringify(value), "utf8");
}

function read<T>(bytes: Uint8Array): T {
  return JSON.parse(Buffer.from(bytes).toString("utf8")) as T;
}
