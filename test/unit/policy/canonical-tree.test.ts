import fc from "fast-check";
import { expect, test } from "vitest";
import { canonicalJson, type PlainJson } from "../../../policy/canonical-json.ts";
import { canonicalTree, NotCanonical } from "../../../policy/canonical-tree.ts";
import type { DocumentNode } from "../../../policy/document-node.ts";
import { proofCount } from "../../support/proof.ts";

const bytesOf = (text: string) => new TextEncoder().encode(text);

/** Runs to the end; also how many steps that took. */
function read(bytes: Uint8Array): { readonly tree: DocumentNode; readonly steps: number } {
  const reading = canonicalTree(bytes);
  for (let steps = 1; ; steps += 1) {
    const step = reading.next();
    if (step.done) return { tree: step.value, steps };
  }
}

function plainOf(node: DocumentNode): unknown {
  if (node.kind === "scalar") return node.value;
  if (node.kind === "list") return node.items.map(plainOf);
  return new Map(node.entries.map(({ key, value }) => [key, plainOf(value())]));
}

/** The same of a value that the runtime's own parser has read. */
function mapped(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(mapped);
  if (typeof value !== "object" || value === null) return value;
  return new Map(Object.entries(value).map(([key, member]) => [key, mapped(member)]));
}

function isTaken(bytes: Uint8Array): boolean {
  try {
    read(bytes);
    return true;
  } catch (error) {
    if (error instanceof NotCanonical) return false;
    throw error;
  }
}

/** Canonical by the definition: what the runtime's parser and our writer make of it is the same text. */
function isCanonical(bytes: Uint8Array): boolean {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    return canonicalJson(JSON.parse(text)) === text;
  } catch {
    return false;
  }
}

const values = fc.jsonValue({ maxDepth: 7, depthSize: "large", stringUnit: "binary" });

test("it says what the runtime's own parser says", () => {
  fc.assert(
    fc.property(values, (value) => {
      const text = canonicalJson(value as PlainJson);
      // Half a surrogate pair is no UTF-8, whatever spells it.
      fc.pre(text.isWellFormed());
      expect(plainOf(read(bytesOf(text)).tree)).toEqual(mapped(JSON.parse(text)));
    }),
  );
});

test("it takes nothing but the canonical spelling, whichever byte is another, left out or too much", () => {
  const { count: numRuns, seed } = proofCount("spellings", { small: 600, full: 20_000 });
  const change = fc.tuple(
    fc.nat(),
    fc.constantFrom(0, 1, 2),
    fc.constantFrom(...bytesOf('{}[]",:\\ 0-e.tnu'), 0xff),
  );
  fc.assert(
    fc.property(values, fc.array(change, { minLength: 1, maxLength: 3 }), (value, changes) => {
      const bytes = [...bytesOf(canonicalJson(value as PlainJson))];
      for (const [at, removed, byte] of changes) {
        bytes.splice(at % (bytes.length + 1), removed, ...(removed === 2 ? [] : [byte]));
      }
      const changed = Uint8Array.from(bytes);
      expect(isTaken(changed)).toBe(isCanonical(changed));
    }),
    { numRuns, seed },
  );
});

test("members of the outer levels are a step each", () => {
  const agents = Object.fromEntries(Array.from({ length: 500 }, (_, no) => [`a${no}`, { no }]));
  const { steps } = read(bytesOf(canonicalJson({ teams: { red: { agents } } })));
  expect(steps).toBeGreaterThan(500);
});

test("members that say the same are one node", () => {
  const { tree } = read(bytesOf('{"a":[1],"b":[1],"c":[2]}'));
  const nodes = tree.kind === "map" ? tree.entries.map(({ value }) => value()) : [];
  expect(nodes).toHaveLength(3);
  const deep = read(bytesOf('{"x":{"y":{"z":{"a":[1],"b":[1],"c":[2]}}}}')).tree;
  const inner = (node: DocumentNode | undefined) =>
    node?.kind === "map" ? node.entries.map(({ value }) => value()) : [];
  const [a, b, c] = inner(inner(inner(inner(deep)[0])[0])[0]);
  expect(a).toBe(b);
  expect(a).not.toBe(c);
});

test("one member is not without bounds", () => {
  expect(isTaken(bytesOf(`{"a":"${"x".repeat(100_000)}"}`))).toBe(true);
  expect(isTaken(bytesOf(`{"a":"${"x".repeat(600_000)}"}`))).toBe(false);
  expect(isTaken(bytesOf(`{"a":{"b":{"c":{"d":[${"1,".repeat(400_000)}1]}}}}`))).toBe(false);
});
