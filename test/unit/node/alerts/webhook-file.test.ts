import { expect, test } from "vitest";
import {
  readWebhookFile,
  WEBHOOK_FILE_BYTES_MAX,
  WebhookFileFault,
} from "../../../../node/alerts/webhook-file.ts";

const SECRET = Buffer.alloc(32, 7).toString("base64");
const GOOD = { url: "https://alerts.example.com/hook?a=1", secret: `whsec_${SECRET}` };

const read = (value: unknown) => readWebhookFile(Buffer.from(JSON.stringify(value)));

test("where alerts go is read from one file", () => {
  const target = read({ ...GOOD, ranges: ["10.1.0.0/16"], reasons: ["killed_agent"] });
  expect(target.url.href).toBe(GOOD.url);
  expect(Buffer.from(target.secret)).toEqual(Buffer.alloc(32, 7));
  expect(target.ranges).toEqual([["10.1.0.0", 16]]);
  expect([...target.reasons]).toEqual(["killed_agent"]);
  expect(read({ ...GOOD, url: "http://127.0.0.1:9000/" }).ranges).toEqual([]);
});

test.each([
  ["no object", []],
  ["an unknown member", { ...GOOD, headers: {} }],
  ["no url", { secret: GOOD.secret }],
  ["another scheme", { ...GOOD, url: "file:///etc/passwd" }],
  ["plain http to elsewhere", { ...GOOD, url: "http://alerts.example.com/" }],
  ["a password in the url", { ...GOOD, url: "https://a:b@alerts.example.com/" }],
  ["no secret", { url: GOOD.url }],
  ["a short secret", { ...GOOD, secret: `whsec_${Buffer.alloc(16).toString("base64")}` }],
  ["a secret that is not base64", { ...GOOD, secret: `whsec_${"_".repeat(44)}` }],
  ["a range that is none", { ...GOOD, ranges: ["10.1.0.0"] }],
  ["a reason that is none", { ...GOOD, reasons: ["because"] }],
])("a file with %s is refused, and its secret is not repeated", (_what, value) => {
  expect(() => read(value)).toThrow(WebhookFileFault);
  expect(() => read(value)).not.toThrow(SECRET);
});

test("what is not JSON, or too large, is refused without a word of it", () => {
  const text = `{"secret": "${SECRET}`;
  expect(() => readWebhookFile(Buffer.from(text))).toThrow(/^is not JSON$/);
  expect(() => readWebhookFile(Buffer.alloc(WEBHOOK_FILE_BYTES_MAX + 1))).toThrow(/bytes/);
});
