import { describe, expect, test } from "vitest";
import {
  isCardNumber,
  isIban,
  isSocialSecurityNumber,
} from "../../../../../node/dataplane/scan/checksums.ts";
import { DETECTORS } from "../../../../../node/dataplane/scan/detectors.ts";
import { SCAN_LIMITS } from "../../../../../node/dataplane/scan/scan-limits.ts";
import { bytesOf, hitsOf, scanPieces, setOf } from "./scan-fixture.ts";

const set = setOf(
  DETECTORS.map(({ id: _, ...rule }) => rule),
  { purpose: "stream" },
);

function detected(text: string): string[] {
  return [...new Set(hitsOf(set, text).map(({ rule }) => DETECTORS[rule]?.id as string))];
}

// Put together here, so that no secret scanner takes this file for a leak.
const of = (length: number, alphabet = "Ab3dEf6h") => alphabet.repeat(length).slice(0, length);
const SAMPLES: readonly [id: string, text: string][] = [
  ["altrace-virtual-key", `altk_${of(12, "k3y0")}_${of(43)}`],
  ["anthropic-api-key", `sk-ant-api03-${of(93)}-${of(6)}AA`],
  ["anthropic-api-key", `sk-ant-admin01-${of(80)}`],
  ["openai-project-key", `sk-proj-${of(48)}`],
  ["openai-project-key", `sk-svcacct-${of(48)}`],
  ["openai-api-key", `sk-${of(48)}`],
  ["aws-access-key-id", `AKIA${of(16, "IOSFODNN7EXAMPLE")}`],
  ["aws-access-key-id", `ASIA${of(16, "ABCDEFG2")}`],
  ["github-token", `ghp_${of(36)}`],
  ["github-token", `ghs_${of(36)}`],
  ["github-fine-grained-token", `github_pat_${of(22)}_${of(59)}`],
  ["gitlab-token", `glpat-${of(20)}`],
  ["slack-token", `xoxb-${of(12, "1234567890")}-${of(24)}`],
  ["slack-token", `xapp-1-A0123ABCD-${of(24)}`],
  [
    "slack-webhook",
    `https://hooks.slack.com/services/T${of(8, "A1B2")}/B${of(8, "A1B2")}/${of(24)}`,
  ],
  ["google-api-key", `AIza${of(35)}`],
  ["google-oauth-token", `ya29.${of(60)}`],
  ["stripe-key", `sk_live_${of(24)}`],
  ["npm-token", `npm_${of(36)}`],
  ["hugging-face-token", `hf_${of(34, "AbCdEf")}`],
  ["jwt", `eyJhbGciOiJIUzI1NiJ9.eyJ${of(30)}.${of(43)}`],
  ["private-key", "-----BEGIN PRIVATE KEY-----"],
  ["private-key", "-----BEGIN RSA PRIVATE KEY-----"],
  ["private-key", "-----BEGIN OPENSSH PRIVATE KEY-----"],
  ["private-key", "-----BEGIN PGP PRIVATE KEY BLOCK-----"],
  ["payment-card", "4111111111111111"],
  ["payment-card", "5555 5555 5555 4444"],
  ["payment-card", "3782-822463-10005"],
  ["payment-card", "2223 0031 2200 3222"],
  ["iban", "DE89370400440532013000"],
  ["iban", "GB29 NWBK 6016 1331 9268 19"],
  ["iban", "NO93 8601 1117 947"],
  ["us-social-security-number", "078-05-1120"],
  ["us-social-security-number", "219 09 9999"],
  ["email-address", "first.last+tag@mail.example.co.uk"],
];

const CLEAN: readonly string[] = [
  "The quick brown fox jumps over the lazy dog, 24 times in 2024.",
  "task-4f2c1e9ab34d4c5e8f7a6b5c4d3e2f1a0b1c2d3e",
  "xoxb-your-token-here and sk-your-key and AKIA and ghp_",
  "-----BEGIN CERTIFICATE-----",
  "-----BEGIN PUBLIC KEY-----",
  "4111111111111112",
  "1234567812345670",
  "9999999999999995",
  "41111111111111110",
  "DE88370400440532013000",
  "DE8937040044053201300",
  "XX89370400440532013000",
  "000-12-3456 666-12-3456 900-12-3456 123-00-4567 123-45-0000 123-45 6789",
  "user@localhost, @handle, a@b, name @ example.com",
  "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
  "123e4567-e89b-12d3-a456-426614174000",
  "1718000000000 ms, 2024-06-10T12:00:00.000Z",
  "eyJhbGciOiJIUzI1NiJ9 alone is a header",
];

describe("the built-in detectors", () => {
  test.each(SAMPLES)("%s is found in a sentence", (id, text) => {
    expect(detected(`My value is "${text}", keep it.`)).toEqual([id]);
  });

  test.each(SAMPLES)(
    "%s is found at the end, byte by byte, and held from its first",
    (id, text) => {
      const before = "value: ";
      const pieces = Array.from(bytesOf(before + text), (byte) => Uint8Array.of(byte));
      const seen = scanPieces(set, pieces);
      const told = seen.findIndex(({ hits }) => hits.length > 0);
      const hit = seen[told]?.hits[0];
      expect(DETECTORS[hit?.rule ?? -1]?.id).toBe(id);
      const start = hit?.start as number;
      for (const { released, position } of seen.slice(0, told)) {
        expect(released).toBeLessThanOrEqual(Math.min(start, position));
      }
    },
  );

  test.each(CLEAN)("nothing is found in %j", (text) => {
    expect(detected(text)).toEqual([]);
  });

  test("a secret in the middle of a word is still one, where its prefix is nobody else's", () => {
    expect(detected(`keyAKIA${of(16, "ABCDEFG2")}x`)).toEqual(["aws-access-key-id"]);
    expect(detected(`token=_ghp_${of(36)}`)).toEqual(["github-token"]);
  });

  test("an account number is told from the words around it", () => {
    const text = "pay DE89 3704 0044 0532 0130 00 NOW AND";
    expect(hitsOf(set, text)).toMatchObject([{ start: 4, end: 31 }]);
  });

  test("all of them fit a stream, far below its bound", () => {
    expect(set.holdBytesMax).toBeLessThanOrEqual(SCAN_LIMITS.streamMatchBytesMax / 4);
    expect(new Set(DETECTORS.map(({ id }) => id)).size).toBe(DETECTORS.length);
  });

  test("each has a sample here", () => {
    const sampled = new Set(SAMPLES.map(([id]) => id));
    expect(DETECTORS.map(({ id }) => id).filter((id) => !sampled.has(id))).toEqual([]);
  });
});

describe("checksums", () => {
  test("one wrong digit is noticed, wherever it is", () => {
    const card = "4111111111111111";
    const iban = "GB29NWBK60161331926819";
    expect([isCardNumber(card), isIban(iban)]).toEqual([true, true]);
    for (let index = 1; index < card.length; index++) {
      expect(isCardNumber(withDigitRaised(card, index))).toBe(false);
    }
    for (const [index, character] of Array.from(iban).entries()) {
      if (/[0-9]/.test(character)) expect(isIban(withDigitRaised(iban, index))).toBe(false);
    }
  });

  test("a right sum under no scheme's prefix or length is no card", () => {
    expect(isCardNumber("4222222222222")).toBe(true);
    expect(isCardNumber("42222222222220000")).toBe(false);
    expect(isCardNumber("0000000000000000")).toBe(false);
  });

  test("an account number has its country's length", () => {
    expect(isIban("NO9386011117947")).toBe(true);
    expect(isIban("ZZ9386011117947")).toBe(false);
    expect(isIban("")).toBe(false);
    // Of all check digits one fits any account; with a digit too many, none may.
    const checkDigits = Array.from({ length: 100 }, (_, n) => String(n).padStart(2, "0"));
    const valid = (account: string) => checkDigits.filter((cd) => isIban(`DE${cd}${account}`));
    expect(valid("370400440532013000")).toContain("89");
    expect(valid("3704004405320130001")).toEqual([]);
  });

  test.each(["000-12-3456", "666-12-3456", "900-12-3456", "123-00-4567", "123-45-0000"])(
    "%s was never given out",
    (number) => expect(isSocialSecurityNumber(number)).toBe(false),
  );
});

function withDigitRaised(text: string, index: number): string {
  const digit = (Number(text[index]) + 1) % 10;
  return `${text.slice(0, index)}${digit}${text.slice(index + 1)}`;
}
