import { addressBytes } from "./address-bytes.ts";
import { ofFamily } from "./kernel-view.ts";
import { BATCH_ADDRESSES_MAX, killedSetBatch } from "./set-elements.ts";

/**
 * What each scope means to the kernel, for the program that closes the gate: for each scope a frame of its
 * length, its name, a zero, its addresses of IPv4 and of IPv6, each list behind its count, and the batches
 * that add them to the killed sets, each behind its own length. An empty frame says that the list is
 * whole; it then replaces the one before.
 *
 * @see node/kernel/gate-helper/gate-helper.c, take_frame
 */
export function gateTable(addresses: ReadonlyMap<string, readonly string[]>): Uint8Array {
  const frames = [...addresses]
    .filter(([, of]) => of.length > 0)
    .map(([scope, of]) =>
      withLength(Buffer.concat([Buffer.from(`${scope}\0`), ...peers(of), ...batches(of)])),
    );
  return Buffer.concat([...frames, withLength(Buffer.alloc(0))]);
}

/** Whose sockets end with the kill. */
function peers(addresses: readonly string[]): Buffer[] {
  return ([4, 6] as const).map((family) => {
    const of = ofFamily(addresses, family);
    return withNumber(of.length, Buffer.concat(of.map(addressBytes)));
  });
}

function batches(addresses: readonly string[]): Buffer[] {
  const all: Buffer[] = [];
  for (let at = 0; at < addresses.length; at += BATCH_ADDRESSES_MAX) {
    const some = addresses.slice(at, at + BATCH_ADDRESSES_MAX);
    all.push(withLength(killedSetBatch("add", some)));
  }
  return all;
}

function withLength(bytes: Uint8Array): Buffer {
  return withNumber(bytes.length, bytes);
}

/** Numbers are in the machine's own order, as netlink's are. */
function withNumber(number: number, bytes: Uint8Array): Buffer {
  const before = Buffer.alloc(4);
  before.writeUInt32LE(number);
  return Buffer.concat([before, bytes]);
}
