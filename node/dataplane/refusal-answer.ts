import { http } from "../../ports/http-module.ts";
import { REASONS, type Reason, stageOf } from "../../proto/reasons.ts";
import { stageName } from "../decision/chain.ts";
import type { Answer } from "./exchange.ts";
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

/** An answer as it stands on the wire, for sockets that have no response object. */
export function answerBytes(answer: Answer): Buffer {
  const { status, headers, body } = answer;
  let head = `HTTP/1.1 ${status} ${http.STATUS_CODES[status] ?? ""}\r\n`;
  for (let i = 0; i < headers.length; i += 2) head += `${headers[i]}: ${headers[i + 1]}\r\n`;
  head += `content-length: ${body.byteLength}\r\nconnection: close\r\n\r\n`;
  return Buffer.concat([Buffer.from(head, "latin1"), body]);
}
