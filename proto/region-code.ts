import { COUNTRY_CODES } from "./country-codes.ts";

const CODE = /^([A-Z]{2})(?:-[A-Z0-9]{1,3})?$/;

/** A country (`US`) or one of its subdivisions (`US-CA`), as ISO 3166 spells them. */
export function isRegionCode(text: string): boolean {
  const match = CODE.exec(text);
  return match !== null && COUNTRY_CODES.has(match[1] as string);
}
