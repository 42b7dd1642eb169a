import { systemClock } from "../../adapters/system-clock.ts";
import type { AppendOptions, Bus, BusMessage } from "../../ports/bus.ts";
import { ACK_PATTERN, FAST_PREFIX } from "../../proto/subjects.ts";

type Wanted = {
  readonly cmdId: string;
  readonly count: number;
  readonly resolve: (atNs: number) => void;
};

/** A coordinator's bus that also writes down when kills were said, and who has acknowledged since. */
export class TappedBus implements Bus {
  readonly #inner: Bus;
  #saidNs = 0;
  #acks = 0;
  #acked = new Set<string>();
  #wanted: Wanted | undefined;

  constructor(inner: Bus) {
    this.#inner = inner;
  }

  /** When the last kill was first said on the fast path, monotonic ns. */
  get saidNs(): number {
    return this.#saidNs;
  }

  /** Acks of the last kill so far, repeated ones too. */
  get acks(): number {
    return this.#acks;
  }

  /** Nodes that have acknowledged it. */
  get ackedCount(): number {
    return this.#acked.size;
  }

  /** Waits for the next kill; resolves when so many nodes have acknowledged it, monotonic ns. */
  nextKill(cmdId: string, count: number): Promise<number> {
    this.#saidNs = 0;
    this.#acks = 0;
    this.#acked = new Set();
    return new Promise((resolve) => {
      this.#wanted = { cmdId, count, resolve };
    });
  }

  send(subject: string, bytes: Uint8Array): void {
    if (subject.startsWith(FAST_PREFIX)) this.#saidNs ||= Number(systemClock.monoNs());
    this.#inner.send(subject, bytes);
  }

  listen(pattern: string, fn: (message: BusMessage) => void): () => void {
    return this.#inner.listen(pattern, (message) => {
      fn(message);
      if (pattern === ACK_PATTERN) this.#noteAck(message);
    });
  }

  /** The coordinator has just verified it; here only the command's name is looked for. */
  #noteAck({ subject, bytes }: BusMessage): void {
    const wanted = this.#wanted;
    if (!wanted || !Buffer.from(bytes).includes(wanted.cmdId)) return;
    this.#acks += 1;
    this.#acked.add(subject);
    if (this.#acked.size === wanted.count) wanted.resolve(Number(systemClock.monoNs()));
  }

  ask(subject: string, bytes: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    return this.#inner.ask(subject, bytes, timeoutMs);
  }

  append(subject: string, bytes: Uint8Array, options: AppendOptions) {
    return this.#inner.append(subject, bytes, options);
  }

  read(stream: string, fromSeq: number, count: number) {
    return this.#inner.read(stream, fromSeq, count);
  }

  last(stream: string, subject: string, from?: "any") {
    return this.#inner.last(stream, subject, from);
  }

  onUp(fn: () => void): void {
    this.#inner.onUp(fn);
  }

  isUp(): boolean {
    return this.#inner.isUp();
  }

  close(): Promise<void> {
    return this.#inner.close();
  }
}
