import type { LimitsPolicy } from "./compiled-policy.ts";
import {
  BLOCK_UNTIL,
  LADDER_CAUSES,
  type LadderCause,
  type LadderPolicy,
} from "./compiled-policy.ts";
import * as defaults from "./defaults.ts";
import { DURATION_GRAMMAR, parseDurationMs } from "./duration-grammar.ts";
import {
  type Field,
  type FieldMap,
  readInteger,
  readListOf,
  readMap,
  readParsed,
  readWord,
} from "./field-reader.ts";
import { type Reading, readOr } from "./reading.ts";

export const LADDER_FIELDS = [
  "points",
  "enter",
  "leave",
  "window",
  "half_life",
  "half_life_of",
  "block_cool_down",
  "block_until",
  "evidence_floor",
  "budget_percent",
  "auto_kill",
] as const;
export const RUNGS = ["warning", "throttle", "quarantine", "block"] as const;
export const BUDGET_PERCENT_FIELDS = ["warning", "throttle"] as const;

const POINTS = { min: 0, max: defaults.LADDER_POINTS_MAX };
/** A mark of 0 would be reached by an agent that has done nothing. */
const MARK = { min: 1, max: defaults.LADDER_POINTS_MAX };
const PERCENT = { min: 1, max: 100 };

type Marks = LadderPolicy["enter"];

/** Reads the ladder. In a file every part of it may be left out. */
export function readLadder(field: Field | undefined, reading: Reading): LadderPolicy {
  const map = field && readMap(field, LADDER_FIELDS);
  if (field === undefined || map === undefined) return DEFAULT_LADDER;
  const enter = readOr(reading, { map, name: "enter", fallback: DEFAULT_LADDER.enter }, (at) =>
    readMarks(at, { reading, standard: DEFAULT_LADDER.enter }),
  );
  const leave = readOr(reading, { map, name: "leave", fallback: DEFAULT_LADDER.leave }, (at) =>
    readMarks(at, { reading, standard: DEFAULT_LADDER.leave }),
  );
  reportMarks(field, { enter, leave });
  return {
    points: readOr(reading, { map, name: "points", fallback: DEFAULT_LADDER.points }, (at) =>
      readPoints(at, reading),
    ),
    enter,
    leave,
    ...readTimes({ map, reading }),
    blockUntil: readOr(
      reading,
      { map, name: "block_until", fallback: DEFAULT_LADDER.blockUntil },
      (at) => readWord(at, BLOCK_UNTIL),
    ),
    evidenceFloor: readOr(
      reading,
      { map, name: "evidence_floor", fallback: defaults.LADDER.evidenceFloor },
      (at) => readInteger(at, defaults.EVIDENCE_FLOOR),
    ),
    budgetMilli: readOr(
      reading,
      { map, name: "budget_percent", fallback: DEFAULT_LADDER.budgetMilli },
      (at) => readPercents(at, reading),
    ),
    autoKill: readOr(
      reading,
      { map, name: "auto_kill", fallback: DEFAULT_LADDER.autoKill },
      (at) => new Set(readListOf(at, (item) => readWord(item, LADDER_CAUSES))),
    ),
  };
}

type Times = Pick<LadderPolicy, "windowMs" | "halfLifeMs" | "halfLifeMsOf" | "blockCoolDownMs">;

function readTimes(part: Part): Times {
  return {
    windowMs: readDuration(part, {
      name: "window",
      fallback: defaults.LADDER.windowMs,
      range: defaults.WINDOW_MS,
    }),
    halfLifeMs: readDuration(part, {
      name: "half_life",
      fallback: defaults.LADDER.halfLifeMs,
      range: defaults.HALF_LIFE_MS,
    }),
    halfLifeMsOf: readOr(
      part.reading,
      { map: part.map, name: "half_life_of", fallback: DEFAULT_LADDER.halfLifeMsOf },
      readHalfLives,
    ),
    blockCoolDownMs: readDuration(part, {
      name: "block_cool_down",
      fallback: defaults.LADDER.blockCoolDownMs,
      range: defaults.BLOCK_COOL_DOWN_MS,
    }),
  };
}

function readHalfLives(field: Field): ReadonlyMap<LadderCause, number> | undefined {
  const map = readMap(field, LADDER_CAUSES);
  if (map === undefined) return undefined;
  const halfLives = new Map<LadderCause, number>();
  for (const cause of LADDER_CAUSES) {
    const at = map.get(cause);
    const halfLifeMs = at && readDurationIn(at, defaults.HALF_LIFE_MS);
    if (halfLifeMs !== undefined) halfLives.set(cause, halfLifeMs);
  }
  return halfLives;
}

const DEFAULT_LADDER: LadderPolicy = {
  points: new Map(LADDER_CAUSES.map((cause) => [cause, defaults.LADDER.points[cause]])),
  enter: marksOf((rung) => defaults.LADDER.enter[rung]),
  leave: marksOf((rung) => defaults.LADDER.leave[rung]),
  windowMs: defaults.LADDER.windowMs,
  halfLifeMs: defaults.LADDER.halfLifeMs,
  halfLifeMsOf: new Map(),
  blockCoolDownMs: defaults.LADDER.blockCoolDownMs,
  blockUntil: defaults.LADDER.blockUntil,
  evidenceFloor: defaults.LADDER.evidenceFloor,
  budgetMilli: [
    defaults.LADDER.budgetPercent.warning * 10,
    defaults.LADDER.budgetPercent.throttle * 10,
  ],
  autoKill: new Set<LadderCause>(),
};

function readMarks(
  field: Field,
  { reading, standard }: { readonly reading: Reading; readonly standard: Marks },
): Marks | undefined {
  const map = readMap(field, RUNGS);
  if (map === undefined) return undefined;
  return marksOf((rung) =>
    readOr(reading, { map, name: rung, fallback: standard[RUNGS.indexOf(rung)] as number }, (at) =>
      readInteger(at, MARK),
    ),
  );
}

function marksOf(mark: (rung: (typeof RUNGS)[number]) => number): Marks {
  return [mark("warning"), mark("throttle"), mark("quarantine"), mark("block")];
}

/** Marks rise from rung to rung; a level is left below where it is entered, or it would flap. */
function reportMarks(field: Field, { enter, leave }: { enter: Marks; leave: Marks }) {
  for (const [i, rung] of RUNGS.entries()) {
    const mark = enter[i] as number;
    if (i > 0 && (enter[i - 1] as number) >= mark) {
      const message = `the mark of ${rung} is not above the one of ${RUNGS[i - 1]}`;
      field.findings.error({ ...field, path: `${field.path}.enter` }, "conflict", message);
    }
    if ((leave[i] as number) >= mark) {
      const message = `${rung} would be left at the score it is entered at`;
      field.findings.error({ ...field, path: `${field.path}.leave` }, "conflict", message);
    }
  }
}

function readPoints(field: Field, reading: Reading): ReadonlyMap<LadderCause, number> | undefined {
  const map = readMap(field, LADDER_CAUSES);
  if (map === undefined) return undefined;
  return new Map(
    LADDER_CAUSES.map((cause) => [
      cause,
      readOr(reading, { map, name: cause, fallback: defaults.LADDER.points[cause] }, (at) =>
        readInteger(at, POINTS),
      ),
    ]),
  );
}

function readPercents(field: Field, reading: Reading): LadderPolicy["budgetMilli"] | undefined {
  const map = readMap(field, BUDGET_PERCENT_FIELDS);
  if (map === undefined) return undefined;
  const [warning, throttle] = BUDGET_PERCENT_FIELDS.map((name) =>
    readOr(reading, { map, name, fallback: defaults.LADDER.budgetPercent[name] }, (at) =>
      readInteger(at, PERCENT),
    ),
  ) as [number, number];
  if (warning >= throttle) {
    field.findings.error(field, "conflict", "throttle must come after warning");
  }
  return [warning * 10, throttle * 10];
}

type Part = { readonly map: FieldMap; readonly reading: Reading };
type Range = { readonly min: number; readonly max: number };

function readDuration(
  { map, reading }: Part,
  of: { readonly name: string; readonly fallback: number; readonly range: Range },
): number {
  return readOr(reading, { map, name: of.name, fallback: of.fallback }, (field) =>
    readDurationIn(field, of.range),
  );
}

function readDurationIn(field: Field, { min, max }: Range): number | undefined {
  const durationMs = readParsed(field, parseDurationMs, DURATION_GRAMMAR);
  if (durationMs === undefined) return undefined;
  if (durationMs >= min && durationMs <= max) return durationMs;
  field.findings.error(field, "out_of_range", `must be ${min} to ${max} ms`);
  return undefined;
}

/** Reads the limits of data loops. In a file each of them may be left out. */
export function readLimits(field: Field | undefined, reading: Reading): LimitsPolicy {
  const names = Object.keys(defaults.LIMITS) as (keyof typeof defaults.LIMITS)[];
  const map = field && readMap(field, names);
  const limits: [keyof LimitsPolicy, number][] = names.map((name) => {
    const limit = defaults.LIMITS[name];
    if (map === undefined) return [limit.field, limit.default];
    const value = readOr<number>(reading, { map, name, fallback: limit.default }, (at) =>
      readInteger(at, limit),
    );
    return [limit.field, value];
  });
  return Object.fromEntries(limits) as Record<keyof LimitsPolicy, number>;
}
