import { parseAgentId } from "../proto/ids.ts";
import { isRegionCode } from "../proto/region-code.ts";
import { type Authority, normalAuthority } from "./authority.ts";
import type { Claims } from "./claims.ts";
import { GRAMMAR } from "./claims-grammar.ts";
import { DEPTH_MAX, ITEMS_MAX } from "./contract-limits.ts";
import { publicKeyOf } from "./holder-key.ts";
import { isNamePattern } from "./name-pattern.ts";
import type { Bucket } from "./rate.ts";
import { type Tools, VERBS, type Verb } from "./tools.ts";
import { WEEK_MINUTES, type ZoneHours } from "./validity.ts";

// The one spelling of a contract, read by one expression. Beside its signatures, half of what an unknown chain
// cost was to read each link as JSON of any shape, and a contract has one.
//
// P1. Nothing is taken but by the grammar and the bounds of `readClaims`.
// P2. What was read is written again, and must be the text that it was read from. So nothing in it was
//     overlooked, and no list in it has a shorter form.
// P3. What is not taken here is no less a contract for it: `readClaims` reads it, and knows what is wrong.

const COUNT = "(0|[1-9][0-9]{0,15})";
const TEXTS = '\\[((?:"[A-Za-z0-9._:@/*-]+",?)*)\\]';
const BUCKET = `\\{"b":${COUNT},"n":${COUNT},"w":${COUNT}\\}`;
const MINUTE = "(?:0|[1-9][0-9]{0,4})";
const HOURS = `\\{"tz":"${GRAMMAR.zone}","win":\\[(?:\\[${MINUTE},${MINUTE}\\],?)*\\]\\}`;
const TOOL = '"[a-z0-9._:@/*-]+":\\[(?:"[a-z]+",?)*\\]';

const AUTHORITY = [
  `\\{"budget":\\{"calls":${COUNT},"tok":${COUNT},"usd_u":${COUNT}\\}`,
  `"class":\\{"cmp":${TEXTS},"lvl":${COUNT},"scheme":"(${GRAMMAR.identifier})"\\}`,
  `"geo":\\{"egr":${TEXTS},"proc":${TEXTS},"src":${TEXTS}\\}`,
  `"models":${TEXTS}`,
  `"rate":\\{"req":${BUCKET},"tok":${BUCKET},"usd_u":${BUCKET}\\}`,
  `"time":(\\[(?:${HOURS},?)*\\])`,
  `"tools":(\\{(?:${TOOL},?)*\\})`,
  `"type":"${GRAMMAR.authorityType}"\\}`,
].join(",");

const CONTRACT = new RegExp(
  [
    `^\\{"aud":"altrace:mesh:(${GRAMMAR.mesh})"`,
    `"authorization_details":\\[${AUTHORITY}\\]`,
    `"client_id":"spiffe://${GRAMMAR.mesh}/agent/([a-z0-9/-]+)"`,
    `"cnf":\\{"jwk":\\{"crv":"Ed25519","kty":"OKP","x":"(${GRAMMAR.hash})"\\}\\}`,
    `"del_depth":${COUNT},"del_max_depth":${COUNT},"exp":${COUNT},"iat":${COUNT}`,
    `"iss":"(${GRAMMAR.issuer})","jti":"(${GRAMMAR.label})"`,
    `"key":\\{"sha256":"(${GRAMMAR.hashOrNone})","src":"(${GRAMMAR.source})"\\}`,
    `"nbf":${COUNT},"par_hash":"(${GRAMMAR.hashOrNone})","sub":"(${GRAMMAR.subject})"\\}$`,
  ].join(","),
);

/** What a payload says, if it is spelt as contracts are; `undefined`: it is for `readClaims` to say (P3). */
export function readPlainClaims(payload: Uint8Array): Claims | undefined {
  const { buffer, byteOffset, byteLength } = payload;
  const text = Buffer.from(buffer, byteOffset, byteLength).toString("latin1");
  const found = CONTRACT.exec(text);
  const claims = found === null ? undefined : claimsOf(new Parts(found));
  return claims !== undefined && spelt(claims) === text ? claims : undefined;
}

/** The groups of the expression, one after the other. */
class Parts {
  readonly #found: readonly (string | undefined)[];
  #at = 0;
  #areSound = true;

  constructor(found: readonly (string | undefined)[]) {
    this.#found = found;
  }

  /** Whether all that was read so far is within its bounds. */
  get areSound(): boolean {
    return this.#areSound;
  }

  text(): string {
    this.#at += 1;
    return this.#found[this.#at] ?? "";
  }

  count(): number {
    const value = Number(this.text());
    this.#mustBe(Number.isSafeInteger(value));
    return value;
  }

  texts(passes: (text: string) => boolean): readonly string[] {
    const text = this.text();
    const items = text === "" ? [] : text.slice(1, -1).split('","');
    this.#mustBe(items.length <= ITEMS_MAX && items.every(passes));
    return items;
  }

  bucket(): Bucket {
    const bucket = { burst: this.count(), amount: this.count(), seconds: this.count() };
    this.#mustBe(bucket.seconds >= 1);
    return bucket;
  }

  hours(): readonly ZoneHours[] {
    const read = this.#json<{ readonly tz: string; readonly win: [number, number][] }[]>() ?? [];
    this.#mustBe(read.length <= ITEMS_MAX);
    return read.map(({ tz, win }) => {
      this.#mustBe(win.length <= ITEMS_MAX && win.every(isWindow));
      return { zone: tz, minutes: win };
    });
  }

  tools(): Tools {
    const read = Object.entries(this.#json<Record<string, Verb[]>>() ?? {});
    this.#mustBe(read.length <= ITEMS_MAX);
    for (const [pattern, verbs] of read) {
      const areVerbs = verbs.length > 0 && verbs.every((verb) => VERBS.includes(verb));
      this.#mustBe(areVerbs && isNamePattern(pattern));
    }
    return new Map(read);
  }

  /** The expression let commas stand where JSON has none. */
  #json<T>(): T | undefined {
    try {
      return JSON.parse(this.text());
    } catch {
      this.#mustBe(false);
      return undefined;
    }
  }

  #mustBe(isTrue: boolean): void {
    this.#areSound &&= isTrue;
  }
}

function claimsOf(parts: Parts): Claims | undefined {
  const mesh = parts.text();
  const granted = authorityOf(parts);
  const agent = parts.text();
  const holder = { crv: "Ed25519", kty: "OKP", x: parts.text() } as const;
  const depth = parts.count();
  const depthMax = parts.count();
  const expires = parts.count();
  const issuedAt = parts.count();
  const issuer = parts.text();
  const label = parts.text();
  const bearer = { sha256: parts.text(), source: parts.text() };
  const notBefore = parts.count();
  const parent = parts.text();
  const subject = parts.text();
  const isSound =
    parts.areSound &&
    notBefore < expires &&
    depth <= DEPTH_MAX &&
    depthMax <= DEPTH_MAX &&
    parseAgentId(agent) !== undefined &&
    publicKeyOf(holder) !== undefined;
  if (!isSound) return undefined;
  const { hours, ...others } = granted;
  const authority = normalAuthority({ ...others, validity: { notBefore, expires, hours } });
  return {
    mesh,
    subject,
    agent,
    holder,
    bearer,
    issuer,
    label,
    depth,
    depthMax,
    issuedAt,
    parent,
    authority,
  };
}

function authorityOf(parts: Parts) {
  const budget = { calls: parts.count(), tok: parts.count(), usd_u: parts.count() };
  const compartments = parts.texts(isIdentifier);
  const dataClass = { compartments, level: parts.count(), scheme: parts.text() };
  const geography = {
    egr: parts.texts(isRegionCode),
    proc: parts.texts(isRegionCode),
    src: parts.texts(isRegionCode),
  };
  const models = parts.texts(isNamePattern);
  const rate = { req: parts.bucket(), tok: parts.bucket(), usd_u: parts.bucket() };
  const hours = parts.hours();
  return { budget, dataClass, geography, models, rate, hours, tools: parts.tools() };
}

/** P2: members in the order of RFC 8785. Nothing that passed the grammar has to be escaped. */
function spelt(of: Claims): string {
  const { mesh, bearer, authority } = of;
  const { notBefore, expires } = authority.validity;
  return (
    `{"aud":"altrace:mesh:${mesh}","authorization_details":[${speltAuthority(authority)}],` +
    `"client_id":"spiffe://${mesh}/agent/${of.agent}",` +
    `"cnf":{"jwk":{"crv":"Ed25519","kty":"OKP","x":"${of.holder.x}"}},` +
    `"del_depth":${of.depth},"del_max_depth":${of.depthMax},"exp":${expires},"iat":${of.issuedAt},` +
    `"iss":"${of.issuer}","jti":"${of.label}",` +
    `"key":{"sha256":"${bearer.sha256}","src":"${bearer.source}"},` +
    `"nbf":${notBefore},"par_hash":"${of.parent}","sub":"${of.subject}"}`
  );
}

function speltAuthority({ budget, dataClass, geography, models, rate, ...of }: Authority): string {
  const hours = of.validity.hours.map(
    ({ zone, minutes }) =>
      `{"tz":"${zone}","win":[${minutes.map(([from, until]) => `[${from},${until}]`).join(",")}]}`,
  );
  let tools = "";
  for (const [pattern, verbs] of of.tools) {
    tools += `${tools === "" ? "" : ","}"${pattern}":${speltTexts(verbs)}`;
  }
  return (
    `{"budget":{"calls":${budget.calls},"tok":${budget.tok},"usd_u":${budget.usd_u}},` +
    `"class":{"cmp":${speltTexts(dataClass.compartments)},"lvl":${dataClass.level},` +
    `"scheme":"${dataClass.scheme}"},` +
    `"geo":{"egr":${speltTexts(geography.egr)},"proc":${speltTexts(geography.proc)},` +
    `"src":${speltTexts(geography.src)}},"models":${speltTexts(models)},` +
    `"rate":{"req":${speltBucket(rate.req)},"tok":${speltBucket(rate.tok)},` +
    `"usd_u":${speltBucket(rate.usd_u)}},` +
    `"time":[${hours.join(",")}],"tools":{${tools}},"type":"${GRAMMAR.authorityType}"}`
  );
}

function speltBucket({ burst, amount, seconds }: Bucket): string {
  return `{"b":${burst},"n":${amount},"w":${seconds}}`;
}

function speltTexts(texts: readonly string[]): string {
  return texts.length === 0 ? "[]" : `["${texts.join('","')}"]`;
}

const IDENTIFIER = new RegExp(`^${GRAMMAR.identifier}$`);

function isIdentifier(text: string): boolean {
  return IDENTIFIER.test(text);
}

function isWindow([from, until]: readonly [number, number]): boolean {
  return from < until && until <= WEEK_MINUTES;
}
