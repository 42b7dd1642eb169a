import type { ContentRule, Severity } from "./compiled-policy.ts";
import { type ContentScanner, detectorsNamed } from "./content-scanner.ts";
import * as defaults from "./defaults.ts";
import {
  type Field,
  type FieldMap,
  readEntries,
  readList,
  readListOf,
  readMap,
  readMatching,
  readReference,
  readText,
  readWord,
  shorten,
} from "./field-reader.ts";
import type { ClassificationDocument } from "./policy-document.ts";
import { type Reading, readOr, readRequired } from "./reading.ts";
import { didYouMean } from "./suggestion.ts";

export const CLASSIFICATION_FIELDS = ["levels", "labels", "default_class"] as const;
export const CONTENT_FIELDS = [
  "id",
  "pattern",
  "detector",
  "direction",
  "action",
  "severity",
  "label",
] as const;
export const DIRECTIONS = ["request", "response", "both"] as const;
export const ACTIONS = ["label", "warn", "refuse"] as const;
export const SEVERITIES = ["low", "medium", "high"] as const satisfies readonly Severity[];

const WORD = /^[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?$/;
const WORD_GRAMMAR = "a name of [a-z0-9_-]";
const isWord = (text: string) => WORD.test(text);

export function readClassification(
  field: Field | undefined,
  reading: Reading,
): ClassificationDocument {
  const standard = { ...defaults.CLASSIFICATION, labels: new Map<string, string>() };
  const map = field && readMap(field, CLASSIFICATION_FIELDS);
  if (map === undefined) return standard;
  const levels = readOr<readonly string[]>(
    reading,
    { map, name: "levels", fallback: standard.levels },
    readLevels,
  );
  const level = (at: Field) => readReference(at, levels, "classification level");
  const fallback = levels.includes(standard.defaultClass) ? standard.defaultClass : "";
  const defaultClass = readOr(reading, { map, name: "default_class", fallback }, level);
  if (defaultClass === "" && map.get("default_class") === undefined && !reading.complete) {
    const message = 'the field "default_class" is missing, and none of the levels is the usual one';
    map.findings.error(map, "missing_field", message);
  }
  const labels = readOr(
    reading,
    { map, name: "labels", fallback: standard.labels as ReadonlyMap<string, string> },
    (at) => readLabels(at, level),
  );
  return { levels, labels, defaultClass };
}

function readLevels(field: Field): readonly string[] | undefined {
  const levels = readListOf(field, (item) => readMatching(item, isWord, WORD_GRAMMAR));
  if (levels === undefined) return undefined;
  if (levels.length < 1 || levels.length > defaults.LEVELS_MAX) {
    const message = `must have 1 to ${defaults.LEVELS_MAX} levels`;
    field.findings.error(field, "out_of_range", message);
  }
  return levels;
}

function readLabels(
  field: Field,
  level: (at: Field) => string | undefined,
): ReadonlyMap<string, string> {
  const labels = new Map<string, string>();
  for (const [label, entry] of readEntries(field) ?? []) {
    if (!isWord(label)) entry.findings.error(entry, "malformed", `is not ${WORD_GRAMMAR}`);
    const name = level(entry);
    if (name !== undefined) labels.set(label, name);
  }
  if (labels.size > defaults.LABELS_MAX) {
    field.findings.error(field, "too_large", `more than ${defaults.LABELS_MAX} labels`);
  }
  return labels;
}

/** Reads all rules; a step ends after each: the engine tries it, which takes some tenth of a millisecond. */
export function* readContent(
  field: Field | undefined,
  reading: Reading & { readonly classification: ClassificationDocument },
): Generator<void, readonly ContentRule[], void> {
  const rules: ContentRule[] = [];
  // Rules that may say the same: who has another pattern, or none, looks for something else.
  const alike = new Map<string | undefined, ContentRule[]>();
  const ids = new Set<string>();
  for (const item of (field && readList(field)) ?? []) {
    const map = readMap(item, CONTENT_FIELDS);
    if (map === undefined) continue;
    const rule = readRule(map, reading);
    if (ids.has(rule.id)) item.findings.error(item, "duplicate", `another rule is "${rule.id}"`);
    ids.add(rule.id);
    const earlier = alike.get(rule.pattern) ?? [];
    reportShadowed(item, { ...reading, rule, earlier });
    earlier.push(rule);
    alike.set(rule.pattern, earlier);
    rules.push(rule);
    yield;
  }
  if (field !== undefined && rules.length > defaults.CONTENT_RULES_MAX) {
    field.findings.error(field, "too_large", `more than ${defaults.CONTENT_RULES_MAX} rules`);
  }
  return rules;
}

function readRule(
  map: FieldMap,
  reading: Reading & { readonly classification: ClassificationDocument },
): ContentRule {
  const label = map.get("label");
  const labels = reading.classification.labels.keys();
  const direction = readOr<ContentRule["direction"]>(
    reading,
    { map, name: "direction", fallback: "both" },
    (field) => readWord(field, DIRECTIONS),
  );
  const rule: ContentRule = {
    id: readRequired({ map, name: "id", fallback: "" }, (field) =>
      readMatching(field, isWord, WORD_GRAMMAR),
    ),
    pattern: readPattern(map, { direction, scanner: reading.scanner }),
    detector: readDetector(map, reading.scanner),
    direction,
    action: readRequired({ map, name: "action", fallback: "refuse" }, (field) =>
      readWord(field, ACTIONS),
    ),
    severity: readRequired({ map, name: "severity", fallback: "high" }, (field) =>
      readWord(field, SEVERITIES),
    ),
    label: label && readReference(label, labels, "label in classification.labels"),
  };
  reportContradictions(map, rule);
  return rule;
}

function readPattern(
  map: FieldMap,
  of: {
    readonly direction: ContentRule["direction"];
    readonly scanner: ContentScanner | undefined;
  },
): string | undefined {
  const field = map.get("pattern");
  const pattern = field && readText(field);
  if (pattern === undefined || field === undefined) return undefined;
  if (pattern === "" || pattern.length > defaults.PATTERN_CHARS_MAX) {
    const message = `must have 1 to ${defaults.PATTERN_CHARS_MAX} characters`;
    field.findings.error(field, "out_of_range", message);
    return pattern;
  }
  const bound = of.scanner?.boundOf(pattern);
  if (bound === undefined) return pattern;
  if (!bound.ok) {
    field.findings.error(field, "malformed", `is not a pattern: ${bound.message}`);
  } else if (of.direction !== "request") {
    reportLongMatch(field, { bytes: bound.bytesMax, max: of.scanner?.streamMatchBytesMax ?? 0 });
  }
  return pattern;
}

/** A stream's bytes wait while a rule may still match, so the wait must have an end. */
function reportLongMatch(
  field: Field,
  { bytes, max }: { readonly bytes: number | undefined; readonly max: number },
) {
  if (bytes !== undefined && bytes <= max) return;
  const size = bytes === undefined ? "have no longest length" : `be ${bytes} bytes long`;
  const message =
    `a match can ${size}, and a rule for responses may match ${max} bytes at most; ` +
    'bound its repetitions, or set direction to "request"';
  field.findings.error(field, "unbounded_rule", message);
}

function readDetector(map: FieldMap, scanner: ContentScanner | undefined): string | undefined {
  const field = map.get("detector");
  const detector = field && readText(field);
  if (field === undefined || detector === undefined || scanner === undefined) return detector;
  if (detectorsNamed(detector, scanner).length === 0) {
    const known = [...(scanner.detectorGroups?.keys() ?? []), ...scanner.detectors];
    const hint = didYouMean(detector, known);
    const message = `there is no detector "${shorten(detector)}"${hint}`;
    field.findings.error(field, "unknown_reference", message);
  }
  return detector;
}

function reportContradictions(map: FieldMap, rule: ContentRule) {
  const both = map.get("pattern") !== undefined && map.get("detector") !== undefined;
  const neither = map.get("pattern") === undefined && map.get("detector") === undefined;
  if (both || neither) {
    const message = "a rule has either a pattern or a detector";
    map.findings.error(map, both ? "conflict" : "missing_field", message);
  }
  if (rule.action !== "label") return;
  if (map.get("label") === undefined) {
    map.findings.error(map, "missing_field", 'a rule whose action is "label" needs a label');
  }
  if (rule.direction === "response") {
    const message = "a label on responses decides nothing: only requests are classified";
    map.findings.error(map, "dead_rule", message);
  }
}

/** Of two rules, one may say nothing that the other does not. */
function reportShadowed(
  item: Field,
  of: {
    readonly rule: ContentRule;
    readonly earlier: readonly ContentRule[];
    readonly classification: ClassificationDocument;
    readonly scanner: ContentScanner | undefined;
  },
) {
  const isShadow = (weak: ContentRule, strong: ContentRule) =>
    isFoundBy(weak, { strong, scanner: of.scanner }) && outweighs(strong, weak, of.classification);
  for (const other of of.earlier) {
    const isThisOne = isShadow(of.rule, other);
    if (!isThisOne && !isShadow(other, of.rule)) continue;
    const [weak, strong] = isThisOne ? [of.rule, other] : [other, of.rule];
    const message = `rule "${weak.id}" adds nothing to rule "${strong.id}", which finds as much`;
    item.findings.error(item, "dead_rule", message);
  }
}

/** True when whatever `weak` looks for, `strong` looks for too, as far as their names say. */
function isFoundBy(
  weak: ContentRule,
  of: { readonly strong: ContentRule; readonly scanner: ContentScanner | undefined },
): boolean {
  const { strong, scanner } = of;
  if (weak.pattern !== strong.pattern) return false;
  if (weak.detector === strong.detector) return true;
  if (weak.detector === undefined || strong.detector === undefined || scanner === undefined) {
    return false;
  }
  const found = detectorsNamed(strong.detector, scanner);
  const wanted = detectorsNamed(weak.detector, scanner);
  return wanted.length > 0 && wanted.every((detector) => found.includes(detector));
}

/** True when wherever `weak` would act, `strong` acts too, at least as much and as severely. */
function outweighs(
  strong: ContentRule,
  weak: ContentRule,
  { levels, labels }: ClassificationDocument,
): boolean {
  const rank = (rule: ContentRule) => ACTIONS.indexOf(rule.action);
  const severity = (rule: ContentRule) => SEVERITIES.indexOf(rule.severity);
  const level = (rule: ContentRule) =>
    rule.label === undefined ? -1 : levels.indexOf(labels.get(rule.label) ?? "");
  return (
    (strong.direction === "both" || strong.direction === weak.direction) &&
    rank(strong) >= rank(weak) &&
    severity(strong) >= severity(weak) &&
    level(strong) >= level(weak)
  );
}
