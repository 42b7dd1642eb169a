import type { Reason } from "../proto/reasons.ts";
import { type AtOnce, andThen } from "./at-once.ts";
import type { Exchange } from "./dataplane/exchange.ts";
import { type Facts, type Identity, isMissing, type Missing } from "./decision/facts.ts";
import type { Asked, Asker } from "./gather.ts";
import type { LoopContext } from "./loop-context.ts";
import type { KeyAnswer } from "./loop-key-cache.ts";
import type { LoopPersons } from "./loop-persons.ts";
import { asNamed, type NamedKey, namedKey } from "./named-key.ts";
import { pin, unpin } from "./table/rows.ts";
import { isFresh, keyGeneration } from "./table/table.ts";
import type { ContractGrant, RowGrant } from "./thread-messages.ts";

/** Who asks, and the row that is pinned for it. */
export type WhoAsks = {
  readonly identity: Identity | Missing;
  readonly row: RowGrant | undefined;
};

/** Who asks, as the key says; on a connection that was opened with one, the two must agree. */
export function identify(
  exchange: Exchange,
  named: NamedKey | Missing,
  loop: LoopContext,
): AtOnce<WhoAsks> {
  const { via } = exchange;
  if (isMissing(named)) return { identity: named, row: undefined };
  return andThen(identifyNamed(named, exchange, loop), (who) => {
    const { identity, row } = who;
    // The connection and the request on it must be one agent's.
    if (via === undefined || isMissing(identity) || identity.agentId === via.agentId) return who;
    return { identity: { missing: "credentials_conflict" }, row };
  });
}

/** Whose key it is, if that is who the name beside it says. */
export function identifyNamed(
  named: NamedKey,
  asker: Pick<Asker, "head" | "claim">,
  loop: LoopContext,
): AtOnce<WhoAsks> {
  const who = identifyBy(named.handle, asker, loop, named);
  if (named.agentId === "") return who;
  return andThen(who, ({ identity, row }) => ({ identity: asNamed(identity, named.agentId), row }));
}

/**
 * Whose key it is, by its SHA-256 or its handle. Claims for that agent, and pins its row until `letGo`.
 *
 * Where a contract is presented, nothing is claimed or kept before possession of its key is proven:
 * whoever has the contract alone is nobody.
 */
export function identifyBy(
  handle: string,
  asker: Pick<Asker, "head" | "claim">,
  loop: LoopContext,
  of: Pick<NamedKey, "isContract" | "presented"> = { isContract: false },
): AtOnce<WhoAsks> {
  const { isContract, presented } = of;
  const pinned = pinnedRow({ handle, peer: asker.head.peer, isContract }, loop);
  return andThen(pinned, (row) => whoHas(row, presented, asker, loop));
}

function whoHas(
  row: KeyAnswer,
  presented: NamedKey["presented"],
  asker: Pick<Asker, "head" | "claim">,
  loop: LoopContext,
): AtOnce<WhoAsks> {
  if (typeof row === "string")
    return { identity: { missing: unknownKey(row, loop) }, row: undefined };
  const objection = loop.possession.objection(row, presented, asker.head);
  if (objection !== undefined) {
    unpin(loop.table, loop.loop, row.row);
    return { identity: objection, row: undefined };
  }
  asker.claim(row.agentId, row.contractId);
  const { agentId, keyId, contractId, contract } = row;
  const identity = { agentId, keyId, contractId };
  if (loop.persons === undefined || contract === undefined) return { identity, row };
  return withPerson(identity, contract, loop.persons).then((known) => ({ identity: known, row }));
}

/** Where persons are recorded, nothing is done for one of whom no record could tell. */
async function withPerson(
  identity: Identity,
  { person }: ContractGrant,
  persons: LoopPersons,
): Promise<Identity | Missing> {
  const pseudonym = persons.known(person) ?? (await persons.find(person));
  if (pseudonym !== undefined) return { ...identity, pseudonym };
  return { missing: "identity_unavailable", detail: "there is no key to record its person under" };
}

/** A key is judged by its dates at every look, not only when its request began. */
export function withinValidity({ identity, row }: Asked<Asker>, nowMs: number): Identity | Missing {
  if (row === undefined || isMissing(identity)) return identity;
  const isOver = row.notAfterMs !== 0 && nowMs >= row.notAfterMs;
  return nowMs < row.notBeforeMs || isOver ? { missing: "key_expired" } : identity;
}

/**
 * Asks for the key again if any key has changed since: it may have been removed meanwhile. A contract's rate
 * changes without that, when a part of it is delegated, so whoever has one is asked for in any case.
 */
export function identifyAgain(asked: Asked, loop: LoopContext, named?: NamedKey | Missing) {
  const { row } = asked;
  if (row === undefined) return undefined;
  const areKeysSame = row.keyGeneration === keyGeneration(loop.table);
  if (areKeysSame && row.contract === undefined) return undefined;
  const again = named ?? namedKey(asked.exchange);
  return isMissing(again) ? undefined : askAgain(asked, row, again, loop);
}

async function askAgain(asked: Asked, row: RowGrant, named: NamedKey, loop: LoopContext) {
  const { exchange } = asked;
  const { handle, isContract } = named;
  const answer = await loop.meshLink.resolveKey(handle, exchange.head.peer, isContract);
  if (typeof answer === "string") asked.identity = { missing: unknownKey(answer, loop) };
  else if (answer.agentId !== row.agentId || answer.contractId !== row.contractId) {
    asked.identity = { missing: "key_revoked" };
  } else if (answer.contract !== undefined) asked.row = { ...row, contract: answer.contract };
}

/** The contract that the key was born with, if it counts from where the request came. */
export function contractOf({ row, exchange }: Asked<Asker>): Facts["contract"] {
  const contract = row?.contract;
  if (contract === undefined) return undefined;
  const { source } = contract;
  return source === "" || source === exchange.head.peer ? contract : { missing: "contract_source" };
}

/** A node that may have missed records cannot say that there is no such key. */
function unknownKey(reason: Reason, loop: LoopContext): Reason {
  const knows = isFresh(loop.table, loop.clock.monoNs());
  return reason === "key_unknown" && !knows ? "identity_unavailable" : reason;
}

type AskedKey = { readonly handle: string; readonly peer: string; readonly isContract: boolean };

/** A row may be freed between the answer and the pin; then the key is asked for once more. */
function pinnedRow(of: AskedKey, loop: LoopContext, attemptsLeft = 2): AtOnce<KeyAnswer> {
  if (attemptsLeft === 0) return "identity_unavailable";
  const { handle, peer, isContract } = of;
  return andThen(loop.meshLink.resolveKey(handle, peer, isContract), (row) => {
    if (typeof row === "string") return row;
    const isStale = row.contract !== undefined && row.contract.freshUntilNs <= loop.clock.monoNs();
    if (!isStale && pin(loop.table, loop.loop, row)) return row;
    loop.meshLink.forget(handle);
    return pinnedRow(of, loop, attemptsLeft - 1);
  });
}
