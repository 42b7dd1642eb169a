import { BATCH_ADDRESSES_MAX, killedSetBatch } from "./set-elements.ts";

/**
 * What each scope means to the kernel, for the program that closes the gate: for each scope a frame of its
 * length, its name, a zero, and the batches that add its addresses to the killed sets, each behind its
 * own length. An empty frame says that the list is whole; it then replaces the one before.
 *
 * @see node/kernel/gate-helper/gate-helper.c, take_frame
 */
export function gateTable(addresses: ReadonlyMap<string, readonly string[]>): Uint8Array {
  const frames = [...addresses]
    .filter(([, of]) => of.length > 0)
    .map(([scope, of]) => withLength(Buffer.concat([Buffer.from(`${scope}\0`), ...batches(of)])));
  return Buffer.concat([...frames, withLength(Buffer.alloc(0))]);
}

function batches(addresses: readonly string[]): Buffer[] {
  const all: Buffer[] = [];
  for (let at = 0; at < addresses.length; at += BATCH_ADDRESSES_MAX) {
    const some = addresses.slice(at, at + BATCH_ADDRESSES_MAX);
    all.push(withLength(killedSetBatch("add", some)));
  }
  return all;
}

/** Numbers are in the machine's own order, as netlink's are. */
function withLength(bytes: Uint8Array): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(bytes.length);
  return Buffer.concat([length, bytes]);
}
