import { isHostName } from "../../../policy/hosts.ts";
import type { Reason } from "../../../proto/reasons.ts";

/** What the first message of a TLS connection says in the clear. */
export type ClientHello = {
  /** Server name, lower case; `undefined` when the client names none. */
  readonly serverName: string | undefined;
  /** Application protocols offered, in the client's order. */
  readonly protocols: readonly string[];
  /** The client sent an encrypted hello: whom it really means cannot be seen. */
  readonly isEncrypted: boolean;
};

/** Bytes of the message at most; browsers with post-quantum keys send about 2,000. */
export const HELLO_BYTES_MAX = 16 * 1024;
/** Records that one message may be spread over. */
export const HELLO_RECORDS_MAX = 64;
/** A record's payload at most: https://www.rfc-editor.org/rfc/rfc8446#section-5.1 */
const RECORD_BYTES_MAX = 16_384;
const RECORD_HEADER_BYTES = 5;
const MESSAGE_HEADER_BYTES = 4;
const HANDSHAKE_RECORD = 22;
const TLS_MAJOR = 3;
const CLIENT_HELLO = 1;
const HOST_NAME = 0;
const EXTENSION = { serverName: 0, protocols: 16, esni: 0xffce, ech: 0xfe0d } as const;

export type HelloReading = "more" | { readonly hello: ClientHello } | { readonly flaw: Reason };

/**
 * Reads a ClientHello from a stream of bytes, however it is cut into chunks and records.
 *
 * H1. It never reads past the message, and keeps no more than `HELLO_BYTES_MAX` of it.
 * H2. Everything whose length two readers could take differently is `tls_malformed`: lengths that do
 *     not add up, an extension that comes twice, more than one server name.
 *
 * @see https://www.rfc-editor.org/rfc/rfc8446#section-4.1.2
 * @see https://www.rfc-editor.org/rfc/rfc6066#section-3
 */
export class ClientHelloReader {
  readonly #message = Buffer.alloc(HELLO_BYTES_MAX);
  #messageLength = 0;
  readonly #header = Buffer.alloc(RECORD_HEADER_BYTES);
  #headerLength = 0;
  #recordLeft = 0;
  #records = 0;
  #end: Exclude<HelloReading, "more"> | undefined;

  push(chunk: Uint8Array): HelloReading {
    let at = 0;
    while (this.#end === undefined && at < chunk.length) {
      if (this.#recordLeft === 0) at = this.#takeHeader(chunk, at);
      else at = this.#takePayload(chunk, at);
    }
    return this.#end ?? "more";
  }

  #takeHeader(chunk: Uint8Array, from: number): number {
    let at = from;
    while (at < chunk.length && this.#headerLength < RECORD_HEADER_BYTES) {
      this.#header[this.#headerLength++] = chunk[at++] as number;
      // What is not TLS is told by its first bytes, and may never send five.
      const isTls = this.#header[0] === HANDSHAKE_RECORD;
      if (!isTls) return this.#stop("tls_required", at);
      if (this.#headerLength === 2 && this.#header[1] !== TLS_MAJOR) {
        return this.#stop("tls_malformed", at);
      }
    }
    if (this.#headerLength < RECORD_HEADER_BYTES) return at;
    this.#headerLength = 0;
    this.#recordLeft = this.#header.readUInt16BE(3);
    const isTooLong = this.#recordLeft > RECORD_BYTES_MAX || ++this.#records > HELLO_RECORDS_MAX;
    if (this.#recordLeft === 0 || isTooLong) return this.#stop("tls_malformed", at);
    return at;
  }

  #takePayload(chunk: Uint8Array, from: number): number {
    const count = Math.min(this.#recordLeft, chunk.length - from);
    if (this.#messageLength + count > HELLO_BYTES_MAX) return this.#stop("tls_malformed", from);
    this.#message.set(chunk.subarray(from, from + count), this.#messageLength);
    this.#messageLength += count;
    this.#recordLeft -= count;
    this.#readMessage();
    return from + count;
  }

  #readMessage(): void {
    const have = this.#messageLength;
    if (have === 0) return;
    if (this.#message[0] !== CLIENT_HELLO) {
      this.#end = { flaw: "tls_malformed" };
      return;
    }
    if (have < MESSAGE_HEADER_BYTES) return;
    const end = MESSAGE_HEADER_BYTES + this.#message.readUIntBE(1, 3);
    if (end > HELLO_BYTES_MAX || have > end) this.#end = { flaw: "tls_malformed" };
    // Nothing else may share its record: a second message could not be read yet.
    else if (have === end && this.#recordLeft > 0) this.#end = { flaw: "tls_malformed" };
    else if (have === end) {
      const hello = parseHello(this.#message.subarray(MESSAGE_HEADER_BYTES, end));
      this.#end = hello === undefined ? { flaw: "tls_malformed" } : { hello };
    }
  }

  #stop(flaw: Reason, at: number): number {
    this.#end = { flaw };
    return at;
  }
}

/** Reads lengths and what they enclose; `undefined` where they do not add up. */
class Fields {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get isEmpty(): boolean {
    return this.#at === this.#bytes.length;
  }

  take(count: number): Buffer | undefined {
    const end = this.#at + count;
    if (end > this.#bytes.length) return undefined;
    const taken = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }

  number(bytes: 1 | 2): number | undefined {
    return this.take(bytes)?.readUIntBE(0, bytes);
  }

  /** What stands behind its length. */
  vector(lengthBytes: 1 | 2): Buffer | undefined {
    const length = this.number(lengthBytes);
    return length === undefined ? undefined : this.take(length);
  }
}

const VERSION_AND_RANDOM_BYTES = 34;
const SESSION_ID_BYTES_MAX = 32;

function parseHello(body: Buffer): ClientHello | undefined {
  const fields = new Fields(body);
  if (fields.take(VERSION_AND_RANDOM_BYTES) === undefined) return undefined;
  const sessionId = fields.vector(1);
  const ciphers = fields.vector(2);
  const compressions = fields.vector(1);
  if (sessionId === undefined || sessionId.length > SESSION_ID_BYTES_MAX) return undefined;
  if (ciphers === undefined || ciphers.length < 2 || ciphers.length % 2 !== 0) return undefined;
  if (compressions === undefined || compressions.length === 0) return undefined;
  const none = { serverName: undefined, protocols: [], isEncrypted: false };
  if (fields.isEmpty) return none;
  const block = fields.vector(2);
  if (block === undefined || !fields.isEmpty) return undefined;
  const extensions = parseExtensions(block);
  return extensions && readExtensions(extensions);
}

function parseExtensions(block: Buffer): ReadonlyMap<number, Buffer> | undefined {
  const extensions = new Map<number, Buffer>();
  const fields = new Fields(block);
  while (!fields.isEmpty) {
    const type = fields.number(2);
    const value = fields.vector(2);
    if (type === undefined || value === undefined || extensions.has(type)) return undefined;
    extensions.set(type, value);
  }
  return extensions;
}

function readExtensions(extensions: ReadonlyMap<number, Buffer>): ClientHello | undefined {
  const name = extensions.get(EXTENSION.serverName);
  const offered = extensions.get(EXTENSION.protocols);
  const serverName = name && parseServerName(name);
  const protocols = offered === undefined ? [] : parseProtocols(offered);
  if (name !== undefined && serverName === undefined) return undefined;
  if (protocols === undefined) return undefined;
  const isEncrypted = extensions.has(EXTENSION.ech) || extensions.has(EXTENSION.esni);
  return { serverName, protocols, isEncrypted };
}

/** One host name and nothing beside it, or nothing. */
function parseServerName(value: Buffer): string | undefined {
  const outer = new Fields(value);
  const list = outer.vector(2);
  if (list === undefined || !outer.isEmpty) return undefined;
  const fields = new Fields(list);
  if (fields.number(1) !== HOST_NAME) return undefined;
  const name = fields.vector(2)?.toString("latin1").toLowerCase();
  if (name === undefined || !fields.isEmpty) return undefined;
  return isHostName(name) ? name : undefined;
}

function parseProtocols(value: Buffer): readonly string[] | undefined {
  const outer = new Fields(value);
  const list = outer.vector(2);
  if (list === undefined || !outer.isEmpty || list.length === 0) return undefined;
  const fields = new Fields(list);
  const protocols: string[] = [];
  while (!fields.isEmpty) {
    const protocol = fields.vector(1);
    if (protocol === undefined || protocol.length === 0) return undefined;
    protocols.push(protocol.toString("latin1"));
  }
  return protocols;
}
