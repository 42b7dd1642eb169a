import { COUNTRY_CODES } from "./country-codes.ts";

const SUBDIVISION = /^-[A-Z0-9]{1,3}$/;

/** A country (`US`) or one of its subdivisions (`US-CA`), as ISO 3166 spells them. */
export function isRegionCode(text: string): boolean {
  // Asked several times of every request under a contract: most codes are countries.
  if (text.length === 2) return COUNTRY_CODES.has(text);
  return COUNTRY_CODES.has(text.slice(0, 2)) && SUBDIVISION.test(text.slice(2));
}
