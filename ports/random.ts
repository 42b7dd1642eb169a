/** Unpredictable bytes; seeded in simulation. */
export type Random = { bytes(count: number): Uint8Array };

/**
 * A UUIDv7: 48 bits of time, then random bits, so that ids sort by the time they were drawn.
 *
 * @param nowMs Wall clock, milliseconds since the Unix epoch.
 * @see https://www.rfc-editor.org/rfc/rfc9562#section-5.7
 */
export function uuidV7(nowMs: number, random: Random): string {
  const bytes = Buffer.alloc(16);
  bytes.writeUIntBE(nowMs, 0, 6);
  bytes.set(random.bytes(10), 6);
  bytes[6] = 0x70 | ((bytes[6] as number) & 0x0f);
  bytes[8] = 0x80 | ((bytes[8] as number) & 0x3f);
  const hex = bytes.toString("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
