// Small files that nothing else vouches for: a line, and behind it one with its CRC-32C.

import { crc32c } from "./crc32c.ts";

const CHECK = /^([^\n]*)\n([0-9a-f]{8})\n$/;
/** As versions before this one wrote it. */
const ALONE = /^([^\n]*)\n$/;

/** @param line Without its end. */
export function encodeCheckedLine(line: string): Buffer {
  return Buffer.from(`${line}\n${checkOf(line)}\n`, "utf8");
}

/** The line; undefined where it is not what was written. */
export function readCheckedLine(bytes: Uint8Array): string | undefined {
  const text = Buffer.from(bytes).toString("utf8");
  const [, line = "", check] = CHECK.exec(text) ?? [];
  if (check !== undefined) return check === checkOf(line) ? line : undefined;
  return ALONE.exec(text)?.[1];
}

function checkOf(line: string): string {
  return crc32c(Buffer.from(line, "utf8")).toString(16).padStart(8, "0");
}
