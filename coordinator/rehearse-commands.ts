import { setImmediate as nextTurn } from "node:timers/promises";
import {
  REHEARSAL_MESH,
  REHEARSAL_SCOPE,
  REHEARSALS,
  rehearsalPin,
} from "../mesh/rehearse-kill.ts";
import type { Bus } from "../ports/bus.ts";
import type { Clock } from "../ports/clock.ts";
import type { Keys, Signer } from "../ports/keys.ts";
import { type Random, uuidV7 } from "../ports/random.ts";
import { twinStore } from "../ports/twin-store.ts";
import { Commands } from "./commands.ts";
import { Replica } from "./replica.ts";

/** What a twin does not do at once, it does not do at all. */
const COMMIT_WAIT_MS = 1_000;

export type RehearsalPorts = {
  readonly clock: Clock;
  readonly random: Random;
  readonly verify: Keys["verify"];
  /** Of this rehearsal alone. */
  readonly bus: Bus;
};

/**
 * Accepts, says and commits kills of nobody, in a mesh and with a store and a bus of their own, all of which are then
 * forgotten. A kill is rare: the first one after a start would else run as code that nothing has compiled, and take
 * several times as long.
 *
 * @param signer Its key is a mesh's pinned one here, and nowhere else by this.
 * @returns How many kills were committed.
 */
export async function rehearseCommands(
  ports: RehearsalPorts,
  signer: Signer,
  count = REHEARSALS,
): Promise<number> {
  const { clock, random } = ports;
  const ignore = (): void => undefined;
  const own = { pin: rehearsalPin(signer), mesh: REHEARSAL_MESH, store: twinStore() };
  const options = { ...ports, ...own, signer, tell: ignore };
  const replica = new Replica(options);
  const commands = new Commands({
    ...options,
    replica,
    commandsMax: 1,
    onForget: ignore,
    isAwaited: () => false,
    liveNodes: () => 0,
  });
  let committed = 0;
  for (let i = 0; i < count; i += 1) {
    const cmdId = uuidV7(clock.nowMs(), random);
    const asked = { cmdId, scope: REHEARSAL_SCOPE, reason: "rehearsal", cause: "", operator: "" };
    const command = await commands.kill(asked);
    // Else the next one would take its place before it has one.
    await commands.settled(command, COMMIT_WAIT_MS);
    // A hundred of them would keep the coordinator from its work for as many seconds.
    if (!command.committed) break;
    committed += 1;
    // Nothing of it waits for anything outside of this thread: a kill of somebody would wait for all of them.
    await nextTurn();
  }
  await commands.stop();
  return committed;
}
