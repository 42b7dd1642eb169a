import fc from "fast-check";
import { expect, test } from "vitest";
import type { Authority } from "../../../authority/authority.ts";
import { base64urlOfAlphabet, strictBase64url } from "../../../authority/base64url.ts";
import { readClaims, readClaimsByMember, writeClaims } from "../../../authority/claims.ts";
import { RefusedContract } from "../../../authority/contract-refusal.ts";
import { readPlainClaims } from "../../../authority/plain-claims.ts";
import type { Verb } from "../../../authority/tools.ts";
import { canonicalJson } from "../../../proto/jcs.ts";
import { AUTHORITY, root } from "../../support/contract-forge.ts";
import { proofCount } from "../../support/proof.ts";
import { anyAuthority } from "./arbitrary.ts";

// What is read fast is what would have been read slowly.

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

test("base64url of its alphabet has one spelling, by its end alone", () => {
  const letter = fc.constantFrom(...ALPHABET);
  fc.assert(
    fc.property(fc.string({ unit: letter, minLength: 1, maxLength: 12 }), (text) => {
      expect(base64urlOfAlphabet(text)).toEqual(strictBase64url(text));
    }),
    { numRuns: 500 },
  );
  for (const last of ALPHABET) {
    for (const text of [last, `A${last}`, `AA${last}`, `AAA${last}`]) {
      expect(base64urlOfAlphabet(text), text).toEqual(strictBase64url(text));
    }
  }
});

const withTools = (tools: Authority["tools"]) =>
  root({ authority: { ...AUTHORITY, tools } }).claims;

function read(payload: string): string {
  try {
    return writeClaims(readClaims(Buffer.from(payload)));
  } catch (error) {
    if (error instanceof RefusedContract) return error.refusal.refused;
    throw error;
  }
}

test("27: names of digits, which engines put in another order, are read in the order of JCS alone", () => {
  const verbs: readonly Verb[] = ["read"];
  const claims = withTools(
    new Map([
      ["10", verbs],
      ["9", verbs],
      ["a", verbs],
    ]),
  );
  const written = writeClaims(claims);
  expect(written).toContain('"tools":{"10":["read"],"9":["read"],"a":["read"]}');
  expect(read(written)).toBe(written);
  const engines = JSON.stringify(JSON.parse(written));
  expect(engines).toContain('"tools":{"9":["read"],"10":["read"],"a":["read"]}');
  expect(read(engines)).toBe("contract_not_canonical");
});

test("a contract is written in the order of JCS, and read as it was written", () => {
  fc.assert(
    fc.property(anyAuthority, (authority) => {
      const { notBefore, expires } = authority.validity;
      fc.pre(notBefore < expires && authority.dataClass.level >= 0);
      const written = writeClaims({ ...root().claims, authority });
      expect(canonicalJson(JSON.parse(written))).toBe(written);
      expect(read(written)).toBe(written);
      for (const other of [written.replace(",", ", "), written.replace('"aud"', '"\\u0061ud"')]) {
        expect(read(other)).toBe("contract_not_canonical");
      }
    }),
    { numRuns: 100 },
  );
});

test.each<readonly [string, string, string]>([
  ["a tool inside another one", '"mcp/jira/search"', '"mcp/github/x"'],
  ["a model inside another one", '"openai/gpt-5-mini"', '"anthropic/claude-sonnet/4"'],
  ["labels in another order", '["pci","pii"]', '["pii","pci"]'],
  ["a label twice", '["pci","pii"]', '["pci","pci"]'],
  ["a place inside another one", '["DE","FR","IE"]', '["DE","DE-BE","IE"]'],
  ["windows that touch", "[1920,2520]", "[1080,2520]"],
  ["a window that is the whole week", "[[480,1080],[1920,2520]]", "[[0,10080]]"],
  [
    "zones in another order",
    '{"tz":"Europe/Berlin"',
    '{"tz":"UTC","win":[[0,60]]},{"tz":"Europe/Berlin"',
  ],
])("39: %s is not the shortest form", (_name, from, to) => {
  const written = writeClaims(root().claims);
  expect(written).toContain(from);
  expect(read(written.replace(from, to))).toBe("contract_not_normal");
});

const anyContract = anyAuthority
  .filter(({ validity: { notBefore, expires }, dataClass: { level } }) => {
    return notBefore < expires && level >= 0;
  })
  .map((authority) => writeClaims({ ...root().claims, authority }));

/** What a forger would change: characters anywhere, or one of the numbers. */
const TEXTS = ["", "0", "00", "-1", "1e1", ",", "]", "}", '"', "a", "*", "é"];
const NUMBERS = ["0", "9", "10080", "10081", "9007199254740991", "9007199254740992", "0.5"];
const anyChange = fc.oneof(
  fc
    .record({ at: fc.nat(2_000), length: fc.nat(3), to: fc.constantFrom(...TEXTS) })
    .map(({ at, length, to }) => (written: string) => {
      const from = at % written.length;
      return written.slice(0, from) + to + written.slice(from + length);
    }),
  fc
    .record({ no: fc.nat(30), to: fc.constantFrom(...NUMBERS) })
    .map(({ no, to }) => (written: string) => {
      let left = no;
      return written.replace(/(?<=[:[,])[0-9]+/g, (number) => (left-- === 0 ? to : number));
    }),
);

test("P1, P3: the short way reads every contract, and of what is none takes nothing", () => {
  const { count, seed } = proofCount("contracts read both ways", { small: 150, full: 100_000 });
  let taken = 0;
  const check = fc.property(anyContract, anyChange, (written, change) => {
    const payload = Buffer.from(written);
    expect(readPlainClaims(payload)).toEqual(readClaimsByMember(payload));
    const changed = Buffer.from(change(written));
    const plain = readPlainClaims(changed);
    if (plain === undefined) return;
    taken += 1;
    expect(readClaimsByMember(changed)).toEqual(plain);
  });
  fc.assert(check, { numRuns: count, seed });
  expect(taken).toBeGreaterThan(0);
});

test.each(["research", "research//x", "-a/b", "a/b-", "a/b/c", `a/${"b".repeat(64)}`, "/b"])(
  "P1: an agent called %j holds no contract",
  (agent) => {
    expect(read(writeClaims({ ...root().claims, agent }))).toBe("contract_claims");
  },
);

/** In order, none inside another one, as short as names can be. */
const names = (count: number) =>
  Array.from({ length: count }, (_, no) => `n${String(no).padStart(2, "0")}`);
const minutes = (count: number) =>
  Array.from({ length: count }, (_, no) => [2 * no, 2 * no + 1] as const);

test.each<readonly [string, (count: number) => Partial<Authority>]>([
  ["models", (count) => ({ models: names(count) })],
  ["tools", (count) => ({ tools: new Map(names(count).map((name) => [name, ["read"]])) })],
  ["labels", (count) => ({ dataClass: { scheme: "c4", level: 2, compartments: names(count) } })],
  [
    "places",
    (count) => ({
      geography: { ...AUTHORITY.geography, egr: names(count).map((name) => `DE-${name.slice(1)}`) },
    }),
  ],
  [
    "zones",
    (count) => ({
      validity: {
        ...AUTHORITY.validity,
        hours: names(count).map((zone) => ({ zone, minutes: [[0, 1]] })),
      },
    }),
  ],
  [
    "windows",
    (count) => ({
      validity: { ...AUTHORITY.validity, hours: [{ zone: "UTC", minutes: minutes(count) }] },
    }),
  ],
])("38: 64 %s are taken in their one spelling, and 65 are not", (_name, of) => {
  const writtenWith = (count: number) =>
    writeClaims({ ...root().claims, authority: { ...AUTHORITY, ...of(count) } });
  expect(read(writtenWith(64))).toBe(writtenWith(64));
  expect(read(writtenWith(65))).toBe("contract_too_large");
});
