/** Unpredictable bytes; seeded in simulation. */
export type Random = { bytes(count: number): Uint8Array };

/**
 * A UUIDv7: 48 bits of time, then random bits, so that ids sort by the time they were drawn.
 *
 * @param nowMs Wall clock, milliseconds since the Unix epoch.
 * @see https://www.rfc-editor.org/rfc/rfc9562#section-5.7
 */
export function uuidV7(nowMs: number, random: Random): string {
  const drawn = random.bytes(10);
  put(0, Math.floor(nowMs / 2 ** 40));
  put(2, Math.floor(nowMs / 2 ** 32) & 0xff);
  put(4, (nowMs >>> 24) & 0xff);
  put(6, (nowMs >>> 16) & 0xff);
  put(9, (nowMs >>> 8) & 0xff);
  put(11, nowMs & 0xff);
  put(14, 0x70 | ((drawn[0] as number) & 0x0f));
  put(16, drawn[1] as number);
  put(19, 0x80 | ((drawn[2] as number) & 0x3f));
  put(21, drawn[3] as number);
  for (let no = 4; no < 10; no++) put(16 + 2 * no, drawn[no] as number);
  return UUID.toString("latin1");
}

/** Milliseconds since the Unix epoch in a UUIDv7; `undefined` for any other text. */
export function timeOfUuidV7(id: string): number | undefined {
  const match = UUID_V7.exec(id);
  return match ? Number.parseInt(`${match[1]}${match[2]}`, 16) : undefined;
}

const UUID_V7 = /^([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/** Every request has an id: its digits are put where they stand, once, instead of cut out of a text. */
const UUID = Buffer.from("00000000-0000-0000-0000-000000000000", "latin1");
const DIGITS = Buffer.from("0123456789abcdef", "latin1");

function put(at: number, byte: number): void {
  UUID[at] = DIGITS[byte >>> 4] as number;
  UUID[at + 1] = DIGITS[byte & 0x0f] as number;
}
