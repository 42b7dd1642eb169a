import { connect, type Socket } from "node:net";
import { onTestFinished } from "vitest";
import { eventually, HOST } from "../door.ts";

export const FRAME = {
  data: 0,
  headers: 1,
  reset: 3,
  settings: 4,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;
/** Flags of HEADERS and DATA. */
export const END_STREAM = 1;
export const END_HEADERS = 4;
const ACK = 1;

const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

export type Frame = { readonly type: number; readonly stream: number; readonly payload: Buffer };

export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Uint8Array = new Uint8Array(0),
): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** A header written out, neither looked up nor remembered. @see RFC 7541, section 6.2.2 */
export function header(name: string, value: string): Buffer {
  return Buffer.concat([Buffer.of(0), text(name), text(value)]);
}

function text(of: string): Buffer {
  const length = Buffer.byteLength(of);
  if (length < 127) return Buffer.concat([Buffer.of(length), Buffer.from(of)]);
  const bytes = [127];
  let rest = length - 127;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  bytes.push(rest);
  return Buffer.concat([Buffer.from(bytes), Buffer.from(of)]);
}

/** The head of a GET, but for what is named. */
export function head(over: Readonly<Record<string, string>> = {}, more: readonly Buffer[] = []) {
  const pseudo = { ":method": "GET", ":scheme": "https", ":authority": "a", ":path": "/", ...over };
  return Buffer.concat([...Object.entries(pseudo).map(([n, v]) => header(n, v)), ...more]);
}

/** A client that sends just the frames that it is told to, and that it has read the settings. */
export async function frameClient(port: number, { acknowledges = true } = {}) {
  const socket: Socket = connect(port, HOST);
  const got: Frame[] = [];
  let bytes = Buffer.alloc(0);
  socket.on("error", () => undefined);
  socket.on("data", (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk]);
    while (bytes.length >= 9 && bytes.length >= 9 + bytes.readUIntBE(0, 3)) {
      const end = 9 + bytes.readUIntBE(0, 3);
      const payload = Buffer.from(bytes.subarray(9, end));
      got.push({ type: bytes[3] as number, stream: bytes.readUInt32BE(5), payload });
      bytes = bytes.subarray(end);
    }
  });
  onTestFinished(() => void socket.destroy());
  socket.write(Buffer.concat([PREFACE, frame(FRAME.settings, 0, 0)]));
  const of = (type: number) => got.filter((one) => one.type === type);
  await eventually(() => of(FRAME.settings).length > 0, "its settings");
  if (acknowledges) socket.write(frame(FRAME.settings, ACK, 0));
  return {
    socket,
    of,
    send: (...frames: readonly Buffer[]) => socket.write(Buffer.concat(frames)),
  };
}
