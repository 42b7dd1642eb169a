import { addressBytes } from "./address-bytes.ts";

// A knock is a datagram that a machine sends to itself, and never leaves it. The kernel's rules take the address
// that it holds into a set, in the moment in which it is sent and within the sender's own system call, and write
// into it that they have. So it needs nobody to be woken, and what comes back says what was done.

/** The mark of the one socket whose datagrams are knocks. To put it on takes CAP_NET_ADMIN, and the launcher does. */
export const MARK_KNOCK = 0x40;
/** What a knock begins with when it is sent, and when the rules have taken it. */
export const KNOCK_ASKED = 0x3f;
export const KNOCK_TAKEN = 0x59;
/** Headers of UDP. */
const HEADER_BYTES = 8;
const LENGTH = { 4: 1 + 4, 6: 1 + 16 } as const;

/** The sets that knocks fill. An address leaves them by itself: the enforcer, which is told too, remembers it. */
export const KNOCKED_SETS = { 4: "knocked4", 6: "knocked6" } as const;
export const KNOCKED_FOR = "10m";

/** Where the address lies, in nft's words: counted in bits from the UDP header. */
const bits = { 4: "@th,72,32", 6: "@th,72,128" } as const;

/** The declaration of a set that knocks fill. */
export function knockedSet(family: 4 | 6): string {
  return (
    `  set ${KNOCKED_SETS[family]} { typeof ${bits[family]}; size 65535; ` +
    `flags dynamic,timeout; timeout ${KNOCKED_FOR}; }`
  );
}

/** The rule that takes the knocks of a family. */
export function knockRule(family: 4 | 6): string {
  const byte = (value: number) => `0x${value.toString(16)}`;
  return (
    `oifname "lo" meta mark ${byte(MARK_KNOCK)} meta nfproto ipv4 meta l4proto udp ` +
    `udp length ${HEADER_BYTES + LENGTH[family]} @th,64,8 ${byte(KNOCK_ASKED)} ` +
    `update @${KNOCKED_SETS[family]} { ${bits[family]} } @th,64,8 set ${byte(KNOCK_TAKEN)} accept`
  );
}

/** The knock for an address. */
export function knockOf(address: string): Uint8Array {
  return Uint8Array.of(KNOCK_ASKED, ...addressBytes(address));
}

/** Whether what came back is this knock, taken. */
export function isTaken(knock: Uint8Array, heard: Uint8Array): boolean {
  return (
    heard.length === knock.length &&
    heard[0] === KNOCK_TAKEN &&
    heard.every((byte, at) => at === 0 || byte === knock[at])
  );
}
