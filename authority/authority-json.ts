import { isRegionCode } from "../proto/region-code.ts";
import { type Authority, normalAuthority } from "./authority.ts";
import { BUDGET_UNITS } from "./budget.ts";
import { GRAMMAR } from "./claims-grammar.ts";
import {
  claims,
  readCount,
  readEntries,
  readItems,
  readMatching,
  readMembers,
  readPassing,
} from "./closed-json.ts";
import type { DataClass } from "./data-class.ts";
import { FACETS } from "./geography.ts";
import { isNamePattern } from "./name-pattern.ts";
import { type Bucket, RATE_METRICS } from "./rate.ts";
import { type Tools, VERBS, type Verb } from "./tools.ts";
import { type Minutes, type Validity, WEEK_MINUTES, type ZoneHours } from "./validity.ts";

// Authority as one `authorization_details` entry of RFC 9396.
//
// There is one spelling of each authority: whoever reads one writes it again and compares, so lists
// that are not in normal form are refused, and what is compared is what was signed.

const AUTHORITY_TYPE = GRAMMAR.authorityType;

export const DIMENSIONS = ["budget", "class", "geo", "models", "rate", "time", "tools"] as const;
const IDENTIFIER = new RegExp(`^${GRAMMAR.identifier}$`);
const ZONE = new RegExp(`^${GRAMMAR.zone}$`);

type Dates = Pick<Validity, "notBefore" | "expires">;

/** In normal form, whatever form it was read in. @throws RefusedContract It is no such authority. */
export function readAuthority(value: unknown, dates: Dates): Authority {
  const { type, ...all } = readMembers(value, ["type", ...DIMENSIONS], "authority");
  if (type !== AUTHORITY_TYPE) throw claims("authority.type");
  const normal = readGrant(all, dates);
  if (normal.validity.expires !== dates.expires) throw claims("time leaves no minute");
  return normal;
}

/**
 * The same as people write it: without its type, and with lists in any order.
 *
 * @throws RefusedContract A dimension is missing, unknown or out of bounds.
 */
export function readGrant(value: unknown, dates: Dates): Authority {
  const all = readMembers(value, DIMENSIONS, "authority");
  return normalAuthority({
    budget: readUnits(all.budget, BUDGET_UNITS, "budget"),
    models: readItems(all.models, "models").map(readPattern),
    tools: readTools(all.tools),
    dataClass: readClass(all.class),
    validity: { ...dates, hours: readItems(all.time, "time").map(readHours) },
    rate: readRate(all.rate),
    geography: readGeography(all.geo),
  });
}

/** The detail's JSON, without the dates, which are claims of their own. */
export function writeAuthority(value: Authority): Readonly<Record<string, unknown>> {
  const { budget, models, tools, dataClass, validity, rate, geography } = value;
  const bucket = ({ burst, amount, seconds }: Bucket) => ({ b: burst, n: amount, w: seconds });
  return {
    budget: { ...budget },
    class: { cmp: dataClass.compartments, lvl: dataClass.level, scheme: dataClass.scheme },
    geo: { ...geography },
    models,
    rate: { req: bucket(rate.req), tok: bucket(rate.tok), usd_u: bucket(rate.usd_u) },
    time: validity.hours.map(({ zone, minutes }) => ({ tz: zone, win: minutes })),
    tools: Object.fromEntries(tools),
    type: AUTHORITY_TYPE,
  };
}

function readUnits<U extends string>(
  value: unknown,
  units: readonly U[],
  at: string,
): { readonly [K in U]: number } {
  const found = readMembers(value, units, at);
  return Object.fromEntries(
    units.map((unit) => [unit, readCount(found[unit], `${at}.${unit}`)]),
  ) as { [K in U]: number };
}

function readPattern(value: unknown): string {
  return readPassing(value, isNamePattern, "models holds a name outside the grammar");
}

function readTools(value: unknown): Tools {
  const entries = readEntries(value, "tools").map(([pattern, verbs]): [string, Verb[]] => {
    readPassing(pattern, isNamePattern, "tools holds a name outside the grammar");
    const read = readItems(verbs, "tools").map(readVerb);
    if (read.length === 0) throw claims("tools grants no verb");
    return [pattern, read];
  });
  return new Map(entries);
}

function readVerb(value: unknown): Verb {
  const verb = VERBS.find((each) => each === value);
  if (verb === undefined) throw claims("tools names a verb that is none");
  return verb;
}

function readClass(value: unknown): DataClass {
  const { scheme, lvl, cmp } = readMembers(value, ["cmp", "lvl", "scheme"], "class");
  return {
    scheme: readMatching(scheme, IDENTIFIER, "class.scheme"),
    level: readCount(lvl, "class.lvl"),
    compartments: readItems(cmp, "class.cmp").map((one) =>
      readMatching(one, IDENTIFIER, "class.cmp"),
    ),
  };
}

function readHours(value: unknown): ZoneHours {
  const { tz, win } = readMembers(value, ["tz", "win"], "time");
  const zone = readMatching(tz, ZONE, "time.tz");
  return { zone, minutes: readItems(win, "time.win").map(readWindow) };
}

function readWindow(value: unknown): Minutes[number] {
  const [from, until, ...rest] = readItems(value, "time.win");
  const window = [readCount(from, "time.win"), readCount(until, "time.win")] as const;
  if (rest.length > 0 || window[0] >= window[1] || window[1] > WEEK_MINUTES) {
    throw claims("time.win");
  }
  return window;
}

function readRate(value: unknown): Authority["rate"] {
  const found = readMembers(value, RATE_METRICS, "rate");
  return { req: readBucket(found.req), tok: readBucket(found.tok), usd_u: readBucket(found.usd_u) };
}

function readBucket(value: unknown): Bucket {
  const { b, n, w } = readMembers(value, ["b", "n", "w"], "rate");
  const seconds = readCount(w, "rate.w");
  if (seconds < 1) throw claims("rate.w");
  return { burst: readCount(b, "rate.b"), amount: readCount(n, "rate.n"), seconds };
}

function readGeography(value: unknown): Authority["geography"] {
  const found = readMembers(value, FACETS, "geo");
  const codes = (facet: (typeof FACETS)[number]) =>
    readItems(found[facet], `geo.${facet}`).map((code) =>
      readPassing(code, isRegionCode, `geo.${facet} holds no ISO 3166 code`),
    );
  return { egr: codes("egr"), proc: codes("proc"), src: codes("src") };
}
