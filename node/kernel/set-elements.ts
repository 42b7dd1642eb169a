import { addressBytes } from "./address-bytes.ts";
import { KILLED_SETS, TABLE } from "./daemonset-ruleset.ts";
import { ackOf, attribute, FLAG, netlinkMessage, netlinkMessages } from "./netlink-message.ts";

// One change of a killed set, as the kernel takes it: a batch of one message. What `nft add element`
// would say, without starting a program and without reading the set first.
// Source: linux/netfilter/nf_tables.h and nfnetlink.h.

const BATCH_BEGIN = 0x10;
const BATCH_END = 0x11;
const SUBSYSTEM_NFTABLES = 10;
const NEW_SET_ELEMENT = (SUBSYSTEM_NFTABLES << 8) | 12;
const DELETE_SET_ELEMENT = (SUBSYSTEM_NFTABLES << 8) | 14;
const FAMILY_INET = 1;
const ATTRIBUTE = { table: 1, set: 2, elements: 3, element: 1, key: 1, value: 1 } as const;

/** Makes the batch that adds addresses of one family to its killed set, or takes one away. */
export function killedSetBatch(
  change: "add" | "delete",
  addresses: readonly string[],
  family: 4 | 6,
): Uint8Array {
  const elements = addresses.map((address) =>
    attribute(
      ATTRIBUTE.element,
      attribute(ATTRIBUTE.key, attribute(ATTRIBUTE.value, addressBytes(address)), true),
      true,
    ),
  );
  const body = Buffer.concat([
    generic(FAMILY_INET, 0),
    attribute(ATTRIBUTE.table, text(TABLE)),
    attribute(ATTRIBUTE.set, text(KILLED_SETS[family])),
    attribute(ATTRIBUTE.elements, Buffer.concat(elements), true),
  ]);
  const isAdd = change === "add";
  const type = isAdd ? NEW_SET_ELEMENT : DELETE_SET_ELEMENT;
  // An element that is there already is no error: a kill may come twice.
  const flags = FLAG.ack | (isAdd ? FLAG.create : 0);
  const batch = generic(0, SUBSYSTEM_NFTABLES);
  return Buffer.concat([
    netlinkMessage({ type: BATCH_BEGIN, flags: 0, no: 1, body: batch }),
    netlinkMessage({ type, flags, no: 2, body }),
    netlinkMessage({ type: BATCH_END, flags: 0, no: 3, body: batch }),
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
