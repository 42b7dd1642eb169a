import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, test } from "vitest";
import type { WitnessPlace } from "../../../audit/log-policy.ts";
import type { BroughtLog } from "../../../coordinator/outside/brought-log.ts";
import {
  ANSWER_MS_MAX,
  ASKED_AT_ONCE_MAX,
  type LaneTold,
  WitnessLane,
} from "../../../coordinator/outside/witness-lane.ts";
import { twinClock } from "../../../ports/twin-clock.ts";

const FOREVER = new Promise<never>(() => undefined);
/** The least time before a log that was refused is asked about again. */
const REFUSED_MS = 60_000;

/** A lane to a witness that answers by log with this status, and never where there is none. */
function world(statuses: Readonly<Record<string, number>>) {
  const clock = twinClock();
  const asked: string[] = [];
  const place = { name: "w1", key: {}, url: "https://w1.example/" } as unknown as WitnessPlace;
  const nothing = () => undefined;
  const told: LaneTold = {
    ...{ answered: nothing, silent: nothing, answersAgain: nothing },
    ...{ unwell: nothing, fault: nothing, evidence: nothing },
  };
  const call = async (_url: string, { body = "" }: { readonly body?: string }) => {
    asked.push(body);
    const status = statuses[body];
    return status === undefined ? FOREVER : { status, body: Buffer.alloc(0) };
  };
  const lane = new WitnessLane(place, call, clock, told);
  const want = (...origins: string[]) => {
    for (const origin of origins) lane.want(logOf(origin));
  };
  const pump = async () => {
    lane.pump();
    await nextTurn();
    return asked.splice(0);
  };
  return { clock, want, pump };
}

/** A log that waits for every witness, and is asked about by its name. */
function logOf(origin: string): BroughtLog {
  const candidate = { size: 1, text: "", note: "" };
  return {
    ...{ origin, candidate, isOwn: false },
    cosignedBy: () => 0,
    isWaitingFor: () => true,
    question: () => origin,
  } as unknown as BroughtLog;
}

test("L2: a log that was refused holds up none that came after it", async () => {
  const { clock, want, pump } = world({ refused: 404 });
  want("refused");
  expect(await pump()).toEqual(["refused"]);
  want("second", "third");
  clock.advance(1_000);
  expect(await pump()).toEqual(["second", "third"]);
  clock.advance(REFUSED_MS);
  expect(await pump()).toEqual(["refused"]);
});

test("L1: nothing is asked about a log while a question about it is under way", async () => {
  const { clock, want, pump } = world({});
  want("slow");
  expect(await pump()).toEqual(["slow"]);
  clock.advance(ANSWER_MS_MAX / 2);
  expect(await pump()).toEqual([]);
});

test("L1: it is asked about few logs at a time, whoever came first", async () => {
  const { want, pump } = world({});
  const names = Array.from({ length: ASKED_AT_ONCE_MAX + 1 }, (_, no) => `log ${no}`);
  want(...names);
  expect(await pump()).toEqual(names.slice(0, ASKED_AT_ONCE_MAX));
});
