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

/** One rule as `ip -j rule` shows it. */
export type ShownRule = {
  readonly priority: number;
  readonly iif?: string;
  readonly fwmark?: string;
  readonly fwmask?: string;
  readonly table?: string;
};

/** One of our rules: `selector` and `action` are words of `ip rule add`. */
type WantedRule = {
  readonly priority: number;
  readonly iif?: string;
  readonly words: readonly string[];
};

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
    const wanted = wantedRules(infra);
    const missing = wanted.filter((rule) => !shown[family].some((one) => isSame(rule, one)));
    const left = shown[family].filter(
      (one) => isOurs(one) && !wanted.some((rule) => isSame(rule, one)),
    );
    return [
      [family, "route", "replace", "local", "default", "dev", "lo", "table", `${TABLE.local}`],
      [family, "route", "replace", "blackhole", "default", "table", `${TABLE.hole}`],
      ...missing.map(({ words }) => [family, "rule", "add", ...words]),
      ...left.map((one) => deletion(family, one)),
    ];
  });
}

/** What takes our rules and routes away. */
export function policyRouteRemovals(
  shown: Readonly<Record<IpFamily, readonly ShownRule[]>>,
): readonly IpCommand[] {
  return FAMILIES.flatMap((family) => [
    ...shown[family].filter(isOurs).map((one) => deletion(family, one)),
    [family, "route", "flush", "table", `${TABLE.local}`],
    [family, "route", "flush", "table", `${TABLE.hole}`],
  ]);
}

/** The most particular first where they are added: until the last one is there, pods have routes. */
function wantedRules(infra: readonly string[]): readonly WantedRule[] {
  const { captured, passed, infra: elsewhere, hole, onward } = PREFERENCE;
  const rule = (priority: number, words: readonly string[], iif?: string): WantedRule => ({
    priority,
    ...(iif !== undefined && { iif }),
    words: ["pref", `${priority}`, ...words],
  });
  const mark = (bit: number) => ["fwmark", `0x${bit.toString(16)}/0x${bit.toString(16)}`];
  const goOn = ["goto", `${onward}`];
  return [
    rule(onward, ["nop"]),
    rule(captured, [...mark(MARK_CAPTURED), "lookup", `${TABLE.local}`]),
    rule(passed, [...mark(MARK_PASSED), ...goOn]),
    ...[...new Set(["lo", ...infra])].map((link) => rule(elsewhere, ["iif", link, ...goOn], link)),
    rule(hole, ["lookup", `${TABLE.hole}`]),
  ];
}

function isOurs({ priority }: ShownRule): boolean {
  return (Object.values(PREFERENCE) as number[]).includes(priority);
}

/** A priority of ours says what the rule does; only the one for interfaces is there more than once. */
function isSame(wanted: WantedRule, shown: ShownRule): boolean {
  return wanted.priority === shown.priority && wanted.iif === shown.iif;
}

function deletion(family: IpFamily, { priority, iif }: ShownRule): IpCommand {
  const which = iif === undefined ? [] : ["iif", iif];
  return [family, "rule", "del", "pref", `${priority}`, ...which];
}
