import { expect, test } from "vitest";
import { mintPermit, Permit, type UpstreamRequest } from "../../../../node/decision/permit.ts";

const REQUEST: UpstreamRequest = {
  requestId: "r1",
  origin: "https://api.openai.com",
  method: "POST",
  path: "/v1/chat/completions",
  headers: [],
  body: new Uint8Array(),
  credential: { name: "openai", dialect: "openai" },
};

const YES = () => true;

test("a permit is good for one request", () => {
  const permit = mintPermit(REQUEST, YES, YES);
  expect(permit.consume()).toBe(true);
  expect(permit.consume()).toBe(false);
});

test("a permit whose last look objects sends nothing, and is used up by it", () => {
  let killed = true;
  const permit = mintPermit(REQUEST, () => !killed, YES);
  expect(permit.consume()).toBe(false);
  killed = false;
  expect(permit.consume()).toBe(false);
});

test("nobody but the mint can make a permit", () => {
  expect(() => new Permit(REQUEST, YES, YES)).toThrow("minted by commit alone");
  mintPermit(REQUEST, YES, YES);
  expect(() => new Permit(REQUEST, YES, YES)).toThrow("minted by commit alone");
});

test("what only looks like a permit cannot be used", () => {
  const forged = Object.create(Permit.prototype) as Permit;
  expect(forged.consume()).toBe(false);
  const real = mintPermit(REQUEST, YES, YES);
  expect(Permit.prototype.consume.call({ ...real } as Permit)).toBe(false);
  expect(real.consume()).toBe(true);
});

test("a revoked permit says whether it had been used, and cannot be any more", () => {
  const unused = mintPermit(REQUEST, YES, YES);
  expect(unused.revoke()).toBe(true);
  expect(unused.consume()).toBe(false);
  const used = mintPermit(REQUEST, YES, YES);
  used.consume();
  expect(used.revoke()).toBe(false);
});

test("what it asks before a connection is opened uses nothing up, and a record that is not written stops it", () => {
  let isWritten = false;
  const permit = mintPermit(REQUEST, YES, () => isWritten);
  expect(permit.mayConnect()).toBe(false);
  isWritten = true;
  expect([permit.mayConnect(), permit.mayConnect(), permit.consume()]).toEqual([true, true, true]);
  expect(permit.mayConnect()).toBe(false);
  const late = mintPermit(REQUEST, YES, () => false);
  expect(late.consume()).toBe(false);
});
