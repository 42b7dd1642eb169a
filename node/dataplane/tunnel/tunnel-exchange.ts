import type { Reason } from "../../../proto/reasons.ts";
import type { Answer } from "../exchange.ts";
import { answerBytes } from "../refusal-answer.ts";
import { tlsAlert } from "../tls/tls-alert.ts";
import { CarriedExchange, type CarriedInput, type CarryHost } from "./carried-exchange.ts";
import type { ConnectTarget } from "./connect-head.ts";
import { forProxy } from "./proxy-challenge.ts";

export type TunnelInput = CarriedInput & {
  readonly target: ConnectTarget;
  /** Where a captured connection was going, `address:port`. */
  readonly original: string | undefined;
};

/** A connection that is to carry TLS: the client asks for it by CONNECT, or it was captured. */
export class TunnelExchange extends CarriedExchange {
  /** Of a captured connection the host is known once its first message names it. */
  target: ConnectTarget;
  readonly original: string | undefined;

  constructor(host: CarryHost, input: TunnelInput) {
    super(host, input, { isAsked: input.door === "forward" });
    this.target = input.target;
    this.original = input.original;
  }

  /** The host that a captured connection is for, and the message that said so. */
  name(host: string, first: Uint8Array): void {
    this.target = { host, port: this.target.port };
    this.first = first;
    this.heard();
  }

  establish(headers: readonly string[]): void {
    this.establishBy(200, headers);
  }

  protected override answerBytes(
    answer: Answer,
    { isAsked }: { readonly isAsked: boolean },
  ): Uint8Array {
    return isAsked ? answerBytes(forProxy(answer)) : tlsAlert(reasonIn(answer));
  }

  /** It has begun TLS, and is told in its words. */
  protected override lastWords(reason: Reason): Uint8Array {
    return tlsAlert(reason);
  }
}

function reasonIn({ headers }: Answer): Reason {
  return headers[headers.indexOf("x-altrace-reason") + 1] as Reason;
}
