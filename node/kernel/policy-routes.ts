import { MARK_CAPTURED, MARK_PASSED } from "./kernel-view.ts";

// The second wall, which stands when the rules are gone: a packet that came in from a pod and bears no
// mark of ours has no route. What has one:
//
//   100  captured               -> table 100, which delivers to this machine
//   101  replies, and what is exempt -> as ever
//   105  from an interface that leads elsewhere, or from here -> as ever
//   110  everything else        -> table 666, which is a hole
//   111  (what "as ever" jumps to)
//
// Local addresses come before all of these, in rule 0: what reaches the machine itself is the rules' care.

const FAMILIES = ["-4", "-6"] as const;
export type IpFamily = (typeof FAMILIES)[number];

/** Preferences of our rules, and of nobody else's. */
const PREFERENCE = { captured: 100, passed: 101, infra: 105, hole: 110, onward: 111 } as const;
const TABLE = { local: 100, hole: 666 } as const;

/** One rule as `ip -N -j rule` shows it, with numbers for tables, which a machine may give names of its own. */
export type ShownRule = {
  readonly priority: number;
  readonly src?: string;
  readonly iif?: string;
  readonly fwmark?: string;
  readonly fwmask?: string;
  readonly table?: string;
  readonly goto?: number;
  readonly nop?: null;
};

/** One of our rules, as words of `ip rule add`. */
type RuleWords = readonly string[];

/** Words for `ip`, one command each; the family stands first. */
export type IpCommand = readonly string[];

/**
 * What must be run so that the routes are as they must be, given what is there.
 *
 * Rules are added before any is taken away, so that there is no moment without them.
 */
export function policyRouteChanges(
  infra: readonly string[],
  shown: Readonly<Record<IpFamily, readonly ShownRule[]>>,
): readonly IpCommand[] {
  return FAMILIES.flatMap((family) => {
    const wanted = wantedRules(infra).map(lineOf);
    const there = oursOf(shown[family]);
    const missing = wanted.filter((line) => !there.some((words) => lineOf(words) === line));
    const left = there.filter((words) => !wanted.includes(lineOf(words)));
    return [
      [family, "route", "replace", "local", "default", "dev", "lo", "table", `${TABLE.local}`],
      [family, "route", "replace", "blackhole", "default", "table", `${TABLE.hole}`],
      ...missing.map((line) => [family, "rule", "add", ...line.split(" ")]),
      ...left.map((words) => [family, "rule", "del", ...words]),
    ];
  });
}

/** What takes our rules and routes away. */
export function policyRouteRemovals(
  shown: Readonly<Record<IpFamily, readonly ShownRule[]>>,
): readonly IpCommand[] {
  return FAMILIES.flatMap((family) => [
    ...oursOf(shown[family]).map((words) => [family, "rule", "del", ...words]),
    [family, "route", "flush", "table", `${TABLE.local}`],
    [family, "route", "flush", "table", `${TABLE.hole}`],
  ]);
}

/** The most particular first where they are added: until the last one is there, pods have routes. */
function wantedRules(infra: readonly string[]): readonly RuleWords[] {
  const { captured, passed, infra: elsewhere, hole, onward } = PREFERENCE;
  const rule = (priority: number, ...words: readonly string[]) => ["pref", `${priority}`, ...words];
  const mark = (bit: number) => ["fwmark", `0x${bit.toString(16)}/0x${bit.toString(16)}`];
  const goOn = ["goto", `${onward}`];
  return [
    rule(onward, "nop"),
    rule(captured, ...mark(MARK_CAPTURED), "lookup", `${TABLE.local}`),
    rule(passed, ...mark(MARK_PASSED), ...goOn),
    ...[...new Set(["lo", ...infra])].map((link) => rule(elsewhere, "iif", link, ...goOn)),
    rule(hole, "lookup", `${TABLE.hole}`),
  ];
}

function oursOf(shown: readonly ShownRule[]): readonly RuleWords[] {
  return shown.map(ourWords).filter((words) => words !== undefined);
}

/**
 * The words of a rule that is ours; undefined for any other. One that somebody else put at a preference of ours is
 * not: it does not do what ours does, and is not for us to take away.
 */
function ourWords(shown: ShownRule): RuleWords | undefined {
  const { priority, src = "all", iif, fwmark, fwmask, table, goto: to, nop } = shown;
  const words = [
    ...["pref", `${priority}`, ...(src === "all" ? [] : ["from", src])],
    ...(iif === undefined ? [] : ["iif", iif]),
    ...(fwmark === undefined ? [] : ["fwmark", `${fwmark}/${fwmask ?? "0xffffffff"}`]),
    ...(table === undefined ? [] : ["lookup", table]),
    ...(to === undefined ? [] : ["goto", `${to}`]),
    ...(nop === undefined ? [] : ["nop"]),
  ];
  const ours = wantedRules(iif === undefined ? [] : [iif]).map(lineOf);
  return ours.includes(lineOf(words)) ? words : undefined;
}

function lineOf(words: RuleWords): string {
  return words.join(" ");
}
