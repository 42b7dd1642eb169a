import { addressBytes } from "./address-bytes.ts";
import { KILLED_SETS, TABLE } from "./daemonset-ruleset.ts";
import { ofFamily } from "./kernel-view.ts";
import { ackOf, attribute, FLAG, netlinkMessage, netlinkMessages } from "./netlink-message.ts";

// One change of the sets that hold addresses, as the kernel takes it: a batch of one message for each family. What
// `nft add element` would say, without starting a program and without reading the set first.
// Source: linux/netfilter/nf_tables.h and nfnetlink.h.

const BATCH_BEGIN = 0x10;
const BATCH_END = 0x11;
const SUBSYSTEM_NFTABLES = 10;
const NEW_SET_ELEMENT = (SUBSYSTEM_NFTABLES << 8) | 12;
const DELETE_SET_ELEMENT = (SUBSYSTEM_NFTABLES << 8) | 14;
const FAMILY_INET = 1;
const ATTRIBUTE = { table: 1, set: 2, elements: 3, element: 1, key: 1, value: 1 } as const;

/**
 * Addresses of one batch. The kernel counts the bytes of a list of elements in 16 bits, of which an IPv6
 * address takes 32, and takes no message beyond the socket's buffer.
 */
export const BATCH_ADDRESSES_MAX = 1_000;

/**
 * Makes the batch that adds addresses to the killed sets of their families, or takes them away from these or the
 * knocked ones: all or none of them. The kernel answers once, after the last, or tells of the first that failed.
 *
 * @param addresses At least one, at most BATCH_ADDRESSES_MAX.
 */
export function killedSetBatch(
  change: "add" | "delete",
  addresses: readonly string[],
  sets: Readonly<Record<4 | 6, string>> = KILLED_SETS,
): Uint8Array {
  const families = ([4, 6] as const).filter((family) => ofFamily(addresses, family).length > 0);
  const messages = families.map((family, i) => {
    const isAdd = change === "add";
    // An element that is there already is no error: a kill may come twice.
    const flags = (i === families.length - 1 ? FLAG.ack : 0) | (isAdd ? FLAG.create : 0);
    const type = isAdd ? NEW_SET_ELEMENT : DELETE_SET_ELEMENT;
    const body = elementsBody(sets[family], ofFamily(addresses, family));
    return netlinkMessage({ type, flags, no: 2 + i, body });
  });
  const batch = generic(0, SUBSYSTEM_NFTABLES);
  return Buffer.concat([
    netlinkMessage({ type: BATCH_BEGIN, flags: 0, no: 1, body: batch }),
    ...messages,
    netlinkMessage({ type: BATCH_END, flags: 0, no: 2 + families.length, body: batch }),
  ]);
}

function elementsBody(set: string, addresses: readonly string[]): Buffer {
  const elements = addresses.map((address) =>
    attribute(
      ATTRIBUTE.element,
      attribute(ATTRIBUTE.key, attribute(ATTRIBUTE.value, addressBytes(address)), true),
      true,
    ),
  );
  return Buffer.concat([
    generic(FAMILY_INET, 0),
    attribute(ATTRIBUTE.table, text(TABLE)),
    attribute(ATTRIBUTE.set, text(set)),
    attribute(ATTRIBUTE.elements, Buffer.concat(elements), true),
  ]);
}

/** The kernel's word on the batch: 0, an error's number, or `undefined` before it was said. */
export function batchResult(answer: Uint8Array): number | undefined {
  const acks = netlinkMessages(answer).flatMap((message) => ackOf(message) ?? []);
  return acks.find((code) => code !== 0) ?? acks[0];
}

/** What follows the header of every netfilter message; its number alone is in the network's order. */
function generic(family: number, subsystem: number): Buffer {
  return Buffer.from([family, 0, subsystem >> 8, subsystem & 0xff]);
}

function text(value: string): Buffer {
  return Buffer.from(`${value}\0`, "latin1");
}
