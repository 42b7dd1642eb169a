import { connect } from "node:net";
import type { Clock } from "../ports/clock.ts";

/** What a NATS server says of itself to whoever connects. */
export type NatsInfo = { readonly version: string; readonly jetstream: boolean };

const INFO_BYTES_MAX = 64 * 1024;
const PORT_DEFAULT = 4_222;

/**
 * Connects and reads the server's first line; nothing is sent.
 *
 * @see https://docs.nats.io/reference/reference-protocols/nats-protocol#info
 * @returns The system's word for why not, when there is no such line in time.
 */
export function natsInfo(url: string, timeoutMs: number, clock: Clock): Promise<NatsInfo | string> {
  return new Promise((resolve) => {
    const { hostname, port } = new URL(url);
    const socket = connect({ host: hostname, port: port === "" ? PORT_DEFAULT : Number(port) });
    let text = "";
    const end = (answer: NatsInfo | string) => {
      cancel();
      socket.destroy();
      resolve(answer);
    };
    const cancel = clock.after(timeoutMs, () => end("no answer in time"));
    socket.once("error", ({ code = "unknown" }: NodeJS.ErrnoException) => end(code));
    socket.once("close", () => end("it hung up"));
    socket.on("data", (bytes) => {
      text += bytes.toString("latin1");
      const line = text.split("\r\n", 1)[0] ?? "";
      if (text.includes("\r\n")) end(read(line));
      else if (text.length > INFO_BYTES_MAX) end("what answers is no NATS server");
    });
  });
}

function read(line: string): NatsInfo | string {
  try {
    const info = JSON.parse(line.slice("INFO ".length)) as Record<string, unknown>;
    const { version, jetstream } = info;
    if (line.startsWith("INFO ") && typeof version === "string") {
      return { version, jetstream: jetstream === true };
    }
  } catch {
    // What is no JSON is said below.
  }
  return "what answers is no NATS server";
}
