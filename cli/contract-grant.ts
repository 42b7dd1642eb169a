import { readFileSync } from "node:fs";
import { parse } from "yaml";
import type { Authority } from "../authority/authority.ts";
import { readGrant } from "../authority/authority-json.ts";
import { orRefusal } from "../authority/contract-refusal.ts";
import { errorMessage } from "../ports/error-message.ts";
import { COUNTRY_GROUPS } from "../proto/country-codes.ts";
import { CommandError } from "./command-context.ts";

/** What a contract is to grant, from a file in YAML or JSON that names every dimension. */
export function readGrantFile(
  path: string,
  dates: { readonly notBefore: number; readonly expires: number },
): Authority {
  const grant = orRefusal(() => readGrant(expanded(fileOf(path)), dates));
  if ("refused" in grant) throw new CommandError(`${path}: ${grant.detail}`, 2);
  return grant;
}

/** The file as it is, for a node that completes it from what the delegator has. */
export function fileOf(path: string): unknown {
  try {
    return parse(readFileSync(path, "utf8"));
  } catch (error) {
    throw new CommandError(`${path}: ${errorMessage(error)}`, 2);
  }
}

/** Contracts hold codes alone; "EU" and "EEA" are what people write. */
function expanded(grant: unknown): unknown {
  if (typeof grant !== "object" || grant === null || !("geo" in grant)) return grant;
  const { geo } = grant;
  if (typeof geo !== "object" || geo === null) return grant;
  const facets = Object.entries(geo).map(([facet, codes]) => [
    facet,
    Array.isArray(codes) ? codes.flatMap((code) => COUNTRY_GROUPS.get(code) ?? code) : codes,
  ]);
  return { ...grant, geo: Object.fromEntries(facets) };
}
