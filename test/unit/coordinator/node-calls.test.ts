import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { createBusHub } from "../../../adapters/in-process-bus.ts";
import { NodeCalls, type NodeCallsDeps } from "../../../coordinator/node-calls.ts";
import type { RateRow } from "../../../mesh/rate-share.ts";
import { openSealed, type SealDomain, seal } from "../../../mesh/sealed.ts";
import type { TrustView } from "../../../mesh/trust.ts";
import { CALLS_IN_FLIGHT_MAX, Calls, type CallsDeps } from "../../../node/mesh/calls.ts";
import type { DelegationAnswer, Funding } from "../../../node/thread-messages.ts";
import { type Bus, BusFault, type BusMessage } from "../../../ports/bus.ts";
import type { Signer } from "../../../ports/keys.ts";
import { twinClock } from "../../../ports/twin-clock.ts";
import { twinKeys } from "../../../ports/twin-keys.ts";
import { twinRandom } from "../../../ports/twin-random.ts";
import {
  FundCallSchema,
  NodeAnswerSchema,
  NodeCallSchema,
  RecallCallSchema,
} from "../../../proto/gen/altrace/v1/mesh_pb.ts";
import { callSubject } from "../../../proto/subjects.ts";
import { comesTrue } from "../../support/comes-true.ts";

const keys = twinKeys(twinRandom(11));
const [COORDINATOR, NODE, OTHER] = ["coordinator", "node", "other"].map((name) =>
  keys.loadOrCreate(name),
) as [Signer, Signer, Signer];
const FUND = { case: "fund", value: create(FundCallSchema, { chain: "a~b", node: "n2" }) } as const;
const ALWAYS = { notBeforeMs: 0, notAfterMs: 0 };

/** What both sides know: one coordinator, and two nodes. */
const trust = {
  lookup: (kid: string) =>
    kid === COORDINATOR.kid ? { role: "coordinator", ...COORDINATOR, ...ALWAYS } : undefined,
  nodeKey: (id: string) => {
    const key = { n1: NODE, n2: OTHER }[id];
    return key && { role: "node", ...key, ...ALWAYS };
  },
} as unknown as TrustView;

let hub: ReturnType<typeof createBusHub>;
let fund: ReturnType<typeof vi.fn<(funding: Funding) => Promise<DelegationAnswer>>>;
let recall: ReturnType<typeof vi.fn<(row: RateRow) => void>>;
let calls: NodeCalls;

beforeEach(() => {
  hub = createBusHub(undefined);
  fund = vi.fn(async ({ chain }) => ({ contract: "c-1", chain }));
  recall = vi.fn();
  calls = new NodeCalls(asCoordinator());
});

function asCoordinator(more: Partial<NodeCallsDeps> = {}): NodeCallsDeps {
  return {
    bus: hub.connect(),
    signer: COORDINATOR,
    replica: { trust },
    verify: keys.verify,
    clock: twinClock({ nowMs: 1_000 }),
    random: twinRandom(3),
    ...more,
  };
}

function listening(more: Partial<CallsDeps> = {}): () => void {
  const ports = { signer: NODE, trust, verify: keys.verify, clock: twinClock({ nowMs: 1_000 }) };
  return new Calls({ node: "n1", bus: hub.connect(), ...ports, fund, recall, ...more }).listen();
}

type Said = Exclude<MessageInitShape<typeof NodeAnswerSchema>, { $typeName: string }>;

/** Whoever is on the bus instead of the node: what it answers to the call that it heard. */
function posing(answer: Said, by: Signer, as: SealDomain) {
  hub.connect().listen(callSubject("n1"), ({ bytes, respond }) => {
    const opened = openSealed("call", bytes, () => COORDINATOR.publicKey, keys.verify);
    const { requestId } = fromBinary(NodeCallSchema, opened?.payload ?? new Uint8Array());
    const said = create(NodeAnswerSchema, { node: "n1", requestId, ...answer });
    respond?.(seal(as, toBinary(NodeAnswerSchema, said), by));
  });
}

describe("a coordinator asks a node", () => {
  test("and hears what came of it", async () => {
    listening();
    expect(await calls.ask("n1", FUND)).toMatchObject({
      body: { case: "fund", value: { contract: "c-1" } },
    });
    expect(fund).toHaveBeenCalledExactlyOnceWith({ chain: "a~b", node: "n2" });
  });

  test("and hears its no by name", async () => {
    fund.mockResolvedValue({ refused: "delegation_rate", detail: "why" });
    listening();
    expect(await calls.ask("n1", FUND)).toMatchObject({
      body: { case: "refused", value: { reason: "delegation_rate", message: "why" } },
    });
  });

  test("that is not there: nothing was done, and nobody is waited for", async () => {
    listening()();
    expect(await calls.ask("n1", FUND)).toEqual({ fault: "no_responders" });
  });

  test("for a share of a rate, and waits for no answer", async () => {
    listening();
    const row = { account: "agent/pay/bot", contract: "c-1" };
    calls.tell("n1", { case: "recall", value: create(RecallCallSchema, row) });
    await calls.ask("n1", FUND);
    expect(recall).toHaveBeenCalledExactlyOnceWith(row);
    const asOther = new NodeCalls(asCoordinator({ signer: OTHER }));
    asOther.tell("n1", { case: "recall", value: create(RecallCallSchema, row) });
    await calls.ask("n1", FUND);
    expect(recall).toHaveBeenCalledOnce();
  });

  const yes: Said = { body: { case: "fund", value: { contract: "c-9" } } };
  test.each<[string, Signer, SealDomain, Said]>([
    ["another node's", OTHER, "answer", yes],
    ["the coordinator's own", COORDINATOR, "answer", yes],
    ["signed for something else", NODE, "reply", yes],
    ["to another call", NODE, "answer", { ...yes, requestId: "r-0" }],
    ["in another name", NODE, "answer", { ...yes, node: "n2" }],
    ["empty", NODE, "answer", {}],
  ])("and takes no answer that is %s", async (_what, by, as, said) => {
    posing(said, by, as);
    expect(await calls.ask("n1", FUND)).toEqual({ fault: "answer_untrusted" });
  });

  test("and takes the node's own, so that the refusals above are not those of a deaf caller", async () => {
    posing(yes, NODE, "answer");
    expect(await calls.ask("n1", FUND)).toMatchObject({ body: { value: { contract: "c-9" } } });
  });
});

describe("a node", () => {
  const asked = (node: string, requestId = "r-1") =>
    toBinary(NodeCallSchema, create(NodeCallSchema, { node, requestId, body: FUND }));

  test.each<[string, Uint8Array]>([
    ["another node's", seal("call", asked("n1"), OTHER)],
    ["its own", seal("call", asked("n1"), NODE)],
    ["for another node", seal("call", asked("n2"), COORDINATOR)],
    ["signed for something else", seal("reply", asked("n1"), COORDINATOR)],
    ["no message", Uint8Array.of(1, 2, 3)],
    ["no call", seal("call", Uint8Array.of(255), COORDINATOR)],
  ])("does nothing for a call that is %s", async (_what, bytes) => {
    listening();
    const answer = hub.connect().ask(callSubject("n1"), bytes, 20);
    await expect(answer).rejects.toMatchObject({ code: "timeout" });
    expect(fund).not.toHaveBeenCalled();
  });

  test("refuses what it does not know", async () => {
    listening();
    expect(await calls.ask("n1", { case: undefined })).toMatchObject({
      body: { case: "refused", value: { reason: "malformed_request" } },
    });
  });

  test("says that it could not, where carving fails", async () => {
    fund.mockRejectedValue(new Error("closed"));
    listening();
    expect(await calls.ask("n1", FUND)).toMatchObject({
      body: { case: "refused", value: { reason: "contract_unavailable", message: "closed" } },
    });
  });

  test("goes on when an answer cannot be sent", async () => {
    const heard: ((message: BusMessage) => void)[] = [];
    const listen: Bus["listen"] = (_pattern, fn) => {
      heard.push(fn);
      return () => undefined;
    };
    listening({ bus: { listen } });
    const bytes = seal("call", asked("n1"), COORDINATOR);
    const respond = vi.fn(() => {
      throw new BusFault("closed", "gone");
    });
    for (const take of heard) take({ subject: callSubject("n1"), bytes, respond });
    await comesTrue(() => expect(respond).toHaveBeenCalledOnce());
  });

  test("refuses more calls than it answers at once, and takes them again afterwards", async () => {
    const waiting: (() => void)[] = [];
    fund.mockImplementation(
      ({ chain }) =>
        new Promise((resolve) => waiting.push(() => resolve({ contract: "c-1", chain }))),
    );
    listening();
    const first = Array.from({ length: CALLS_IN_FLIGHT_MAX }, () => calls.ask("n1", FUND));
    expect(await calls.ask("n1", FUND)).toMatchObject({
      body: { case: "refused", value: { reason: "contract_unavailable" } },
    });
    for (const end of waiting) end();
    for (const answer of await Promise.all(first)) {
      expect(answer).toMatchObject({ body: { case: "fund" } });
    }
    fund.mockResolvedValue({ contract: "c-2", chain: "" });
    expect(await calls.ask("n1", FUND)).toMatchObject({ body: { case: "fund" } });
  });
});
