import type { Reason } from "../proto/reasons.ts";
import { askedModel } from "./asked-model.ts";
import type { RefusedAtDoor } from "./dataplane/serve-exchange.ts";
import { isMissing } from "./decision/facts.ts";
import type { Asked, Asker } from "./gather.ts";
import type { LoopContext } from "./loop-context.ts";
import { isOfStranger, type StrangerTry } from "./stranger-sightings.ts";
import { policyVersion } from "./table/table.ts";

/** What of a loop it takes to remember a stranger. */
type StrangerLoop = Pick<LoopContext, "strangers" | "placement" | "policyOf" | "table" | "clock">;

/** Remembers a refused request of somebody who is no agent, and the model that it asks for. */
export function noteStranger(asked: Asked<Asker>, reason: Reason, loop: StrangerLoop): void {
  const { exchange, destination, found } = asked;
  // What came on a connection that an agent opened is that agent's.
  if (exchange.via !== undefined || !isOfStranger(reason)) return;
  const who = whoIsAt(exchange.head.peer, loop);
  if (who.isKnown && reason !== "source_unknown") return;
  const host = destination && nameOf(destination);
  note({ ...who.at, door: exchange.door, host, reason }, loop);
  if (isMissing(found) || found.dialect.family === "mcp") return;
  if (found.model !== undefined) loop.strangers.noteModel(who.at, found.model);
  else exchange.onUnread?.(askedModel((model) => loop.strangers.noteModel(who.at, model)));
}

/** Remembers a captured connection that said no name: where it was going is known all the same. */
export function noteAtDoor(
  { door, peer, target, reason }: RefusedAtDoor,
  loop: StrangerLoop,
): void {
  if (door !== "transparent") return;
  const who = whoIsAt(peer, loop);
  if (!who.isKnown) note({ ...who.at, door, host: target, reason }, loop);
}

/** Remembers a question for a name that nobody has granted anything. */
export function noteQuestion(source: string, name: string, loop: StrangerLoop): void {
  const who = whoIsAt(source, loop);
  if (!who.isKnown) note({ ...who.at, door: "dns", host: name, reason: "source_unknown" }, loop);
}

function note(one: StrangerTry, loop: StrangerLoop): void {
  loop.strangers.note(one, loop.clock.nowMs());
}

/** A captured connection's name is all that is dialled by, and its port says what it is for. */
function nameOf({ host, port }: { readonly host: string; readonly port: number }): string {
  const bare = host.includes(":") ? `[${host}]` : host;
  return port === 443 ? bare : `${bare}:${port}`;
}

type WhoIsAt = {
  readonly at: Pick<StrangerTry, "source" | "pod" | "claimed">;
  /** An agent of the policy is placed there. */
  readonly isKnown: boolean;
};

function whoIsAt(source: string, { placement, policyOf, table }: StrangerLoop): WhoIsAt {
  const claimed = placement.agentAt(source);
  const policy = policyOf(policyVersion(table));
  const isKnown = claimed !== undefined && policy?.agents.has(claimed) === true;
  return { at: { source, pod: placement.podAt(source), claimed }, isKnown };
}
