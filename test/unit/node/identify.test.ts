import { describe, expect, test } from "vitest";
import type { Via } from "../../../node/dataplane/exchange.ts";
import { isMissing } from "../../../node/decision/facts.ts";
import { identify } from "../../../node/identify.ts";
import { namedKey } from "../../../node/named-key.ts";
import { agentHandle } from "../../../node/thread-messages.ts";
import { RecordedExchange } from "./dataplane/recorded-exchange.ts";
import { LoopWorld } from "./loop-world.ts";

const POD = "research/worker-1";
const NEIGHBOUR = "research/worker-2";
const KEYS = new Map([POD, NEIGHBOUR].map((agentId, no) => [agentId, keyOf(no)]));

describe("a request on a captured connection", () => {
  test.each([
    ["brings no key", {}, POD],
    ["brings its pod's own", { authorization: `Bearer ${KEYS.get(POD)}` }, POD],
    ["brings another agent's", { authorization: `Bearer ${KEYS.get(NEIGHBOUR)}` }, undefined],
    ["brings it as Anthropic's clients do", { "x-api-key": KEYS.get(NEIGHBOUR) }, undefined],
  ])("that %s is its pod's agent's, or nobody's", async (_, headers, agentId) => {
    const identity = await whoAsks(headers as Record<string, string>);
    if (agentId !== undefined) expect(identity).toMatchObject({ agentId });
    else expect(identity).toEqual({ missing: "credentials_conflict" });
  });

  test("that brings another agent's key is that agent's where nobody captured it", async () => {
    const identity = await whoAsks({ authorization: `Bearer ${KEYS.get(NEIGHBOUR)}` }, {});
    expect(isMissing(identity)).toBe(false);
    expect(identity).toMatchObject({ agentId: NEIGHBOUR });
  });
});

/** Opened by the first agent's pod, as its address says. */
const CAPTURED: Via = {
  ...{ host: "api.openai.com", port: 443, door: "transparent", original: "198.18.5.5:443" },
  ...{ agentId: POD, keyHandle: agentHandle(POD), isContract: false },
};

async function whoAsks(
  headers: Readonly<Record<string, string>>,
  on: { readonly via?: Via } = { via: CAPTURED },
) {
  const world = new LoopWorld();
  const row = { ...world.row, keyGeneration: 0, keyId: "k1234567", contractId: undefined };
  const whole = { ...row, notBeforeMs: 0, notAfterMs: 0 };
  const owners = new Map([[agentHandle(POD), POD]]);
  for (const [agentId, key] of KEYS) {
    const named = namedKey({ head: headOf({ authorization: `Bearer ${key}` }) });
    if (isMissing(named)) throw new Error("a key of this test is none");
    owners.set(named.handle, agentId);
  }
  const loop = {
    ...world.loop,
    meshLink: {
      ...world.loop.meshLink,
      resolveKey: (handle: string) => {
        const agentId = owners.get(handle);
        return agentId === undefined ? ("key_unknown" as const) : { ...whole, agentId };
      },
    },
  };
  const exchange = Object.assign(new RecordedExchange(), { head: headOf(headers), ...on });
  return (await identify(exchange, namedKey(exchange), loop)).identity;
}

function headOf(headers: Readonly<Record<string, string>>) {
  const rawHeaders = Object.entries(headers).flat();
  return { method: "POST", target: "/v1/chat/completions", rawHeaders, peer: "10.77.0.11" };
}

function keyOf(no: number): string {
  return `altk_k${no}234567_${"a".repeat(43)}`;
}
