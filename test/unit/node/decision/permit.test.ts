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

test("a permit is good for one request", () => {
  const permit = mintPermit(REQUEST, () => true);
  expect(permit.consume()).toBe(true);
  expect(permit.consume()).toBe(false);
});

test("a permit whose last look objects sends nothing, and is used up by it", () => {
  let killed = true;
  const permit = mintPermit(REQUEST, () => !killed);
  expect(permit.consume()).toBe(false);
  killed = false;
  expect(permit.consume()).toBe(false);
});

test("nobody but the mint can make a permit", () => {
  expect(() => new Permit(REQUEST, () => true)).toThrow("minted by commit alone");
  mintPermit(REQUEST, () => true);
  expect(() => new Permit(REQUEST, () => true)).toThrow("minted by commit alone");
});

test("what only looks like a permit cannot be used", () => {
  const forged = Object.create(Permit.prototype) as Permit;
  expect(forged.consume()).toBe(false);
  const real = mintPermit(REQUEST, () => true);
  expect(Permit.prototype.consume.call({ ...real } as Permit)).toBe(false);
  expect(real.consume()).toBe(true);
});

test("a revoked permit says whether it had been used, and cannot be any more", () => {
  const unused = mintPermit(REQUEST, () => true);
  expect(unused.revoke()).toBe(true);
  expect(unused.consume()).toBe(false);
  const used = mintPermit(REQUEST, () => true);
  used.consume();
  expect(used.revoke()).toBe(false);
});
