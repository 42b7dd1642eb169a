import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseAllDocuments,
} from "yaml";
import { POLICY_TEXT_BYTES_MAX } from "./defaults.ts";
import { type DocumentEntry, type DocumentNode, NO_PLACE, type Place } from "./document-node.ts";
import type { Findings } from "./findings.ts";

/** Levels of maps and lists; a policy has eight. Deeper text would cost stack, not say more. */
const DEPTH_MAX = 32;

/** One slip of syntax makes the parser stumble over all that follows; the first places do. */
const SYNTAX_ERRORS_MAX = 10;

type Reading = { readonly lines: LineCounter; readonly findings: Findings };

/**
 * Reads YAML 1.2 into a tree, and reports what is not YAML or is of no use in a policy.
 *
 * Anchors, aliases, tags and merge keys are refused: a grant should stand where it is read, and
 * nothing that is written once should take effect in ten places unseen.
 *
 * @returns `undefined` when there are errors.
 */
export function readYaml(text: string, findings: Findings): DocumentNode | undefined {
  if (text.length > POLICY_TEXT_BYTES_MAX) {
    const message = `the text is over ${POLICY_TEXT_BYTES_MAX} bytes`;
    findings.error({ place: { line: 1, column: 1 }, path: "" }, "too_large", message);
    return undefined;
  }
  const lines = new LineCounter();
  const document = parse(text, { lines, findings });
  if (findings.hasErrors) return undefined;
  if (document === undefined || document.contents === null) {
    findings.error({ place: { line: 1, column: 1 }, path: "" }, "syntax", "the text is empty");
    return undefined;
  }
  const node = nodeOf(document.contents, { lines, findings, depth: 0 });
  return findings.hasErrors ? undefined : node;
}

function parse(text: string, { lines, findings }: Reading): Document.Parsed | undefined {
  const documents = parseAllDocuments(text, {
    version: "1.2",
    schema: "core",
    merge: false,
    prettyErrors: false,
    lineCounter: lines,
    stringKeys: true,
    // It compares each key with all before it: minutes, for a team of 100,000. Ours is in nodeOf.
    uniqueKeys: false,
    logLevel: "silent",
  });
  const [document, second] = Array.isArray(documents) ? documents : [];
  const faults = [...(document?.errors ?? []), ...(document?.warnings ?? [])];
  for (const fault of faults.slice(0, SYNTAX_ERRORS_MAX)) {
    findings.error({ place: placeAt(lines, fault.pos[0]), path: "" }, "syntax", fault.message);
  }
  if (second !== undefined) {
    const place = placeAt(lines, second.range?.[0] ?? 0);
    findings.error(
      { place, path: "" },
      "syntax",
      "a policy is one document, and here begins another",
    );
  }
  return document as Document.Parsed | undefined;
}

function nodeOf(node: Node, reading: Reading & { readonly depth: number }): DocumentNode {
  const { lines, findings, depth } = reading;
  const place = placeAt(lines, node.range?.[0] ?? 0);
  const refuse = (message: string): DocumentNode => {
    findings.error({ place, path: "" }, "syntax", message);
    return { kind: "scalar", place, value: null };
  };
  if (depth > DEPTH_MAX) return refuse(`is nested deeper than ${DEPTH_MAX} levels`);
  if (isAlias(node)) return refuse("aliases are not read here; write the value out");
  if (node.anchor !== undefined) return refuse("anchors are not read here");
  if (node.tag !== undefined && !PLAIN_TAGS.has(node.tag)) return refuse("tags are not read here");
  const inner = { ...reading, depth: depth + 1 };
  if (isSeq(node)) {
    return { kind: "list", place, items: node.items.map((item) => nodeOf(item as Node, inner)) };
  }
  if (isMap(node)) {
    const keys = new Set<string>();
    const entries = node.items.map((pair): DocumentEntry => {
      const key = pair.key as Node;
      const value = pair.value === null ? nothing(key, lines) : nodeOf(pair.value as Node, inner);
      const text = isScalar(key) ? String(key.value) : "";
      if (text === "<<") refuse("merge keys are not read here");
      if (keys.has(text)) refuseTwice(key, text, reading);
      keys.add(text);
      return { key: text, keyPlace: placeAt(lines, key.range?.[0] ?? 0), value: () => value };
    });
    return { kind: "map", place, entries };
  }
  const value = isScalar(node) ? node.value : undefined;
  if (value === null || ["string", "number", "boolean"].includes(typeof value)) {
    return { kind: "scalar", place, value: value as string | number | boolean | null };
  }
  return refuse("is not a value that is read here");
}

/** Tags that the parser itself gives to plain values. */
const PLAIN_TAGS: ReadonlySet<string> = new Set(
  ["map", "seq", "str", "int", "float", "bool", "null"].map((name) => `tag:yaml.org,2002:${name}`),
);

function refuseTwice(key: Node, text: string, { lines, findings }: Reading): void {
  const place = placeAt(lines, key.range?.[0] ?? 0);
  findings.error({ place, path: "" }, "syntax", `the key "${text}" is in the map twice`);
}

function nothing(key: Node, lines: LineCounter): DocumentNode {
  return { kind: "scalar", place: placeAt(lines, key.range?.[0] ?? 0), value: null };
}

function placeAt(lines: LineCounter, offset: number): Place {
  const { line, col } = lines.linePos(offset);
  return line === 0 ? NO_PLACE : { line, column: col };
}
