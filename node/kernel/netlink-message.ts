// The frame that every netlink message has: length, type, flags, number, port. Numbers are in the
// machine's own byte order, which is little-endian wherever this runs.
// Source: linux/netlink.h, and Documentation/userspace-api/netlink/intro.rst.

export const FLAG = { request: 0x1, ack: 0x4, dump: 0x300, create: 0x400 } as const;
const TYPE_ERROR = 2;
const TYPE_DONE = 3;
const HEADER_BYTES = 16;

export type NetlinkMessage = { readonly type: number; readonly body: Uint8Array };

/** One message with its header. */
export function netlinkMessage(of: {
  readonly type: number;
  readonly flags: number;
  readonly no: number;
  readonly body: Uint8Array;
}): Buffer {
  const message = Buffer.alloc(HEADER_BYTES + padded(of.body.length));
  message.writeUInt32LE(HEADER_BYTES + of.body.length, 0);
  message.writeUInt16LE(of.type, 4);
  message.writeUInt16LE(of.flags | FLAG.request, 6);
  message.writeUInt32LE(of.no, 8);
  message.set(of.body, HEADER_BYTES);
  return message;
}

/** Everything in an answer; a piece at the end that is no whole message is left out. */
export function netlinkMessages(answer: Uint8Array): readonly NetlinkMessage[] {
  const bytes = Buffer.from(answer.buffer, answer.byteOffset, answer.byteLength);
  const messages: NetlinkMessage[] = [];
  for (let at = 0; at + HEADER_BYTES <= bytes.length; ) {
    const length = bytes.readUInt32LE(at);
    if (length < HEADER_BYTES || at + length > bytes.length) break;
    const body = bytes.subarray(at + HEADER_BYTES, at + length);
    messages.push({ type: bytes.readUInt16LE(at + 4), body });
    at += padded(length);
  }
  return messages;
}

/** The kernel's word on a request: 0, or the number of an error. */
export function ackOf(message: NetlinkMessage): number | undefined {
  if (message.type !== TYPE_ERROR || message.body.length < 4) return undefined;
  return Math.abs(Buffer.from(message.body).readInt32LE(0));
}

/** The end of a list, or an error instead of it. */
export function isLast({ type }: NetlinkMessage): boolean {
  return type === TYPE_DONE || type === TYPE_ERROR;
}

/** One attribute: length, type, value, and blanks up to a multiple of four. */
export function attribute(type: number, value: Uint8Array, isNested = false): Buffer {
  const NESTED = 0x8000;
  const bytes = Buffer.alloc(padded(4 + value.length));
  bytes.writeUInt16LE(4 + value.length, 0);
  bytes.writeUInt16LE(isNested ? type | NESTED : type, 2);
  bytes.set(value, 4);
  return bytes;
}

function padded(length: number): number {
  return (length + 3) & ~3;
}
