import type { ServerResponse } from "node:http";
import { describe, expect, test } from "vitest";
import { JUDGE_LOOK_MS } from "../../../node/live-decisions.ts";
import { setStanding } from "../../../node/table/standing.ts";
import { bumpKeyGeneration, setOpenUntilNs } from "../../../node/table/table.ts";
import { twinClock } from "../../../ports/twin-clock.ts";
import { model, provider } from "../../support/builders.ts";
import { eventually } from "./dataplane/door.ts";
import { type RequestWorld, requestWorld } from "./request-world.ts";

const chunk = (content: string) =>
  `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content } }] })}\n\n`;
const BODY = {
  model: "gpt-5-mini",
  stream: true,
  messages: [{ role: "user", content: "hello" }],
  tools: [{ type: "function", function: { name: "search" } }],
};

/** A provider's stream that has begun and goes on, as its client reads it. */
async function running() {
  let upstream: ServerResponse | undefined;
  const it = await requestWorld({
    reply: (response) => {
      upstream = response;
      response.setHeader("content-type", "text/event-stream");
      response.write(chunk("first "));
    },
  });
  const answer = await it.chat(BODY);
  const reader = (answer.body as ReadableStream<Uint8Array>).getReader();
  let text = Buffer.from((await reader.read()).value ?? []).toString();
  const rest = async (): Promise<string> => {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return text;
      text += Buffer.from(value).toString();
    }
  };
  expect(text).toContain("first");
  return { ...it, rest, reader, say: (words: string) => upstream?.write(chunk(words)) };
}

async function expectCut(it: RequestWorld & { rest(): Promise<string> }, reason: string) {
  const text = await it.rest();
  expect(text).toContain(`"code":"${reason}"`);
  expect(text).not.toContain("[DONE]");
  await eventually(() => it.world.settlements.length === 1, "settled");
  expect(it.world.decisions.map(({ rc }) => rc)).toEqual(["ok", reason]);
  expect(it.loop.live.count).toBe(0);
  await eventually(() => it.provider.sockets.size === 0, "the provider's side closed");
}

describe("a running answer", () => {
  test("goes on under a policy that still allows it", async () => {
    const it = await running();
    it.switchPolicy({ tools: new Map([["search", ["call", "read"]]]) });
    await it.loop.live.judge(it.loop);
    it.say("second ");
    expect(Buffer.from((await it.reader.read()).value ?? []).toString()).toContain("second");
    expect(it.loop.live.count).toBe(1);
  });

  test.each([
    ["its tool", { tools: new Map() }, "tool_not_granted"],
    ["its model", { models: [] }, "model_not_granted"],
    ["its provider's host", { hosts: [] }, "host_not_granted"],
  ] as const)("is cut by a policy that no longer grants %s", async (_what, granted, reason) => {
    const it = await running();
    it.switchPolicy(granted);
    await it.loop.live.judge(it.loop);
    await expectCut(it, reason);
    // It was allowed when it was asked for: that it is no longer says nothing about the agent.
    expect(it.world.events.map(({ cause }) => cause)).toEqual([undefined, undefined]);
  });

  test("is cut when policy has its model at another place", async () => {
    const it = await running();
    const elsewhere = model({ provider: provider({ origin: "https://elsewhere.example" }) });
    it.switchPolicy({}, { models: new Map([["openai:gpt-5-mini", elsewhere]]) });
    await it.loop.live.judge(it.loop);
    await expectCut(it, "policy_changed");
  });

  test("is cut when its key is removed, and not while nobody can say so", async () => {
    const it = await running();
    bumpKeyGeneration(it.world.table);
    it.answerKeyBy(() => "identity_unavailable");
    await it.loop.live.judge(it.loop);
    expect(it.loop.live.count).toBe(1);
    it.answerKeyBy(() => "key_unknown");
    // What could not be said is asked again at the next look, without another change.
    it.loop.live.watch(it.loop);
    await expectCut(it, "key_revoked");
  });

  test("L1: a change between its decision and its entry is seen at the next look", async () => {
    const it = await requestWorld({
      granted: { auditStrict: true },
      reply: (response) => {
        response.setHeader("content-type", "text/event-stream");
        response.write(chunk("first "));
      },
    });
    const clock = twinClock();
    const look = async (): Promise<void> => {
      clock.advance(JUDGE_LOOK_MS);
      await new Promise((resolve) => setImmediate(resolve));
    };
    it.loop.live.watch({ ...it.loop, clock });
    await look();
    // Decided and on record, and it waits for the disk: word of the new policy comes and goes.
    it.world.syncedNs = 0n;
    const asking = it.chat(BODY);
    await eventually(() => it.world.decisions.length === 1, "decided");
    it.switchPolicy({ models: [] });
    await look();
    it.world.syncedNs = 1n << 60n;
    await eventually(() => it.loop.live.count === 1, "it goes on");
    await look();
    await (await asking).text();
    expect(it.world.decisions.map(({ rc }) => rc)).toEqual(["ok", "model_not_granted"]);
  });

  test("is cut at its next piece by a cell alone", async () => {
    const it = await running();
    setOpenUntilNs(it.world.table, 0n);
    it.say("second ");
    await expectCut(it, "mesh_stale");
  });

  test("ends within what it holds when its agent is blocked", async () => {
    const it = await running();
    setStanding(it.world.table, it.world.row.row, "block");
    await it.loop.live.judge(it.loop);
    expect(it.loop.live.count).toBe(1);
    it.switchPolicy({ models: [] });
    await it.loop.live.judge(it.loop);
    await expectCut(it, "model_not_granted");
  });
});
