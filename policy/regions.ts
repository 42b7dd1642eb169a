import { isRegionCode } from "../proto/region-code.ts";

/**
 * True when `code` lies within a granted region: granted itself, or its country is.
 *
 * An unknown place (`undefined`) lies nowhere. A granted subdivision never covers its country.
 */
export function regionGranted(granted: readonly string[], code: string | undefined): boolean {
  if (code === undefined || !isRegionCode(code)) return false;
  return granted.includes(code) || granted.includes(code.slice(0, 2));
}
