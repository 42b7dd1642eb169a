import { COUNTRY_CODES } from "./country-codes.ts";

const CODE = /^([A-Z]{2})(?:-[A-Z0-9]{1,3})?$/;

/** A country (`US`) or one of its subdivisions (`US-CA`), as ISO 3166 spells them. */
export function isRegionCode(text: string): boolean {
  const match = CODE.exec(text);
  return match !== null && COUNTRY_CODES.has(match[1] as string);
}

/**
 * True when `code` lies within a granted region: granted itself, or its country is.
 *
 * An unknown place (`undefined`) lies nowhere. A granted subdivision never covers its country.
 */
export function regionGranted(granted: readonly string[], code: string | undefined): boolean {
  if (code === undefined || !isRegionCode(code)) return false;
  return granted.includes(code) || granted.includes(code.slice(0, 2));
}
