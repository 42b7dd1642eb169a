import type { ServerResponse } from "node:http";
import { describe, expect, test } from "vitest";
import { systemClock } from "../../../adapters/system-clock.ts";
import { JUDGE_ALL_EVERY_MS, JUDGE_LOOK_MS } from "../../../node/live-decisions.ts";
import { setStanding } from "../../../node/table/standing.ts";
import { bumpKeyGeneration, setOpenUntilNs } from "../../../node/table/table.ts";
import { twinClock } from "../../../ports/twin-clock.ts";
import { model, provider } from "../../support/builders.ts";
import { AUTHORITY } from "../../support/contract-forge.ts";
import { eventually } from "./dataplane/door.ts";
import { AGENT, type RequestWorld, requestWorld } from "./request-world.ts";

const chunk = (content: string) =>
  `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content } }] })}\n\n`;
const BODY = {
  model: "gpt-5-mini",
  stream: true,
  messages: [{ role: "user", content: "hello" }],
  tools: [{ type: "function", function: { name: "search" } }],
};

/** A provider's stream that has begun and goes on, as its client reads it. */
async function running(prepare: (it: RequestWorld) => void = () => {}) {
  let upstream: ServerResponse | undefined;
  const it = await requestWorld({
    reply: (response) => {
      upstream = response;
      response.setHeader("content-type", "text/event-stream");
      response.write(chunk("first "));
    },
  });
  prepare(it);
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

  test("is cut when the hours are over in which it may be, though nobody says a word", async () => {
    const it = await running();
    // The week's first minute alone.
    it.switchPolicy({ hours: [{ timeZone: "UTC", minutes: [[0, 1]] }] });
    const clock = twinClock({ nowMs: Date.UTC(2026, 0, 5), monoNs: systemClock.monoNs() });
    it.loop.live.watch({ ...it.loop, clock });
    const look = async (ms: number): Promise<void> => {
      clock.advance(ms);
      await new Promise((resolve) => setImmediate(resolve));
    };
    await look(JUDGE_LOOK_MS);
    expect(it.loop.live.count).toBe(1);
    clock.jumpWall(60_000);
    await look(JUDGE_LOOK_MS);
    expect(it.loop.live.count).toBe(1);
    // One look falls due on the way, and the next one after it.
    await look(JUDGE_ALL_EVERY_MS);
    await look(JUDGE_LOOK_MS);
    await expectCut(it, "outside_hours");
  });

  test("is cut when its key's time is over, and when its contract's is", async () => {
    const expiresMs = 4_000_000_000_000;
    const validity = { notBefore: 0, expires: expiresMs / 1_000, hours: [] };
    const tools = new Map([["search", ["call" as const]]]);
    const scheme = "public.internal.confidential.restricted";
    const dataClass = { scheme, level: 2, compartments: [] };
    const geography = { egr: ["US"], proc: ["US"], src: ["DE"] };
    const contract = {
      ids: ["c".repeat(43)],
      holders: [AGENT],
      person: "",
      effective: { ...AUTHORITY, validity, tools, geography, dataClass },
      rate: AUTHORITY.rate,
      source: "",
      freshUntilNs: 1n << 60n,
      depthLeft: 0,
    };
    for (const [of, reason] of [
      [{ contractId: undefined, notAfterMs: expiresMs }, "key_expired"],
      [{ contractId: contract.ids[0], contract, notAfterMs: 0 }, "contract_expired"],
    ] as const) {
      const it = await running((world) => {
        const key = { ...world.world.row, keyGeneration: 0, agentId: AGENT, keyId: "k1234567" };
        world.answerKeyBy(() => ({ ...key, notBeforeMs: 0, ...of }));
      });
      const at = (ms: number) => ({ ...it.loop, clock: { ...systemClock, nowMs: () => ms } });
      await it.loop.live.judge(at(expiresMs - 1));
      expect(it.loop.live.count).toBe(1);
      await it.loop.live.judge(at(expiresMs));
      await expectCut(it, reason);
    }
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
