import { type Store, StoreFault, type Write } from "../ports/store.ts";
import { type Command, decodeCommand, encodeCommand, isPending } from "./command.ts";
import { ACK_PREFIX, COMMAND_PREFIX, commandKey } from "./store-keys.ts";

export type CommandBookOptions = {
  readonly store: Store;
  /** Commands that are remembered; the oldest finished ones go first. */
  readonly commandsMax: number;
  /** A command is no longer remembered. */
  readonly onForget: (cmdId: string) => void;
};

/** Commands by their id, in memory and on disk, and no more of them than are wanted. */
export class CommandBook {
  readonly #options: CommandBookOptions;
  readonly #commands = new Map<string, Command>();
  readonly #byScope = new Map<string, Set<Command>>();

  /** @throws StoreFault What is stored is not a command. */
  constructor(options: CommandBookOptions) {
    this.#options = options;
    for (const [key, value] of options.store.list(COMMAND_PREFIX)) {
      try {
        const command = decodeCommand(value);
        this.add(command);
      } catch (cause) {
        throw new StoreFault(`${key} is not a command`, { cause });
      }
    }
  }

  get(cmdId: string): Command | undefined {
    return this.#commands.get(cmdId);
  }

  all(): IterableIterator<Command> {
    return this.#commands.values();
  }

  /** Those on one scope. */
  on(scope: string): Iterable<Command> {
    return this.#byScope.get(scope) ?? [];
  }

  add(command: Command): void {
    this.#commands.set(command.cmdId, command);
    const others = this.#byScope.get(command.scope) ?? new Set();
    this.#byScope.set(command.scope, others.add(command));
  }

  remove(cmdId: string): void {
    const command = this.#commands.get(cmdId);
    if (command === undefined) return;
    this.#commands.delete(cmdId);
    const others = this.#byScope.get(command.scope);
    others?.delete(command);
    if (others?.size === 0) this.#byScope.delete(command.scope);
  }

  /** Writes a command, and `also`, or none of it. Rejects with StoreFault. */
  async save(command: Command, also: readonly Write[]): Promise<void> {
    const own = { key: commandKey(command.cmdId), value: encodeCommand(command) };
    await this.#options.store.commit([own, ...this.#prune(), ...also]);
  }

  /** Makes room: the oldest commands that are finished, with their acks. */
  #prune(): readonly Write[] {
    const { store, commandsMax, onForget } = this.#options;
    const writes: Write[] = [];
    for (const command of this.#commands.values()) {
      if (this.#commands.size <= commandsMax) break;
      if (isPending(command)) continue;
      this.remove(command.cmdId);
      onForget(command.cmdId);
      writes.push({ key: commandKey(command.cmdId), value: undefined });
      const acks = store.list(`${ACK_PREFIX}${command.cmdId}/`);
      for (const [key] of acks) writes.push({ key, value: undefined });
    }
    return writes;
  }
}
