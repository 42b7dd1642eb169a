import { Agent } from "undici";
import type { CallWitness } from "../ports/call-witness.ts";
import type { NameResolver } from "../ports/names.ts";

const CONNECT_TIMEOUT_MS = 5_000;
const HEAD_BYTES_MAX = 16 * 1024;
/** Connections to one witness. */
const CONNECTIONS_MAX = 4;
/** A connection that is not used goes. */
const IDLE_MS_MAX = 90_000;

export type WitnessClient = {
  readonly call: CallWitness;
  /** Gives up what is under way. */
  close(): Promise<void>;
};

/** HTTP towards witnesses, with connections that are used again. */
export function openWitnessClient(names: Pick<NameResolver, "lookup">): WitnessClient {
  const agent = new Agent({
    connections: CONNECTIONS_MAX,
    pipelining: 1,
    allowH2: false,
    maxHeaderSize: HEAD_BYTES_MAX,
    keepAliveTimeout: IDLE_MS_MAX,
    keepAliveMaxTimeout: IDLE_MS_MAX,
    connect: { timeout: CONNECT_TIMEOUT_MS, lookup: names.lookup, autoSelectFamily: true },
  });
  return {
    call: async (url, { method, body, answerBytesMax, timeoutMs }) => {
      const { origin, pathname } = new URL(url);
      const signal = AbortSignal.timeout(timeoutMs);
      const headers = { "content-type": "text/plain; charset=utf-8", "user-agent": "altrace" };
      const asked = { origin, path: pathname, method, headers, signal };
      const answer = await agent.request(body === undefined ? asked : { ...asked, body });
      const pieces: Buffer[] = [];
      let bytes = 0;
      for await (const piece of answer.body as AsyncIterable<Buffer>) {
        bytes += piece.length;
        if (bytes > answerBytesMax) {
          answer.body.destroy();
          throw new Error(`more than ${answerBytesMax} bytes`);
        }
        pieces.push(piece);
      }
      return { status: answer.statusCode, body: Buffer.concat(pieces) };
    },
    close: () => agent.destroy(),
  };
}
