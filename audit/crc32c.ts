// Eight tables let eight bytes be folded per step: a frame is on the path of every request.
const TABLES = buildTables();

/**
 * CRC-32C (Castagnoli) of the bytes, unsigned.
 *
 * @see https://www.rfc-editor.org/rfc/rfc3720#appendix-B.4
 */
export function crc32c(bytes: Uint8Array): number {
  const [t0, t1, t2, t3, t4, t5, t6, t7] = TABLES;
  let crc = 0xffffffff;
  let at = 0;
  const whole = bytes.length - (bytes.length % 8);
  for (; at < whole; at += 8) {
    crc ^=
      byte(bytes, at) |
      (byte(bytes, at + 1) << 8) |
      (byte(bytes, at + 2) << 16) |
      (byte(bytes, at + 3) << 24);
    crc =
      cell(t7, crc & 255) ^
      cell(t6, (crc >>> 8) & 255) ^
      cell(t5, (crc >>> 16) & 255) ^
      cell(t4, crc >>> 24) ^
      cell(t3, byte(bytes, at + 4)) ^
      cell(t2, byte(bytes, at + 5)) ^
      cell(t1, byte(bytes, at + 6)) ^
      cell(t0, byte(bytes, at + 7));
  }
  for (; at < bytes.length; at++) crc = cell(t0, (crc ^ byte(bytes, at)) & 255) ^ (crc >>> 8);
  return ~crc >>> 0;
}

type Tables = readonly [
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
];

function byte(bytes: Uint8Array, at: number): number {
  return bytes[at] as number;
}

function cell(table: Int32Array, at: number): number {
  return table[at] as number;
}

function buildTables(): Tables {
  const tables = Array.from({ length: 8 }, () => new Int32Array(256)) as unknown as Tables;
  for (let value = 0; value < 256; value++) {
    let crc = value;
    // 0x82f63b78 is the Castagnoli polynomial with its bits reversed.
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
    tables[0][value] = crc;
  }
  for (let row = 1; row < 8; row++) {
    const [above, here] = [tables[row - 1] as Int32Array, tables[row] as Int32Array];
    for (let value = 0; value < 256; value++) {
      const crc = cell(above, value);
      here[value] = cell(tables[0], crc & 255) ^ (crc >>> 8);
    }
  }
  return tables;
}
