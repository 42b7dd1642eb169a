import type { Random } from "../../ports/random.ts";
import type { Door } from "../decision/facts.ts";
import type { ClientExchange, ExchangeHost } from "./client-exchange.ts";
import type { Exchange } from "./exchange.ts";
import type { HeadViolation } from "./head-rules.ts";
import { type DoorRefusal, refusalAnswer } from "./refusal-answer.ts";

/** A refusal that no exchange was ever served for, as the log wants it. */
export type RefusedAtDoor = DoorRefusal & {
  /** Remote address without port. */
  readonly peer: string;
  /** As received; `undefined` where no head could be parsed. */
  readonly method: string | undefined;
  readonly target: string | undefined;
  readonly door: Door;
};

/** What whatever brings requests to a door needs of it. */
export type ServingHost = ExchangeHost & {
  readonly random: Random;
  readonly onExchange: (exchange: Exchange) => void | Promise<void>;
  readonly onRefused: (refused: RefusedAtDoor) => void;
  readonly isDraining: () => boolean;
};

/** Registers an exchange and has it served, or refused for what its head is. */
export function serveExchange(
  exchange: ClientExchange,
  violation: HeadViolation | undefined,
  host: ServingHost,
): void {
  host.registry.register(exchange);
  if (violation !== undefined) refuse(exchange, violation, host);
  else hand(exchange, host);
}

function refuse(
  exchange: ClientExchange,
  { reason, detail }: HeadViolation,
  { door, onRefused }: ServingHost,
): void {
  const { requestId, head } = exchange;
  exchange.answer(refusalAnswer({ requestId, reason, detail }));
  const { method, target, peer } = head;
  onRefused({ requestId, reason, detail, peer, method, target, door });
}

function hand(exchange: ClientExchange, host: ServingHost): void {
  try {
    const served = host.onExchange(exchange);
    if (served instanceof Promise) served.catch((error) => failed(exchange, error, host));
  } catch (error) {
    failed(exchange, error, host);
  }
}

/** A bug of ours ends this exchange and no other. */
function failed(exchange: ClientExchange, error: unknown, { onFault }: ServingHost): void {
  onFault(error);
  const { requestId } = exchange;
  if (exchange.isUnanswered())
    exchange.answer(refusalAnswer({ requestId, reason: "stage_failed" }));
  else exchange.reset();
}
