import { create } from "@bufbuild/protobuf";
import { beforeEach, describe, expect, test } from "vitest";
import type { Delegation } from "../../../../authority/delegation.ts";
import type { Rate } from "../../../../authority/rate.ts";
import type { TrustView } from "../../../../mesh/trust.ts";
import type { ServedContract } from "../../../../node/mesh/contract-desk.ts";
import { type DelegationsDeps, delegate, fund } from "../../../../node/mesh/delegations.ts";
import { CARVES_UNSETTLED_MAX } from "../../../../node/mesh/unsettled-carves.ts";
import { heldHandle } from "../../../../node/thread-messages.ts";
import { twinClock } from "../../../../ports/twin-clock.ts";
import {
  CarveReplySchema,
  ContractReplySchema,
  type NodeReply,
  NodeReplySchema,
  RateSchema,
  RefusedSchema,
} from "../../../../proto/gen/altrace/v1/mesh_pb.ts";
import {
  AUTHORITY,
  chainText,
  child,
  halved,
  NOW_S,
  operatorEntry,
  root,
  testKey,
} from "../../../support/contract-forge.ts";
import { delegationWorld } from "./delegation-world.ts";

const KEY = heldHandle(root().id);
/** Of ten requests a second the child gets three. */
const CHILD_RATE = evenRate(3);
const WISH: Delegation = {
  agent: "research/worker-2",
  node: "",
  holder: "",
  source: "",
  authority: { ...halved(AUTHORITY), rate: CHILD_RATE },
};

type Body = NodeReply["body"] | "silence";

let clock: ReturnType<typeof twinClock>;
let desk: typeof deps.desk;
let deps: ReturnType<typeof delegationWorld>;
/** Answers of the ledger, given when the test says so; by what was asked. */
let waiting: Record<"carve" | "contract", ((body: Body) => void)[]>;
/** Keys that loops are told of, with what they would be told if they asked then. */
let told: (readonly [key: string, left: number | undefined])[];
let parent: ServedContract;

beforeEach(async () => {
  clock = twinClock({ nowMs: NOW_S * 1_000 });
  waiting = { carve: [], contract: [] };
  told = [];
  const trust = { lookup: operatorEntry, nodeKey: () => undefined } as unknown as TrustView;
  const ask: DelegationsDeps["ask"] = (body) => {
    const { promise, resolve } = Promise.withResolvers<Body>();
    waiting[body.case as "carve" | "contract"].push(resolve);
    return promise.then((said) =>
      said === "silence"
        ? { fault: "timeout" }
        : { reply: create(NodeReplySchema, { requestId: "r", body: said }) },
    );
  };
  deps = delegationWorld({ trust, clock, ask, onRate: (key) => told.push([key, left()]) });
  desk = deps.desk;
  parent = await find(10);
  expect(left()).toBe(10);
});

function evenRate(perSecond: number): Rate {
  const bucket = { burst: perSecond, amount: perSecond, seconds: 1 };
  return { req: bucket, tok: bucket, usd_u: bucket };
}

function rateMessage(perSecond: number) {
  const bucket = { burst: BigInt(perSecond), amount: BigInt(perSecond), seconds: 1n };
  return create(RateSchema, { requests: bucket, tokens: bucket, usdMicros: bucket });
}

function carved(leftPerSecond: number | undefined): Body {
  const parentRate = leftPerSecond === undefined ? {} : { parentRate: rateMessage(leftPerSecond) };
  return { case: "carve", value: create(CarveReplySchema, { contract: "c-1", ...parentRate }) };
}

function refused(reason: string): Body {
  return { case: "refused", value: create(RefusedSchema, { reason, message: "why" }) };
}

function contract(perSecond: number): Body {
  const value = create(ContractReplySchema, {
    chain: chainText(root()),
    rate: rateMessage(perSecond),
  });
  return { case: "contract", value };
}

function asking(): Promise<ServedContract | string> {
  return desk.find(KEY);
}

async function find(perSecond: number): Promise<ServedContract> {
  const found = asking();
  waiting.contract.pop()?.(contract(perSecond));
  const served = await found;
  if (typeof served === "string") throw new Error(served);
  return served;
}

/** Requests a second that a loop would be told of now; undefined: the ledger would be asked first. */
function left(): number | undefined {
  return desk.known(KEY)?.rate.req.amount;
}

/** What a loop is told at last, if nobody answers. */
async function leftInSilence(): Promise<number | string> {
  const found = asking();
  waiting.contract.pop()?.("silence");
  const served = await found;
  return typeof served === "string" ? served : served.rate.req.amount;
}

/** Begins to delegate; the ledger's answer is given later. */
function delegating() {
  const answer = delegate(parent, WISH, deps);
  const say = waiting.carve.at(-1);
  return async (body: Body) => {
    say?.(body);
    return await answer;
  };
}

describe("U1: a child's rate is not its delegator's", () => {
  test("from before the ledger is asked, and by its word from then on", async () => {
    const say = delegating();
    expect(left()).toBe(7);
    expect(told).toEqual([[KEY, 7]]);
    await say(carved(6));
    expect(left()).toBe(6);
    expect(told).toEqual([
      [KEY, 7],
      [KEY, 6],
    ]);
  });

  test("unless the ledger refuses", async () => {
    await delegating()(refused("delegation_budget"));
    expect(left()).toBe(10);
    expect(told.at(-1)).toEqual([KEY, 10]);
  });

  test("for what its holder delegated offline as well", async () => {
    const key = testKey(41);
    const chain = chainText(root(), child(root(), { key, authority: WISH.authority }));
    const funded = fund(parent, { chain, node: "" }, deps);
    await expect.poll(() => waiting.carve.length).toBe(1);
    expect(left()).toBe(7);
    waiting.carve.pop()?.("silence");
    expect(await funded).toMatchObject({ refused: "contract_unavailable" });
    expect(await leftInSilence()).toBe(7);
  });

  test("and of answers that cross the lower one stands", async () => {
    const [first, second] = [delegating(), delegating()];
    expect(left()).toBe(4);
    await second(carved(4));
    await first(carved(7));
    expect(left()).toBe(4);
  });

  test("and more than there is leaves nothing", () => {
    for (let no = 0; no < 4; no++) delegating();
    expect(left()).toBe(0);
  });

  test("and so many at once are refused", async () => {
    for (let no = 0; no < CARVES_UNSETTLED_MAX; no++) delegating();
    expect(waiting.carve).toHaveLength(CARVES_UNSETTLED_MAX);
    expect(await delegate(parent, WISH, deps)).toMatchObject({ refused: "contract_unavailable" });
    expect(waiting.carve).toHaveLength(CARVES_UNSETTLED_MAX);
  });
});

describe("U2: without the ledger's word a child may have been carved", () => {
  test.each<[string, Body]>([
    ["no answer", "silence"],
    ["a fault over there", refused("unavailable")],
    ["an answer to something else", { case: undefined }],
    ["a yes that does not say what is left", carved(undefined)],
  ])("%s", async (_name, body) => {
    await delegating()(body);
    expect(left()).toBe(7);
    clock.advance(30_000);
    expect(left()).toBe(undefined);
    expect(await leftInSilence()).toBe(7);
    await find(10);
    expect(left()).toBe(10);
  });
});

describe("U3: an answer that may be older than a delegation is no word on it", () => {
  test("where the delegation has ended meanwhile", async () => {
    const say = delegating();
    const found = asking();
    await say(carved(7));
    waiting.contract.pop()?.(contract(10));
    await found;
    expect(left()).toBe(7);
    clock.advance(1_000);
    expect(left()).toBe(undefined);
    expect(await leftInSilence()).toBe(7);
  });

  test("where nobody said how it ended", async () => {
    const say = delegating();
    const found = asking();
    await say("silence");
    waiting.contract.pop()?.(contract(10));
    await found;
    expect(await leftInSilence()).toBe(7);
    await find(7);
    expect(left()).toBe(7);
  });

  test("where it is under way still", async () => {
    const say = delegating();
    await find(10);
    expect(left()).toBe(7);
    await say(refused("delegation_rate"));
    expect(left()).toBe(10);
  });
});
