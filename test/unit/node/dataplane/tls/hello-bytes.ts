import { Buffer } from "node:buffer";
import { once } from "node:events";
import { createServer } from "node:net";
import { connect } from "node:tls";

export type HelloParts = {
  readonly serverNames?: readonly string[];
  readonly protocols?: readonly string[];
  readonly more?: readonly (readonly [type: number, value: Buffer])[];
};

const u8 = (value: number) => Buffer.of(value);
const u16 = (value: number) => Buffer.of(value >> 8, value & 0xff);
const vec8 = (bytes: Buffer) => Buffer.concat([u8(bytes.length), bytes]);
const vec16 = (bytes: Buffer) => Buffer.concat([u16(bytes.length), bytes]);

export function extension(type: number, value: Buffer): Buffer {
  return Buffer.concat([u16(type), vec16(value)]);
}

/** The message alone, without record headers. */
export function helloMessage({ serverNames, protocols, more = [] }: HelloParts): Buffer {
  const extensions: Buffer[] = [];
  if (serverNames !== undefined) {
    const names = serverNames.map((name) => Buffer.concat([u8(0), vec16(Buffer.from(name))]));
    extensions.push(extension(0, vec16(Buffer.concat(names))));
  }
  if (protocols !== undefined) {
    const list = Buffer.concat(protocols.map((one) => vec8(Buffer.from(one))));
    extensions.push(extension(16, vec16(list)));
  }
  for (const [type, value] of more) extensions.push(extension(type, value));
  const body = Buffer.concat([
    u16(0x0303),
    Buffer.alloc(32, 7),
    vec8(Buffer.alloc(32, 1)),
    vec16(Buffer.from("130113021303", "hex")),
    vec8(u8(0)),
    vec16(Buffer.concat(extensions)),
  ]);
  return Buffer.concat([u8(1), u8(body.length >> 16), u16(body.length & 0xffff), body]);
}

/** The message in records of at most `recordBytes` each. */
export function records(message: Buffer, recordBytes = 16_384): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < message.length; at += recordBytes) {
    const payload = message.subarray(at, at + recordBytes);
    parts.push(Buffer.of(22, 3, 1), vec16(payload));
  }
  return Buffer.concat(parts);
}

export const clientHello = (parts: HelloParts): Buffer => records(helloMessage(parts));

/** What a real client sends first. */
export async function realHello(options: { servername?: string; ALPNProtocols?: string[] }) {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  const client = connect({ port, host: "127.0.0.1", ...options });
  client.on("error", () => undefined);
  const [socket] = await once(server, "connection");
  const [bytes] = (await once(socket, "data")) as [Buffer];
  client.destroy();
  socket.destroy();
  server.close();
  return bytes;
}
