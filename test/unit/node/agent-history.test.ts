import { expect, test } from "vitest";
import { AGENTS_KEPT_MAX, AgentHistory, DECISIONS_KEPT_MAX } from "../../../node/agent-history.ts";
import type { AgentEvent } from "../../../node/thread-messages.ts";

const event = (agentId: string, no: number) =>
  ({ agentId, requestId: `r-${no}` }) as unknown as AgentEvent;
const idsOf = (history: AgentHistory, agentId: string) =>
  history.of(agentId).map(({ requestId }) => requestId);

test("keeps each agent's last decisions in order", () => {
  const history = new AgentHistory();
  for (let no = 0; no < DECISIONS_KEPT_MAX + 2; no += 1) history.note(event("a/1", no));
  history.note(event("a/2", 0));
  const kept = Array.from({ length: DECISIONS_KEPT_MAX }, (_, no) => `r-${no + 2}`);
  expect(idsOf(history, "a/1")).toEqual(kept);
  expect(idsOf(history, "a/2")).toEqual(["r-0"]);
  expect(idsOf(history, "a/3")).toEqual([]);
});

test("forgets whoever was silent while half as many as are kept did something, twice over", () => {
  const history = new AgentHistory();
  const half = AGENTS_KEPT_MAX / 2;
  const others = (from: number) => {
    for (let no = 0; no < half; no += 1) history.note(event(`b/${from + no}`, no));
  };
  history.note(event("a/1", 1));
  others(0);
  expect(idsOf(history, "a/1")).toEqual(["r-1"]);
  history.note(event("a/1", 2));
  others(half);
  expect(idsOf(history, "a/1")).toEqual(["r-1", "r-2"]);
  others(2 * half);
  expect(idsOf(history, "a/1")).toEqual([]);
  expect(idsOf(history, `b/${3 * half - 1}`)).toEqual([`r-${half - 1}`]);
});
