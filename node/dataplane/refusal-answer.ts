import { REASONS, type Reason, stageOf } from "../../proto/reasons.ts";
import { stageName } from "../decision/chain.ts";
import type { Answer } from "./exchange.ts";
import { answerHead } from "./http1/answer-head.ts";
import { decisionHeaders } from "./response-headers.ts";

/** A refusal by the door itself, before anything knows which dialect the client speaks. */
export type DoorRefusal = {
  readonly requestId: string;
  readonly reason: Reason;
  /** Names and limits, never what the client sent. */
  readonly detail?: string;
};

/** The refusal in a shape that OpenAI's SDKs read and others can show. */
export function refusalAnswer({ requestId, reason, detail }: DoorRefusal): Answer {
  const { status, developer } = REASONS[reason];
  const message = detail === undefined ? developer : `${developer} (${detail})`;
  const error = { message, type: "altrace_refusal", param: null, code: reason };
  const refusal = { stage: stageName(stageOf(reason)), reason };
  const headers = decisionHeaders({ requestId, refusal });
  headers.push("content-type", "application/json");
  return { status, headers, body: Buffer.from(JSON.stringify({ error, request_id: requestId })) };
}

/** An answer as it stands on the wire, the last one there. */
export function answerBytes(
  { status, headers, body }: Answer,
  { isHead = false }: { readonly isHead?: boolean } = {},
): Buffer {
  const framing = `content-length: ${body.byteLength}\r\nconnection: close\r\n`;
  const head = Buffer.from(`${answerHead(status, headers)}${framing}\r\n`, "latin1");
  return isHead ? head : Buffer.concat([head, body]);
}
