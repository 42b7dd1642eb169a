import { inflateRawSync } from "node:zlib";

/** One file of an archive. */
export type ZipEntry = {
  /** With forward slashes, never absolute, never with `..`. */
  readonly name: string;
  /** Unpacks it; throws ZipError when the archive is damaged. */
  read(): Buffer;
};

export class ZipError extends Error {}

const END_SIGNATURE = 0x06054b50;
const END_BYTES = 22;
const CENTRAL_SIGNATURE = 0x02014b50;
const CENTRAL_BYTES = 46;
const LOCAL_SIGNATURE = 0x04034b50;
const LOCAL_BYTES = 30;
const COMMENT_BYTES_MAX = 0xffff;

/**
 * Lists an archive as Go's module zips are: stored or deflated files, less than 65,535 of them and
 * less than 4 GiB. Anything else is a ZipError.
 *
 * @see https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
 */
export function readZip(bytes: Buffer): readonly ZipEntry[] {
  const end = endOfDirectory(bytes);
  const count = bytes.readUInt16LE(end + 10);
  let at = bytes.readUInt32LE(end + 16);
  if (count === 0xffff || at === 0xffffffff) throw new ZipError("a zip64 archive");
  const entries: ZipEntry[] = [];
  for (let i = 0; i < count; i += 1) {
    if (bytes.readUInt32LE(at) !== CENTRAL_SIGNATURE) throw new ZipError("a damaged directory");
    const nameBytes = bytes.readUInt16LE(at + 28);
    const name = bytes.toString("utf8", at + CENTRAL_BYTES, at + CENTRAL_BYTES + nameBytes);
    if (!isSafeName(name)) throw new ZipError(`the unsafe name ${JSON.stringify(name)}`);
    const place = {
      method: bytes.readUInt16LE(at + 10),
      packedBytes: bytes.readUInt32LE(at + 20),
      plainBytes: bytes.readUInt32LE(at + 24),
      header: bytes.readUInt32LE(at + 42),
    };
    if (!name.endsWith("/")) entries.push({ name, read: () => unpack(bytes, name, place) });
    at += CENTRAL_BYTES + nameBytes + bytes.readUInt16LE(at + 30) + bytes.readUInt16LE(at + 32);
  }
  return entries;
}

type Place = {
  readonly method: number;
  readonly packedBytes: number;
  readonly plainBytes: number;
  readonly header: number;
};

function endOfDirectory(bytes: Buffer): number {
  const first = Math.max(0, bytes.length - END_BYTES - COMMENT_BYTES_MAX);
  for (let at = bytes.length - END_BYTES; at >= first; at -= 1) {
    if (bytes.readUInt32LE(at) === END_SIGNATURE) return at;
  }
  throw new ZipError("no archive");
}

function unpack(bytes: Buffer, name: string, place: Place): Buffer {
  const { method, packedBytes, plainBytes, header } = place;
  if (bytes.readUInt32LE(header) !== LOCAL_SIGNATURE) throw new ZipError(`${name} is damaged`);
  const start =
    header + LOCAL_BYTES + bytes.readUInt16LE(header + 26) + bytes.readUInt16LE(header + 28);
  const packed = bytes.subarray(start, start + packedBytes);
  if (method !== 0 && method !== 8) throw new ZipError(`${name} is packed by method ${method}`);
  const plain = method === 0 ? packed : inflateRawSync(packed, { maxOutputLength: plainBytes + 1 });
  if (plain.length !== plainBytes) throw new ZipError(`${name} has not the size it claims`);
  return plain;
}

function isSafeName(name: string): boolean {
  if (name === "" || name.startsWith("/") || /[\\\0:]/.test(name)) return false;
  return !name.split("/").includes("..");
}
