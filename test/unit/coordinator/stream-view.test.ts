import { expect, test } from "vitest";
import { StreamView } from "../../../coordinator/stream-view.ts";
import type { MeshRecord } from "../../../mesh/record.ts";
import { parseScope } from "../../../proto/ids.ts";

function recordOf(scope: string): MeshRecord {
  return { scope, parsed: parseScope(scope), hashHex: scope } as MeshRecord;
}

test("the newest record is the one with the highest sequence, whatever became of those before", () => {
  const view = new StreamView();
  const newest = () => view.newest()?.record.scope;
  expect(newest()).toBeUndefined();
  const [one, two] = [recordOf("agent/t/one"), recordOf("agent/t/two")];
  view.note(one, 4);
  view.note(two, 7);
  expect(newest()).toBe(two.scope);
  view.note(one, 9);
  expect(newest()).toBe(one.scope);
  // The stream was rolled back, and numbers anew.
  view.note(one, 5);
  expect(newest()).toBe(two.scope);
  view.noteSeq(two.scope, 10);
  expect(newest()).toBe(one.scope);
  view.note(two, 11);
  view.forget(two.scope);
  expect(newest()).toBe(one.scope);
  view.clear();
  expect(newest()).toBeUndefined();
});
