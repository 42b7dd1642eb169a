// Commands of operators, from the call to the stream.
//
// C1. A command is on this coordinator's disk before its caller hears that it was accepted, and goes
//     on from there after any crash. A kill alone does not wait for the disk: a disk that fails must
//     not keep it from being enforced.
// C2. The same cmd_id is the same command, however often it is called.
// C3. A kill is heard on the fast path at once; anything else counts only once it is committed.
// C4. A commit is a compare-and-set on the scope's last sequence. A kill that lost is signed again on
//     top of what won; an operator's record is not ours to change, so its caller is told `conflict`.

import { type MeshRecord, restoreRecord } from "../mesh/record.ts";
import type { OpName } from "../mesh/record-op.ts";
import type { Bus } from "../ports/bus.ts";
import type { Clock } from "../ports/clock.ts";
import type { Signer } from "../ports/keys.ts";
import { pause } from "../ports/pause.ts";
import { StoreFault, type Write } from "../ports/store.ts";
import { isKillScope, isRevocable, parseScope } from "../proto/ids.ts";
import { KillBroadcasts } from "./broadcast.ts";
import { type Command, isPending } from "./command.ts";
import { CommandBook, type CommandBookOptions } from "./command-book.ts";
import { CommandRefused } from "./command-refused.ts";
import { commitCommand, NOT_COUNTED } from "./commit-command.ts";
import type { Tell } from "./events.ts";
import type { Replica } from "./replica.ts";
import { type KillFields, signKill, signKillAgain } from "./sign-kill.ts";
import { commandKey, recordKey } from "./store-keys.ts";
import { tellCommitted } from "./tell-committed.ts";

export type CommandsOptions = CommandBookOptions & {
  readonly mesh: string;
  readonly replica: Replica;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly signer: Signer;
  readonly tell: Tell;
  /** Whether a live node has not said that it enforces the command's record. */
  readonly isAwaited: (command: Command) => boolean;
  readonly liveNodes: () => number;
};

const WITHDRAW_RETRY_MS = 1_000;

export class Commands {
  readonly #options: CommandsOptions;
  readonly #commands: CommandBook;
  readonly #onChange: ((command: Command) => void)[] = [];
  readonly #stopping = new AbortController();
  /** One command of a scope after another, so that they do not race for its sequence. */
  readonly #turns = new Map<string, Promise<void>>();
  /** Commands whose first write is under way. */
  readonly #accepting = new Map<string, Promise<void>>();
  readonly #broadcasts: KillBroadcasts;

  constructor(options: CommandsOptions) {
    this.#options = options;
    this.#broadcasts = new KillBroadcasts(options);
    this.#commands = new CommandBook({
      ...options,
      onForget: (cmdId) => {
        this.#broadcasts.forget(cmdId);
        options.onForget(cmdId);
      },
    });
    // What was said while there was no connection was said to nobody.
    options.bus.onUp(() => this.#broadcasts.sayAll());
  }

  /** Goes on with what an earlier run accepted and did not finish. */
  resume(): void {
    for (const command of this.#commands.all()) {
      if (!isPending(command)) continue;
      this.#reopen(command);
      if (command.kind === "kill") {
        if (command.record) this.#options.replica.take(command.record);
        this.#broadcasts.say(command);
      }
      this.#drive(command);
    }
  }

  /**
   * Opens what an earlier run accepted. A kill whose key was taken away since is signed with the key
   * of today: it was accepted, and holds.
   */
  #reopen(command: Command): void {
    const { replica, mesh } = this.#options;
    const bytes = command.bytes as Uint8Array;
    const opened = replica.open(bytes);
    if (opened.ok) command.record = opened.record;
    else if (command.kind === "kill") {
      const read = restoreRecord(bytes, { mesh });
      if (read.ok) this.#replaceIfTrusted(command, read.record);
    }
  }

  /** False: our key of today is not in force either, and nothing that we sign counts. */
  #replaceIfTrusted(command: Command, own: MeshRecord): boolean {
    try {
      this.#replace(command, signKillAgain(own, this.#options));
      return true;
    } catch (error) {
      if (!(error instanceof CommandRefused)) throw error;
      return false;
    }
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#broadcasts.stop();
    await Promise.all(this.#turns.values());
  }

  get(cmdId: string): Command | undefined {
    return this.#commands.get(cmdId);
  }

  all(): IterableIterator<Command> {
    return this.#commands.all();
  }

  /** A digest is sent next. */
  beforeDigest(): void {
    this.#broadcasts.beforeDigest();
  }

  /** A node has said for the first time that it enforces a command. */
  noteAnswer(cmdId: string): void {
    this.#broadcasts.noteAnswer(cmdId);
  }

  /** Calls `fn` whenever a command was accepted, committed, signed again or met a conflict. */
  onChange(fn: (command: Command) => void): () => void {
    this.#onChange.push(fn);
    return () => {
      const index = this.#onChange.indexOf(fn);
      if (index >= 0) this.#onChange.splice(index, 1);
    };
  }

  /**
   * Kills a scope. Resolves when the command is on disk; when the disk fails, at once with
   * `accepted: false`, and the kill goes on all the same (C1).
   *
   * @throws CommandRefused
   */
  async kill(fields: KillFields): Promise<Command> {
    const known = this.#commands.get(fields.cmdId);
    if (known) {
      if (known.kind === "kill" && known.scope === fields.scope) return this.#accepted(known);
      throw new CommandRefused("cmd_id_reused", `${fields.cmdId} is of ${known.scope}`);
    }
    const scope = parseScope(fields.scope);
    if (!scope || !(isKillScope(scope) || isRevocable(scope))) {
      throw new CommandRefused("malformed_scope", `${fields.scope} cannot be killed`);
    }
    const record = signKill(fields, this.#options);
    // C3: all that is done of it here, nodes need not wait for. It is done in this turn, so nobody sees it undone.
    this.#broadcasts.sayFirst(record);
    return this.#kill(record, { isSaid: true });
  }

  /**
   * Takes up the current kill of a scope whose command is not remembered here, since it is old or another
   * coordinator's: as it is and under its own id, so that it can be watched. Nothing is signed.
   */
  again(record: MeshRecord): Promise<Command> {
    const known = this.#commands.get(record.cmdId);
    return known ? this.#accepted(known) : this.#kill(record);
  }

  async #kill(record: MeshRecord, { isSaid = false } = {}): Promise<Command> {
    const command = this.#commandOf("kill", record);
    this.#commands.add(command);
    this.#options.replica.take(record);
    this.#broadcasts.say(command, { isSaid });
    try {
      await this.#accept(command, [{ key: recordKey(record.scope), value: record.bytes }]);
    } catch (error) {
      if (!(error instanceof StoreFault)) throw error;
      this.#options.tell("kill_not_durable", { cmd_id: command.cmdId, error: String(error) });
    }
    this.#told(command, "command_accepted");
    this.#drive(command);
    return command;
  }

  /**
   * Carries a record that somebody else signed. Resolves when it is on disk.
   *
   * @param ops What this caller may carry; anything else is refused.
   * @param also Writes that must happen together with the acceptance or not at all.
   * @throws CommandRefused, or StoreFault: it may or may not have been accepted; call again.
   */
  async carry(
    bytes: Uint8Array,
    ops: readonly OpName[],
    also: readonly Write[] = [],
  ): Promise<Command> {
    const opened = this.#options.replica.open(bytes);
    if (!opened.ok) throw new CommandRefused(opened.reason, opened.detail);
    const { record } = opened;
    if (!ops.includes(record.op.case)) {
      throw new CommandRefused("op_not_allowed", `${record.op.case} is not carried here`);
    }
    const known = this.#commands.get(record.cmdId);
    if (known) {
      if (known.hashHex === record.hashHex) return this.#accepted(known);
      throw new CommandRefused("cmd_id_reused", `${record.cmdId} is of another record`);
    }
    this.#mustFollow(record);
    const command = this.#commandOf("carried", record);
    this.#commands.add(command);
    try {
      await this.#accept(command, also);
    } catch (error) {
      this.#commands.remove(command.cmdId);
      void this.#withdraw(command);
      throw error;
    }
    this.#told(command, "command_accepted");
    this.#drive(command);
    return command;
  }

  /** Resolves when the command is committed, has met a conflict, or `waitMs` have passed. */
  async settled(command: Command, waitMs: number): Promise<Command> {
    if (!isPending(command)) return command;
    const done = new AbortController();
    const signal = AbortSignal.any([done.signal, this.#stopping.signal]);
    const off = this.onChange((changed) => {
      if (changed === command && !isPending(command)) done.abort();
    });
    await pause(this.#options.clock, waitMs, signal);
    off();
    return command;
  }

  #commandOf(kind: Command["kind"], record: MeshRecord): Command {
    return {
      cmdId: record.cmdId,
      kind,
      scope: record.scope,
      op: record.op.case,
      acceptedAtMs: this.#options.clock.nowMs(),
      v: record.v,
      hashHex: record.hashHex,
      bytes: record.bytes,
      record,
      accepted: false,
      committed: false,
      conflict: false,
    };
  }

  /** A record that was built on anything but the current one has lost already. */
  #mustFollow(record: MeshRecord): void {
    const current = this.#options.replica.state.get(record.scope);
    const isNext =
      record.v === (current?.v ?? 0) + 1 &&
      Buffer.compare(record.prev, current?.hash ?? new Uint8Array(0)) === 0;
    if (!isNext) {
      throw new CommandRefused("conflict", `${record.scope} is at version ${current?.v ?? 0}`);
    }
    for (const other of this.#commands.on(record.scope)) {
      if (other.kind === "carried" && isPending(other)) {
        throw new CommandRefused("conflict", `${other.cmdId} is on its way for ${other.scope}`);
      }
    }
  }

  /**
   * The caller has heard that nothing was accepted, so a later start must not find it on disk. Until
   * the disk takes that, a crash may still bring it back, which is what "unknown" means.
   */
  async #withdraw({ cmdId }: Command): Promise<void> {
    const { clock, store } = this.#options;
    const { signal } = this.#stopping;
    while (!signal.aborted && !this.#commands.get(cmdId)) {
      try {
        await store.commit([{ key: commandKey(cmdId), value: undefined }]);
        return;
      } catch (error) {
        if (!(error instanceof StoreFault)) throw error;
        await pause(clock, WITHDRAW_RETRY_MS, signal);
      }
    }
  }

  /** A repeated call hears the same as the first one, and no sooner. */
  async #accepted(command: Command): Promise<Command> {
    await this.#accepting.get(command.cmdId)?.catch(() => undefined);
    return command;
  }

  async #accept(command: Command, also: readonly Write[]): Promise<void> {
    // A turn later: what was just said of it leaves before the disk is busy with it.
    const accepting = Promise.resolve().then(() => this.#commands.save(command, also));
    this.#accepting.set(command.cmdId, accepting);
    try {
      await accepting;
      command.accepted = true;
    } finally {
      this.#accepting.delete(command.cmdId);
    }
  }

  #drive(command: Command): void {
    const before = this.#turns.get(command.scope) ?? Promise.resolve();
    const turn = before.then(() =>
      commitCommand(command, {
        ...this.#options,
        signal: this.#stopping.signal,
        committed: (seq) => this.#committed(command, seq),
        lost: (detail) => this.#lost(command, detail),
        signAgain: (own) => this.#signAgain(command, own),
      }),
    );
    this.#turns.set(command.scope, turn);
    void turn.finally(() => {
      if (this.#turns.get(command.scope) === turn) this.#turns.delete(command.scope);
    });
  }

  async #signAgain(command: Command, own: MeshRecord): Promise<void> {
    if (!this.#replaceIfTrusted(command, own)) return this.#lost(command, NOT_COUNTED);
    const record = command.record as MeshRecord;
    this.#options.replica.take(record);
    this.#broadcasts.say(command);
    await this.#storeSoon(command, [{ key: recordKey(record.scope), value: record.bytes }]);
    this.#told(command, "command_conflict");
  }

  #replace(command: Command, record: MeshRecord): void {
    command.v = record.v;
    command.hashHex = record.hashHex;
    command.bytes = record.bytes;
    command.record = record;
  }

  async #committed(command: Command, seq: number): Promise<void> {
    const { replica } = this.#options;
    const { record } = command;
    command.committed = true;
    command.bytes = undefined;
    command.record = undefined;
    const also: Write[] = [];
    if (record) {
      const { scope, bytes, hashHex } = record;
      replica.noteStored(record, seq);
      replica.take(record);
      const isCurrent = replica.state.get(scope)?.hashHex === hashHex;
      if (isCurrent) also.push({ key: recordKey(scope), value: bytes });
      // Ours was said before it was stored. Of what a kill has undone meanwhile nobody is told: who has lost that
      // kill would take it for the last word.
      if (isCurrent && command.kind === "carried") tellCommitted(record, seq, this.#options);
    }
    await this.#storeSoon(command, also);
    this.#told(command, "command_committed", { seq });
  }

  async #lost(command: Command, detail: string): Promise<void> {
    command.conflict = true;
    command.bytes = undefined;
    command.record = undefined;
    await this.#storeSoon(command, []);
    this.#told(command, "command_conflict", { detail });
  }

  /** What is not on disk is done again after a crash, and finds itself done. */
  async #storeSoon(command: Command, also: readonly Write[]): Promise<void> {
    try {
      await this.#commands.save(command, also);
      command.accepted = true;
    } catch (error) {
      if (!(error instanceof StoreFault)) throw error;
      this.#options.tell("store_failed", { what: "command", error: String(error) });
    }
  }

  #told(
    command: Command,
    event: "command_accepted" | "command_committed" | "command_conflict",
    more: Readonly<Record<string, unknown>> = {},
  ): void {
    const { cmdId, scope, op, v } = command;
    this.#options.tell(event, { cmd_id: cmdId, scope, op, v, ...more });
    for (const fn of [...this.#onChange]) fn(command);
  }
}
