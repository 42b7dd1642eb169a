import { expect, test } from "vitest";
import { HEARD_KILL_STORED_MS, HeardKills } from "../../../coordinator/heard-kills.ts";
import type { MeshRecord } from "../../../mesh/record.ts";
import { twinClock } from "../../../ports/twin-clock.ts";

const of = (scope: string, hashHex: string) => ({ scope, hashHex }) as MeshRecord;

function world() {
  const clock = twinClock();
  const stored: string[] = [];
  const kills = new HeardKills({ clock, store: (scope) => stored.push(scope) });
  return { clock, stored, kills };
}

test("is stored once nobody has for a while; what has been stored is not", () => {
  const { clock, stored, kills } = world();
  kills.heard(of("team/pay", "a"));
  kills.heard(of("team/ops", "b"));
  kills.stored(of("team/ops", "b"));
  clock.advance(HEARD_KILL_STORED_MS);
  expect(stored).toEqual(["team/pay"]);
  clock.advance(10 * HEARD_KILL_STORED_MS);
  expect(stored).toEqual(["team/pay"]);
});

test("a late copy of what was before the kill does not pass for it, nor does the kill before it", () => {
  const { clock, stored, kills } = world();
  kills.heard(of("team/pay", "v1"));
  clock.advance(HEARD_KILL_STORED_MS - 1);
  kills.heard(of("team/pay", "v3"));
  kills.stored(of("team/pay", "v2"));
  clock.advance(1);
  expect(stored).toEqual([]);
  clock.advance(HEARD_KILL_STORED_MS);
  expect(stored).toEqual(["team/pay"]);
});

test("nothing is stored after the end", () => {
  const { clock, stored, kills } = world();
  kills.heard(of("team/pay", "a"));
  kills.stop();
  clock.advance(HEARD_KILL_STORED_MS);
  expect(stored).toEqual([]);
});
