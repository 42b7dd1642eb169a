import {
  JetStreamApiError,
  type JetStreamManager,
  jetstream,
  jetstreamManager,
} from "@nats-io/jetstream";
import {
  type ConnectionOptions,
  connect,
  type Msg,
  type NatsConnection,
  type Subscription,
} from "@nats-io/transport-node";
import { type AppendOptions, type Bus, BusFault, type BusMessage } from "../ports/bus.ts";
import { errorMessage } from "../ports/error-message.ts";
import { COMMITTED_PREFIX, FAST_PREFIX, streamOf } from "../proto/subjects.ts";
import {
  callListener,
  mustBeMsgId,
  mustBePattern,
  mustBePlainSubject,
  mustBeStream,
  mustBeSubject,
  mustFit,
  READ_COUNT_MAX,
  subjectsOf,
} from "./bus-subject.ts";
import { connectionOptions, type NatsBusOptions, reconnectDelayMs } from "./nats-connection.ts";
import { natsFault } from "./nats-fault.ts";

/** How long one step of an append or a read may take. */
export const STREAM_TIMEOUT_MS = 2_000;

/** "Wrong last sequence", in the two spellings that servers have. */
const WRONG_LAST_SEQUENCE = [10071, 10164];

/** A bus on NATS. */
export type NatsBus = Bus & {
  /** Resolves after the first attempt to connect, successful or not. */
  readonly firstAttempt: Promise<void>;
  /** JetStream's administration, for whoever sets the streams up. @throws BusFault `closed`. */
  manager(): JetStreamManager;
};

/**
 * Connects to NATS, for ever: whatever ends the connection, another attempt follows. Nobody has to wait for the first
 * one: a bus that is not up yet takes listeners, and calls `onUp` once it is.
 *
 * @throws TypeError The URL is malformed.
 */
export function openNatsBus(options: NatsBusOptions): NatsBus {
  return new NatsConnectionBus(options);
}

/** The same, after the first attempt to connect, successful or not. Rejects with TypeError alone. */
export async function connectNatsBus(options: NatsBusOptions): Promise<NatsBus> {
  const bus = openNatsBus(options);
  await bus.firstAttempt;
  return bus;
}

type Listener = {
  readonly pattern: string;
  readonly fn: (message: BusMessage) => void;
  subscription: Subscription | undefined;
};

/**
 * How the client writes what waits, which it does not show. What it does show, `flush`, asks the server for a sign of life
 * besides: the server wakes a writer for that, ahead of telling the kill, which costs a kill a tenth of a millisecond.
 */
type Flushing = { readonly protocol: { flushPending?: () => void } };

type Connected = { readonly nc: NatsConnection; readonly manager: JetStreamManager };

class NatsConnectionBus implements NatsBus {
  readonly firstAttempt: Promise<void>;
  readonly #options: NatsBusOptions;
  readonly #connection: ConnectionOptions;
  readonly #streamTimeoutMs: number;
  readonly #listeners = new Set<Listener>();
  readonly #onUp: (() => void)[] = [];
  /** Ends a question whose answer can no longer come, by question. */
  readonly #asking = new Set<() => void>();
  readonly #ended: Promise<void>;
  #connected: Connected | undefined;
  #isUp = false;
  #isClosed = false;
  #stopWaiting: () => void = () => undefined;

  constructor(options: NatsBusOptions) {
    this.#options = options;
    this.#connection = connectionOptions(options);
    this.#streamTimeoutMs = options.streamTimeoutMs ?? STREAM_TIMEOUT_MS;
    const first = Promise.withResolvers<void>();
    this.firstAttempt = first.promise;
    this.#ended = this.#keepConnected(first.resolve);
  }

  send(subject: string, bytes: Uint8Array): void {
    mustBePlainSubject(subject);
    mustFit(bytes);
    // The client may keep it for the next connection; by then it says what is no longer so.
    if (!this.#isUp) return;
    try {
      this.#connected?.nc.publish(subject, bytes);
      // The client writes when the turn ends; a kill is not to wait for what else is done in it.
      if (subject.startsWith(FAST_PREFIX)) this.#writeNow();
    } catch (error) {
      this.#trouble(error);
    }
  }

  #writeNow(): void {
    const nc = this.#connected?.nc;
    const protocol = (nc as undefined | Partial<Flushing>)?.protocol;
    if (typeof protocol?.flushPending === "function") protocol.flushPending();
    else nc?.flush().catch(() => undefined);
  }

  listen(pattern: string, fn: (message: BusMessage) => void): () => void {
    mustBePattern(pattern);
    const listener: Listener = { pattern, fn, subscription: undefined };
    this.#listeners.add(listener);
    this.#subscribe(listener);
    return () => {
      this.#listeners.delete(listener);
      listener.subscription?.unsubscribe();
    };
  }

  async ask(subject: string, bytes: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    mustBePlainSubject(subject);
    mustFit(bytes);
    const { nc } = this.#mustBeUp();
    // The client waits on for an answer that went to the connection before.
    const lost = Promise.withResolvers<never>();
    const lose = () => lost.reject(new BusFault("closed", subject));
    this.#asking.add(lose);
    try {
      const asked = nc.request(subject, bytes, { timeout: Math.max(1, timeoutMs) });
      const answer = await Promise.race([asked, lost.promise]);
      return new Uint8Array(answer.data);
    } catch (error) {
      throw natsFault(error, subject);
    } finally {
      this.#asking.delete(lose);
    }
  }

  async append(
    subject: string,
    bytes: Uint8Array,
    { msgId, expectSeq }: AppendOptions,
  ): Promise<{ readonly seq: number } | "conflict"> {
    mustBeSubject(subject);
    mustBeMsgId(msgId);
    mustFit(bytes);
    const streamName = streamOf(subject);
    if (!streamName) throw new TypeError(`no stream takes ${subject}`);
    const { nc } = this.#mustBeUp();
    try {
      const stored = await jetstream(nc).publish(subject, bytes, {
        msgID: msgId,
        expect: { streamName, lastSubjectSequence: expectSeq },
        timeout: this.#streamTimeoutMs,
        retries: 1,
      });
      return { seq: stored.seq };
    } catch (error) {
      if (error instanceof JetStreamApiError && WRONG_LAST_SEQUENCE.includes(error.code)) {
        return this.#storedBefore(streamName, subject, msgId);
      }
      const fault = natsFault(error, subject);
      // It left this process, so it may have been stored although no answer came back.
      const mayBeStored = fault.code === "timeout" || fault.code === "closed";
      throw mayBeStored ? new BusFault("unknown", subject, { cause: error }) : fault;
    }
  }

  /**
   * Some servers compare sequences before they look for the id (2.15 alone does, in a cluster it does
   * not), so an append that was stored and is asked for again meets itself.
   */
  async #storedBefore(
    stream: string,
    subject: string,
    msgId: string,
  ): Promise<{ readonly seq: number } | "conflict"> {
    const { manager } = this.#mustBeUp();
    try {
      const last = await manager.streams.getMessage(stream, { last_by_subj: subject });
      const isOwn = last?.header.get("Nats-Msg-Id") === msgId;
      return last && isOwn ? { seq: last.seq } : "conflict";
    } catch (error) {
      // Whether it was stored is not known until somebody can look.
      throw new BusFault("unknown", subject, { cause: error });
    }
  }

  /** Asks message by message: servers before 2.11 know no other way. */
  async read(stream: string, fromSeq: number, count: number): Promise<readonly BusMessage[]> {
    mustBeStream(stream);
    const { manager } = this.#mustBeUp();
    const found: BusMessage[] = [];
    let seq = Math.max(1, fromSeq);
    try {
      while (found.length < Math.min(count, READ_COUNT_MAX)) {
        const query = { seq, next_by_subj: subjectsOf(stream) };
        const message = await manager.direct.getMessage(stream, query);
        if (!message) break;
        found.push(storedMessage(message));
        seq = message.seq + 1;
      }
      return found;
    } catch (error) {
      throw natsFault(error, stream);
    }
  }

  async last(stream: string, subject: string, from?: "any"): Promise<BusMessage | undefined> {
    mustBeStream(stream);
    mustBeSubject(subject);
    const { manager } = this.#mustBeUp();
    const query = { last_by_subj: subject };
    try {
      const message =
        from === "any"
          ? await manager.direct.getMessage(stream, query)
          : await manager.streams.getMessage(stream, query);
      return message ? storedMessage(message) : undefined;
    } catch (error) {
      throw natsFault(error, subject);
    }
  }

  onUp(fn: () => void): void {
    this.#onUp.push(fn);
    // A connection that already stands is news to whoever asks only now.
    queueMicrotask(() => {
      if (this.#isUp) callListener(fn);
    });
  }

  isUp(): boolean {
    return this.#isUp;
  }

  manager(): JetStreamManager {
    return this.#mustBeUp().manager;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#isUp = false;
    this.#stopWaiting();
    await this.#connected?.nc.close();
    await this.#ended;
  }

  #mustBeUp(): Connected {
    if (!this.#connected || !this.#isUp) throw new BusFault("closed", "no connection");
    return this.#connected;
  }

  async #keepConnected(onFirstAttempt: () => void): Promise<void> {
    while (!this.#isClosed) {
      try {
        const nc = await connect(this.#connection);
        await this.#useConnection(nc, onFirstAttempt);
      } catch (error) {
        this.#trouble(error);
      }
      onFirstAttempt();
      if (!this.#isClosed) await this.#wait(reconnectDelayMs(this.#options));
    }
  }

  /** Resolves when the client gives the connection up: on `close`, or when its login is refused. */
  async #useConnection(nc: NatsConnection, onFirstAttempt: () => void): Promise<void> {
    const statuses = nc.status();
    try {
      const timeout = this.#streamTimeoutMs;
      const manager = await jetstreamManager(nc, { checkAPI: false, timeout });
      this.#connected = { nc, manager };
      if (this.#isClosed) return;
      this.#cameUp();
      onFirstAttempt();
      for await (const status of statuses) this.#onStatus(status);
      await nc.closed();
    } finally {
      this.#wentDown();
      this.#connected = undefined;
      for (const listener of this.#listeners) listener.subscription = undefined;
      await nc.close();
    }
  }

  #onStatus(status: { readonly type: string }): void {
    switch (status.type) {
      case "disconnect":
      case "staleConnection":
      case "forceReconnect":
        this.#wentDown();
        this.#trouble(status.type);
        return;
      case "reconnect":
        this.#cameUp();
        return;
      case "slowConsumer":
        this.#trouble("messages were lost: this process reads too slowly");
        this.#tellUp();
        return;
      case "error":
        this.#trouble((status as { readonly error?: unknown }).error);
        return;
    }
  }

  #wentDown(): void {
    this.#isUp = false;
    for (const lose of this.#asking) lose();
  }

  #cameUp(): void {
    this.#isUp = true;
    for (const listener of this.#listeners) this.#subscribe(listener);
    this.#tellUp();
  }

  #tellUp(): void {
    for (const fn of this.#onUp) callListener(fn);
  }

  /** The client itself renews what it has; what it has not, or lost to a permission, is added. */
  #subscribe(listener: Listener): void {
    const nc = this.#connected?.nc;
    if (!nc || nc.isClosed()) return;
    if (listener.subscription && !listener.subscription.isClosed()) return;
    const callback = (error: Error | null, message: Msg): void => {
      if (error) this.#trouble(error);
      else if (!streamOf(message.subject)) callListener(() => listener.fn(messageOf(message)));
    };
    try {
      listener.subscription = nc.subscribe(listener.pattern, { callback });
    } catch (error) {
      this.#trouble(error);
    }
  }

  #wait(waitMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, waitMs);
      this.#stopWaiting = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #trouble(error: unknown): void {
    this.#options.onTrouble?.(errorMessage(error));
  }
}

/** Only the server's own copies of what it stored carry a sequence, by its headers. */
function messageOf(message: Msg): BusMessage {
  const { subject, headers } = message;
  // The client's bytes lie in the socket's chunk, which they would keep alive as a whole.
  const bytes = new Uint8Array(message.data);
  const seq = subject.startsWith(COMMITTED_PREFIX) ? Number(headers?.get("Nats-Sequence")) : 0;
  const respond = (answer: Uint8Array): void => {
    mustFit(answer);
    message.respond(answer);
  };
  return {
    subject,
    bytes,
    ...(Number.isSafeInteger(seq) && seq > 0 ? { seq } : {}),
    ...(message.reply ? { respond } : {}),
  };
}

function storedMessage(message: {
  readonly subject: string;
  readonly data: Uint8Array;
  readonly seq: number;
}): BusMessage {
  return { subject: message.subject, bytes: new Uint8Array(message.data), seq: message.seq };
}
