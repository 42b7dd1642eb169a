import { createHmac, generateKeyPairSync, sign } from "node:crypto";
import { describe, expect, test } from "vitest";
import type { Authority } from "../../../authority/authority.ts";
import type { ContractRefusal } from "../../../authority/contract-refusal.ts";
import { holderJwk, publicKeyOf, thumbprintUri } from "../../../authority/holder-key.ts";
import { coversName } from "../../../authority/name-pattern.ts";
import { readEnvelope } from "../../../authority/token.ts";
import { verifyChain } from "../../../authority/verify-chain.ts";
import {
  AUTHORITY,
  chainEnv,
  chainText,
  child,
  type Forged,
  HOLDERS,
  halved,
  MESH,
  NOW_S,
  OPERATOR,
  root,
  signedToken,
  testKey,
  verifyEd25519,
} from "../../support/contract-forge.ts";

// Ways to get more than was delegated, by their numbers in docs/contracts.md. What needs a clock, a
// ledger or a request is tried where those are.

const ROOT = root();
const CHILD = child(ROOT);
const CHILD_HEADER = '{"alg":"Ed25519","typ":"altrace-dc+jwt"}';
const PAYLOAD = payloadOf(CHILD);

function refused(text: string, env = chainEnv()): string {
  const result = verifyChain(text, env);
  if (!("refused" in result)) throw new Error("the chain was taken");
  return spelt(result);
}

function spelt({ refused: reason, detail }: ContractRefusal): string {
  return `${reason}: ${detail}`;
}

function payloadOf({ token }: Forged): string {
  return Buffer.from(token.split(".")[1] ?? "", "base64url").toString();
}

/** What becomes of a chain whose last link has this header. */
function withHeader(header: string): string {
  return refused(`${ROOT.token}~${signedToken(header, PAYLOAD, HOLDERS[0])}`);
}

/** What becomes of a chain whose last link says something else, signed as it should be. */
function saying(payload: (written: string) => string): string {
  return refused(chainText(ROOT, child(ROOT, { payload })));
}

function withAuthority(change: Partial<Authority>, parent: Partial<Authority> = {}): string {
  const above = root({ authority: { ...AUTHORITY, ...parent } });
  const authority = { ...halved(above.claims.authority), ...change };
  return refused(chainText(above, child(above, { authority })));
}

function replacing(from: string, to: string): string {
  return saying((payload) => {
    expect(payload).toContain(from);
    return payload.replace(from, to);
  });
}

test("a chain that nobody touched is taken, down to its depth", () => {
  const links = [ROOT, CHILD];
  while (links.length < 5) links.push(child(links.at(-1) as Forged));
  const verified = verifyChain(chainText(...links), chainEnv());
  if ("refused" in verified) throw new Error(spelt(verified));
  expect(verified.links.map(({ id }) => id)).toEqual(links.map(({ id }) => id));
  expect(verified.effective.budget.calls).toBe(31);
});

describe("header and signature", () => {
  const attacks: readonly (readonly [name: string, refusal: string, run: () => string])[] = [
    ["1: alg none", "contract_algorithm: none", () => withHeader(header({ alg: "none" }))],
    [
      "2: HS256 with the bytes of the public key",
      "contract_algorithm: HS256",
      () => {
        const encoded = [header({ alg: "HS256" }), PAYLOAD].map((part) =>
          Buffer.from(part).toString("base64url"),
        );
        const mac = createHmac("sha512", HOLDERS[0].publicKey).update(encoded.join("."));
        return refused(`${ROOT.token}~${encoded.join(".")}.${mac.digest("base64url")}`);
      },
    ],
    ["3: ES256, which is not supported", "contract_algorithm: ES256", es256],
    [
      "4: EdDSA instead of Ed25519",
      "contract_algorithm: EdDSA",
      () => withHeader(header({ alg: "EdDSA" })),
    ],
    ...["jwk", "jku", "x5u", "x5c", "kid"].map((name): readonly [string, string, () => string] => [
      `5: ${name} in a link's header`,
      name === "kid" ? "contract_order: link 1 is not where it belongs" : HEADER_REFUSED,
      () => withHeader(header({ [name]: name === "kid" ? OPERATOR.kid : "x" })),
    ]),
    [
      "5: a root by a kid that nobody knows",
      `contract_untrusted: ${testKey(99).kid}`,
      () => refused(root({ signedBy: testKey(99) }).token),
    ],
    ["6: crit", HEADER_REFUSED, () => withHeader(header({ crit: ["exp"] }))],
    ["6: b64 false", HEADER_REFUSED, () => withHeader(header({ b64: false }))],
    [
      "7: a proof of possession as a contract",
      "contract_type: dpop+jwt",
      () => withHeader(header({ typ: "dpop+jwt" })),
    ],
    [
      "7: an ID token as a contract",
      "contract_type: JWT",
      () => withHeader(header({ typ: "JWT" })),
    ],
    ["7: no type", "contract_type: none named", () => withHeader('{"alg":"Ed25519"}')],
    [
      "8: signed by its own holder",
      "contract_signature: link",
      () => refused(chainText(ROOT, child(ROOT, { signedBy: HOLDERS[1] }))),
    ],
    [
      "8: signed by its own holder, who also says so",
      "contract_signature: link",
      () =>
        refused(
          chainText(
            ROOT,
            child(ROOT, {
              signedBy: HOLDERS[1],
              issuer: thumbprintUri(holderJwk(HOLDERS[1].publicKey)),
            }),
          ),
        ),
    ],
    [
      "9: the holder's key exchanged in flight",
      "contract_signature: link",
      () => {
        const [head, , tail] = CHILD.token.split(".");
        const other = PAYLOAD.replace(CHILD.claims.holder.x, holderJwk(testKey(66).publicKey).x);
        return refused(`${ROOT.token}~${head}.${Buffer.from(other).toString("base64url")}.${tail}`);
      },
    ],
    [
      "9: an issuer that did not sign",
      "contract_issuer: iss",
      () =>
        refused(
          chainText(ROOT, child(ROOT, { issuer: thumbprintUri(holderJwk(testKey(66).publicKey)) })),
        ),
    ],
  ];
  test.each(attacks)("%s", (_name, refusal, run) => {
    expect(run()).toBe(refusal);
  });

  function es256(): string {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const input = [header({ alg: "ES256" }), PAYLOAD]
      .map((part) => Buffer.from(part).toString("base64url"))
      .join(".");
    const signature = sign("sha256", Buffer.from(input), {
      key: privateKey,
      dsaEncoding: "ieee-p1363",
    });
    return refused(`${ROOT.token}~${input}.${signature.toString("base64url")}`);
  }
});

const HEADER_REFUSED = "contract_header: members that a contract's header does not have";

function header(of: Readonly<Record<string, unknown>>): string {
  const members = { alg: "Ed25519", typ: "altrace-dc+jwt", ...of };
  return JSON.stringify(Object.fromEntries(Object.entries(members).sort()));
}

describe("the shape of the chain", () => {
  const NARROW = root({
    authority: halved(AUTHORITY),
    label: "01998f3e-7c1a-7b2c-9d3e-5f6071829399",
  });
  const MIDDLE = child(CHILD);
  test.each<readonly [string, string, () => string]>([
    [
      "10: a child of a narrow root below a broad one of the same holder",
      "contract_parent: par_hash names another contract",
      () => refused(chainText(ROOT, child(NARROW))),
    ],
    [
      "11: a middle link left out",
      "contract_signature: link",
      () => refused(chainText(ROOT, MIDDLE)),
    ],
    [
      "11: a middle link left out, all of one holder",
      "contract_parent: par_hash names another contract",
      () => {
        const one = child(ROOT, { key: HOLDERS[0] });
        return refused(chainText(ROOT, child(one, { key: HOLDERS[0] })));
      },
    ],
    [
      "12: links in another order",
      "contract_order: link 0 is not where it belongs",
      () => refused(chainText(CHILD, ROOT)),
    ],
    ["12: a link twice", "contract_signature: link", () => refused(chainText(ROOT, CHILD, CHILD))],
    [
      "12: a root twice",
      "contract_order: link 1 is not where it belongs",
      () => refused(chainText(ROOT, ROOT)),
    ],
    [
      "40: two chains, one after the other",
      "contract_order: link 2 is not where it belongs",
      () => refused(`${chainText(ROOT, CHILD)}~${chainText(NARROW, child(NARROW))}`),
    ],
    [
      "13: below a parent that was issued again",
      "contract_parent: par_hash names another contract",
      () => refused(chainText(root({ issuedAt: NOW_S - 30 }), CHILD)),
    ],
    [
      "14: a root by nobody who is trusted",
      `contract_untrusted: ${testKey(77).kid}`,
      () => refused(chainText(root({ signedBy: testKey(77) }))),
    ],
    [
      "14: a root by an operator who was retired",
      `contract_untrusted: ${OPERATOR.kid}`,
      () => refused(chainText(ROOT, CHILD), chainEnv({ operatorKey: () => undefined })),
    ],
    [
      "14: a chain without its root",
      "contract_order: link 0 is not where it belongs",
      () => refused(CHILD.token),
    ],
    [
      "14: another installation's",
      "contract_mesh: other",
      () => refused(root({ mesh: "other" }).token),
    ],
    [
      "15: del_max_depth raised",
      "contract_depth: del_max_depth 5",
      () => refused(chainText(ROOT, child(ROOT, { depthMax: 5 }))),
    ],
    [
      "15: deeper than allowed",
      "contract_depth: del_max_depth 1",
      () => {
        const one = child(ROOT, { depthMax: 1 });
        return refused(chainText(ROOT, one, child(one, { depthMax: 1 })));
      },
    ],
    [
      "15: depth 9",
      "contract_depth: del_max_depth is above 8",
      () => refused(root({ depthMax: 9 }).token),
    ],
    [
      "15: a depth that does not follow",
      "contract_depth: del_depth 2 is not 1",
      () => refused(chainText(ROOT, child(ROOT, { depth: 2 }))),
    ],
    [
      "15: negative depth",
      "contract_claims: del_depth",
      () => replacing('"del_depth":1', '"del_depth":-1'),
    ],
    [
      "15: fractional depth",
      "contract_claims: del_depth",
      () => replacing('"del_depth":1', '"del_depth":0.5'),
    ],
    [
      "on another's behalf",
      "contract_subject: sub differs from what it was delegated from",
      () => refused(chainText(ROOT, child(ROOT, { subject: "user:other" }))),
    ],
    [
      "held by another team, at whose expense and by whose policy it would go",
      "contract_team: billing/planner is of another team",
      () => refused(chainText(ROOT, child(ROOT, { agent: "billing/planner" }))),
    ],
    [
      "held by a team whose name begins with its own",
      "contract_team: research-2/planner is of another team",
      () => refused(chainText(ROOT, child(ROOT, { agent: "research-2/planner" }))),
    ],
  ])("%s", (_name, refusal, run) => {
    expect(run()).toBe(refusal);
  });
});

describe("dates", () => {
  const dates = AUTHORITY.validity;
  const inTime = (change: Partial<typeof dates>) => ({ validity: { ...dates, ...change } });
  test.each<readonly [string, string, () => string]>([
    [
      "16: an end after the parent's",
      "contract_widens: validity",
      () => withAuthority(inTime({ expires: dates.expires + 1 })),
    ],
    [
      "16: a beginning before the parent's",
      "contract_widens: validity",
      () => withAuthority(inTime({ notBefore: dates.notBefore - 1 })),
    ],
    [
      "16: issued 31 s ahead",
      "contract_dates: issued in the future",
      () => refused(root({ issuedAt: NOW_S + 31 }).token),
    ],
    [
      "16: issued before its parent",
      "contract_dates: issued before what it was delegated from",
      () => refused(chainText(ROOT, child(ROOT, { issuedAt: ROOT.claims.issuedAt - 1 }))),
    ],
    [
      "16: a root of more than a day",
      "contract_dates: a root lives at most 86400 s",
      () =>
        refused(
          root({ authority: { ...AUTHORITY, ...inTime({ expires: NOW_S + 86_400 }) } }).token,
        ),
    ],
    [
      "16: at the second of its end",
      "contract_expired: exp",
      () => refused(ROOT.token, chainEnv({ nowMs: dates.expires * 1000 })),
    ],
    [
      "16: the parent's end counts for the child",
      "contract_expired: exp",
      () => refused(chainText(ROOT, CHILD), chainEnv({ nowMs: dates.expires * 1000 + 1 })),
    ],
    [
      "16: a clock that was set back finds it issued in the future",
      "contract_dates: issued in the future",
      () => refused(ROOT.token, chainEnv({ nowMs: (NOW_S - 3600) * 1000 })),
    ],
    [
      "31: the same hours by another zone's clock",
      "contract_widens: validity",
      () => withAuthority(inTime({ hours: dates.hours.map((one) => ({ ...one, zone: "UTC" })) })),
    ],
    [
      "31: a bound on hours left out",
      "contract_widens: validity",
      () => withAuthority(inTime({ hours: [] })),
    ],
    [
      "31: a window across the end of the week",
      "contract_claims: time.win",
      () => replacing("[480,1080]", "[10020,60]"),
    ],
    [
      "31: a window beyond the week",
      "contract_claims: time.win",
      () => replacing("[1920,2520]", "[1920,10081]"),
    ],
    [
      "31: an end at the beginning",
      "contract_claims: exp is not after nbf",
      () => replacing(`"nbf":${dates.notBefore}`, `"nbf":${dates.expires}`),
    ],
  ])("%s", (_name, refusal, run) => {
    expect(run()).toBe(refusal);
  });

  test("16: 30 s ahead and the last millisecond are taken", () => {
    expect(verifyChain(root({ issuedAt: NOW_S + 30 }).token, chainEnv())).toHaveProperty("root");
    const last = chainEnv({ nowMs: dates.expires * 1000 - 1 });
    expect(verifyChain(ROOT.token, last)).toHaveProperty("root");
  });
});

describe("amounts and JSON", () => {
  const AMOUNT = '"calls":250';
  test.each([
    ["-1", "contract_claims: budget.calls"],
    ["-0", "contract_not_canonical: not the canonical spelling"],
    ["0.1", "contract_claims: budget.calls"],
    ["1e400", "contract_not_canonical: not the canonical spelling"],
    ["1e2", "contract_not_canonical: not the canonical spelling"],
    ["1.0", "contract_not_canonical: not the canonical spelling"],
    ["9007199254740992", "contract_claims: budget.calls"],
    ["9007199254740993", "contract_not_canonical: not the canonical spelling"],
    ["NaN", "contract_not_canonical: not JSON in UTF-8"],
    ["Infinity", "contract_not_canonical: not JSON in UTF-8"],
    ['"100"', "contract_claims: budget.calls"],
    ["true", "contract_claims: budget.calls"],
    ["null", "contract_claims: budget.calls"],
    ["[1]", "contract_claims: budget.calls"],
  ])("22: an amount of %s", (amount, refusal) => {
    expect(replacing(AMOUNT, `"calls":${amount}`)).toBe(refusal);
  });

  test.each<readonly [string, string, string, string]>([
    [
      "26: a dimension left out",
      ',"geo":{"egr":["DE","FR","IE"],"proc":["DE","FR","IE","NL"],"src":["DE"]}',
      "",
      "contract_claims: authority.geo is missing",
    ],
    [
      "26: a dimension of null",
      '"models":["anthropic/claude-sonnet/*","openai/gpt-5-mini"]',
      '"models":null',
      "contract_claims: models",
    ],
    [
      "26: a member more",
      '"sub":',
      '"scope":"all","sub":',
      "contract_claims: contract.scope is not known",
    ],
    [
      "26: a member more in a dimension",
      '{"calls":250,',
      '{"all":1,"calls":250,',
      "contract_claims: budget.all is not known",
    ],
    [
      "26: a metric left out",
      '"req":{"b":20,"n":10,"w":1},',
      "",
      "contract_claims: rate.req is missing",
    ],
    [
      "26: another type of detail",
      "urn:altrace:authority:v1",
      "urn:altrace:authority:v2",
      "contract_claims: authority.type",
    ],
    [
      "27: a member twice",
      '"del_depth":1',
      '"del_depth":1,"del_depth":1',
      "contract_not_canonical: not the canonical spelling",
    ],
    [
      "27: a member twice, once escaped",
      '"sub":',
      '"su\\u0062":"x","sub":',
      "contract_not_canonical: not the canonical spelling",
    ],
    [
      "27: __proto__",
      '{"aud":',
      '{"__proto__":{"x":1},"aud":',
      "contract_claims: contract.__proto__ is not known",
    ],
    [
      "27: constructor",
      '"del_depth":',
      '"constructor":{},"del_depth":',
      "contract_claims: contract.constructor is not known",
    ],
    ["28: white space", '"sub":', '"sub": ', "contract_not_canonical: not the canonical spelling"],
    [
      "28: a lone surrogate",
      "user:4f1c",
      "\\ud800",
      "contract_not_canonical: not the canonical spelling",
    ],
    [
      "28: a needless escape",
      "user:4f1c",
      "\\u0075ser:4f1c",
      "contract_not_canonical: not the canonical spelling",
    ],
  ])("%s", (_name, from, to, refusal) => {
    expect(replacing(from, to)).toBe(refusal);
  });

  test("26: a second detail", () => {
    const twice = (payload: string) => {
      const { authorization_details: details } = JSON.parse(payload);
      const one = JSON.stringify(details[0]);
      return payload.replace(one, `${one},${one}`);
    };
    expect(saying(twice)).toBe("contract_claims: authorization_details has more than one entry");
  });

  test("28: bytes that are not UTF-8, overlong or behind a byte order mark", () => {
    for (const bytes of [[0xff], [0xc0, 0xaf], [0xed, 0xa0, 0x80]]) {
      const payload = Buffer.concat([Buffer.from(PAYLOAD.slice(0, -1)), Buffer.from(bytes)]);
      const token = signedToken(CHILD_HEADER, payload, HOLDERS[0]);
      expect(refused(`${ROOT.token}~${token}`)).toBe("contract_not_canonical: not JSON in UTF-8");
    }
    expect(saying((payload) => `\ufeff${payload}`)).toBe(
      "contract_not_canonical: not JSON in UTF-8",
    );
  });

  test.each([
    ["composed", "openai/caf\u00e9"],
    ["decomposed", "openai/cafe\u0301"],
    ["fullwidth slash", "openai\uff0fgpt"],
    ["Cyrillic a", "open\u0430i/gpt"],
    ["zero width", "openai/g\u200bpt"],
    ["right to left", "openai/\u202egpt"],
    ["upper case", "openai/GPT"],
    ["Kelvin sign", "openai/\u212a"],
  ])("28: a name with %s", (_name, model) => {
    expect(replacing('"openai/gpt-5-mini"', JSON.stringify(model))).toBe(
      "contract_claims: models holds a name outside the grammar",
    );
  });
});

describe("patterns", () => {
  const GITHUB = { tools: new Map([["mcp/github/*", ["read"] as const]]) };
  test.each([
    ["mcp/*", "contract_widens: tools"],
    ["mcp/github", "contract_widens: tools"],
    ["mcp/github2/*", "contract_widens: tools"],
    ["*", "contract_claims: tools holds a name outside the grammar"],
    ["mcp/git*", "contract_claims: tools holds a name outside the grammar"],
    ["mcp/github*", "contract_claims: tools holds a name outside the grammar"],
    ["mcp//github/*", "contract_claims: tools holds a name outside the grammar"],
    ["mcp/github/", "contract_claims: tools holds a name outside the grammar"],
    ["mcp/*/read", "contract_claims: tools holds a name outside the grammar"],
  ])("23: %s below mcp/github/*", (pattern, refusal) => {
    expect(withAuthority({ tools: new Map([[pattern, ["read"]]]) }, GITHUB)).toBe(refusal);
  });

  test("24: a pattern that two of the parent's cover only together", () => {
    const parent = { models: ["openai/gpt/a", "openai/gpt/b"] };
    expect(withAuthority({ models: ["openai/gpt/*"] }, parent)).toBe("contract_widens: models");
  });

  test("25: a verb more on a tool that is granted", () => {
    const tools = new Map([["mcp/github/*", ["read", "write"] as const]]);
    expect(withAuthority({ tools }, GITHUB)).toBe("contract_widens: tools");
  });

  test("29: names that lead elsewhere are granted by no pattern", () => {
    for (const name of [
      "mcp/github/../jira",
      "mcp/github/%2e%2e/jira",
      "mcp/github/a%2fb",
      "mcp/github//a",
      "mcp/github/./a",
      "mcp/github/",
      "mcp/github/*",
    ]) {
      expect(coversName(["mcp/github/*"], name), name).toBe(false);
    }
  });
});

describe("spellings of one token", () => {
  const signature = CHILD.token.slice(CHILD.token.lastIndexOf(".") + 1);
  const input = CHILD.token.slice(0, CHILD.token.lastIndexOf("."));
  const NOT_JWS = "contract_malformed: not a compact JWS";
  const last = signature.at(-1) as string;
  const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  const flipped = ALPHABET[ALPHABET.indexOf(last) ^ 1] as string;
  test.each([
    ["padding", `${CHILD.token}==`, NOT_JWS],
    ["a space", `${CHILD.token} `, NOT_JWS],
    ["a newline", `${input}.${signature.slice(0, 40)}\n${signature.slice(40)}`, NOT_JWS],
    ["a newline at the end", `${CHILD.token}\n`, NOT_JWS],
    [
      "unused bits of the signature",
      `${input}.${signature.slice(0, -1)}${flipped}`,
      "contract_malformed: base64url that is not canonical",
    ],
    [
      "standard base64",
      CHILD.token.replaceAll("-", "+").replaceAll("_", "/").replace(/^e/, "+"),
      NOT_JWS,
    ],
    ["an empty segment", CHILD.token.replace(".", ".."), NOT_JWS],
  ])("30: %s", (_name, token, refusal) => {
    expect(refused(`${ROOT.token}~${token}`)).toBe(refusal);
  });

  test("30: a contract's id does not depend on its signature", () => {
    const other = `${input}.${Buffer.alloc(64, 7).toString("base64url")}`;
    expect(readEnvelope(other).id).toBe(readEnvelope(CHILD.token).id);
  });
});

describe("places, classes and rates", () => {
  const { dataClass, geography, rate } = AUTHORITY;
  const NO_CODE = "contract_claims: geo.src holds no ISO 3166 code";
  test.each([
    ["EU", NO_CODE],
    ["de", NO_CODE],
    ["UK", NO_CODE],
    ["DE-", NO_CODE],
  ])("32: the place %s", (code, refusal) => {
    expect(replacing('"src":["DE"]', `"src":["${code}"]`)).toBe(refusal);
  });

  test.each<readonly [string, string, () => string]>([
    [
      "32: a country below one of its parts",
      "contract_widens: geography",
      () =>
        withAuthority(
          { geography: { ...geography, src: ["US"] } },
          { geography: { ...geography, src: ["US-CA"] } },
        ),
    ],
    [
      "33: another scheme",
      "contract_widens: dataClass",
      () => withAuthority({ dataClass: { ...dataClass, scheme: "c5" } }),
    ],
    [
      "33: a higher level",
      "contract_widens: dataClass",
      () => withAuthority({ dataClass: { ...dataClass, level: 3 } }),
    ],
    [
      "33: a compartment more",
      "contract_widens: dataClass",
      () => withAuthority({ dataClass: { ...dataClass, compartments: ["pci", "phi", "pii"] } }),
    ],
    [
      "34: the same ratio with a larger burst",
      "contract_widens: rate",
      () => withAuthority({ rate: { ...rate, req: { burst: 200, amount: 10, seconds: 1 } } }),
    ],
    [
      "34: a ratio that overflows a product of doubles",
      "contract_widens: rate",
      () =>
        withAuthority(
          {
            rate: {
              ...rate,
              req: { burst: 1, amount: 9007199254740990, seconds: 9007199254740989 },
            },
          },
          {
            rate: {
              ...rate,
              req: { burst: 1, amount: 9007199254740991, seconds: 9007199254740990 },
            },
          },
        ),
    ],
    [
      "34: the same ratio in another spelling",
      "contract_not_normal: a list that has a shorter or sorted form",
      () => replacing('{"b":20,"n":10,"w":1}', '{"b":20,"n":20,"w":2}'),
    ],
    [
      "34: a bucket that refills in no time",
      "contract_claims: rate.w",
      () => replacing('{"b":20,"n":10,"w":1}', '{"b":20,"n":10,"w":0}'),
    ],
  ])("%s", (_name, refusal, run) => {
    expect(run()).toBe(refusal);
  });
});

describe("keys and sizes", () => {
  const x = (hex: string) => Buffer.from(hex, "hex").toString("base64url");
  const KEY_REFUSED = "contract_holder_key: not canonical, or of small order";
  test.each([
    ["the neutral point", `01${"00".repeat(31)}`],
    ["the neutral point with a sign", `01${"00".repeat(30)}80`],
    ["order 2", `ec${"ff".repeat(30)}7f`],
    ["order 4", "00".repeat(32)],
    ["order 4 with a sign", `${"00".repeat(31)}80`],
    ["order 8", "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"],
    ["order 8, the other", "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"],
    ["a coordinate beyond the field", `ed${"ff".repeat(30)}7f`],
    ["the neutral point beyond the field", `ee${"ff".repeat(30)}7f`],
  ])("37: a holder's key of %s", (_name, hex) => {
    expect(replacing(CHILD.claims.holder.x, x(hex))).toBe(KEY_REFUSED);
  });

  test("37: a forgery for a point of small order verifies nowhere", () => {
    const key = Buffer.from(`01${"00".repeat(31)}`, "hex");
    const forgery = Buffer.concat([key, Buffer.alloc(32)]);
    expect(publicKeyOf({ crv: "Ed25519", kty: "OKP", x: key.toString("base64url") })).toBe(
      undefined,
    );
    expect(verifyEd25519(key, Buffer.from("anything"), forgery)).toBe(false);
  });

  test("37: a private key in cnf, and a key of another kind", () => {
    expect(replacing('{"crv":"Ed25519"', '{"crv":"Ed25519","d":"x"')).toBe(
      "contract_holder_key: a private key",
    );
    expect(replacing('"crv":"Ed25519"', '"crv":"X25519"')).toBe(
      "contract_holder_key: not an Ed25519 key",
    );
  });

  test.each<readonly [string, string, () => string]>([
    [
      "38: a token of 5 KiB",
      "contract_too_large: a token of 5120 characters",
      () => refused("x".repeat(5120)),
    ],
    [
      "38: a chain of 33 KiB",
      "contract_too_large: a chain of 33792 characters",
      () => refused("x".repeat(33 * 1024)),
    ],
    [
      "38: ten links",
      "contract_too_large: a chain of 10 links",
      () => refused(Array(10).fill(CHILD.token.slice(0, 900)).join("~")),
    ],
    [
      "38: 65 patterns",
      "contract_too_large: models has more than 64 items",
      () => replacing('"models":[', `"models":[${'"a/b",'.repeat(63)}`),
    ],
    [
      "38: nested nine deep",
      "contract_too_large: nested deeper than 7",
      () => replacing('"cmp":[', '"cmp":[[[[[]]]],'),
    ],
    [
      "38: a label of a megabyte",
      "contract_too_large: a chain of",
      () => refused(root({ label: "x".repeat(1 << 20) }).token).slice(0, 30),
    ],
    [
      "39: as much as its parent",
      "contract_not_narrower: grants as much as its parent",
      () => withAuthority(AUTHORITY),
    ],
    [
      "39: only a sooner end",
      "contract_not_narrower: grants as much as its parent",
      () =>
        withAuthority({
          ...AUTHORITY,
          validity: { ...AUTHORITY.validity, expires: AUTHORITY.validity.expires - 1 },
        }),
    ],
    [
      "39: a list that is not in order",
      "contract_not_normal: a list that has a shorter or sorted form",
      () => replacing('["DE","FR","IE"]', '["FR","DE","IE"]'),
    ],
  ])("%s", (_name, refusal, run) => {
    expect(run()).toBe(refusal);
  });
});

describe("what a refusal costs", () => {
  function signaturesLookedAt(text: string): number {
    let looked = 0;
    const verify: typeof verifyEd25519 = (...args) => {
      looked += 1;
      return verifyEd25519(...args);
    };
    verifyChain(text, chainEnv({ verify }));
    return looked;
  }

  test("V1: no signature is looked at before every link has a size and a form", () => {
    expect(signaturesLookedAt(`${ROOT.token}~${"x".repeat(5000)}`)).toBe(0);
    expect(signaturesLookedAt(`${ROOT.token}~x.y.z`)).toBe(0);
    expect(signaturesLookedAt("x".repeat(100_000))).toBe(0);
    expect(signaturesLookedAt(root({ signedBy: testKey(9) }).token)).toBe(0);
  });

  test("V2: the first bad signature is the last that is looked at", () => {
    const forged = root({ payload: (payload) => payload.replace("user", "root") });
    const [head, body] = forged.token.split(".");
    const token = `${head}.${body}.${ROOT.token.split(".")[2]}`;
    expect(signaturesLookedAt(`${token}~${CHILD.token}~${CHILD.token}`)).toBe(1);
  });
});

test("a chain for this mesh names it", () => {
  expect(ROOT.claims.mesh).toBe(MESH);
});
