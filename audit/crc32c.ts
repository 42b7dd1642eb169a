// Eight tables, one after the other, let eight bytes be folded per step: a frame is on the path of every
// request.
const TABLE = buildTable();
/** The bytes are copied here first, so that they can be read four at a time wherever they lie. */
const COPY = new Uint8Array(4 * 1024);
const WORDS = new Int32Array(COPY.buffer);
const IS_LITTLE_ENDIAN = new Uint8Array(Int32Array.of(1).buffer)[0] === 1;

/**
 * CRC-32C (Castagnoli) of the bytes, unsigned.
 *
 * @see https://www.rfc-editor.org/rfc/rfc3720#appendix-B.4
 */
export function crc32c(bytes: Uint8Array): number {
  let crc = -1;
  for (let at = 0; at < bytes.length; at += COPY.length) {
    const piece = bytes.length > COPY.length ? bytes.subarray(at, at + COPY.length) : bytes;
    crc = fold(crc, piece);
  }
  return ~crc >>> 0;
}

function fold(before: number, bytes: Uint8Array): number {
  let crc = before;
  const words = IS_LITTLE_ENDIAN ? bytes.length >>> 3 : 0;
  COPY.set(bytes);
  for (let no = 0; no < words; no++) {
    const low = crc ^ (WORDS[2 * no] as number);
    const high = WORDS[2 * no + 1] as number;
    crc =
      (TABLE[0x700 | (low & 255)] as number) ^
      (TABLE[0x600 | ((low >>> 8) & 255)] as number) ^
      (TABLE[0x500 | ((low >>> 16) & 255)] as number) ^
      (TABLE[0x400 | (low >>> 24)] as number) ^
      (TABLE[0x300 | (high & 255)] as number) ^
      (TABLE[0x200 | ((high >>> 8) & 255)] as number) ^
      (TABLE[0x100 | ((high >>> 16) & 255)] as number) ^
      (TABLE[high >>> 24] as number);
  }
  for (let at = 8 * words; at < bytes.length; at++) {
    crc = (TABLE[(crc ^ (COPY[at] as number)) & 255] as number) ^ (crc >>> 8);
  }
  return crc;
}

function buildTable(): Int32Array {
  const table = new Int32Array(8 * 256);
  for (let value = 0; value < 256; value++) {
    let crc = value;
    // 0x82f63b78 is the Castagnoli polynomial with its bits reversed.
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
    table[value] = crc;
  }
  for (let at = 256; at < table.length; at++) {
    const crc = table[at - 256] as number;
    table[at] = (table[crc & 255] as number) ^ (crc >>> 8);
  }
  return table;
}
