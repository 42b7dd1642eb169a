import { create } from "@bufbuild/protobuf";
import { beforeEach, describe, expect, test } from "vitest";
import type { TrustView } from "../../../../mesh/trust.ts";
import {
  ContractDesk,
  type ContractDeskDeps,
  resolveContract,
} from "../../../../node/mesh/contract-desk.ts";
import { Directory } from "../../../../node/mesh/directory.ts";
import { LOOKUP_BURST } from "../../../../node/mesh/lookup-limit.ts";
import { createTable } from "../../../../node/table/table.ts";
import { heldHandle } from "../../../../node/thread-messages.ts";
import { twinClock } from "../../../../ports/twin-clock.ts";
import {
  type ContractReply,
  ContractReplySchema,
  type NodeReply,
  NodeReplySchema,
  type NodeRequest,
  RateSchema,
  RefusedSchema,
} from "../../../../proto/gen/altrace/v1/mesh_pb.ts";
import {
  chainText,
  child,
  type Forged,
  AUTHORITY as GRANT,
  HOLDERS,
  MESH,
  NOW_S,
  operatorEntry,
  root,
  testKey,
  verifyEd25519,
} from "../../../support/contract-forge.ts";
import { sha256Hex } from "./mesh-world.ts";

// HOLDERS[0] is this node's key: it holds roots, and what is delegated to it.
const NODE = HOLDERS[0];
const KEY = "altk_ct00000001_secret";
const bearer = {
  sha256: Buffer.from(sha256Hex(KEY), "hex").toString("base64url"),
  source: "",
};
const HANDLE = sha256Hex(KEY);
const CHILD = child(root(), { key: NODE, bearer });
const CHAIN = chainText(root(), CHILD);

type Said = NodeReply["body"] | { readonly case: "silence" };

let trusted: boolean;
let trustVersion: number;
let endedMs: number;
let answer: (asked: NodeRequest["body"]) => Said;
let asked: NodeRequest["body"][];
let looked: number;
/** What happens between two links. */
let between: () => void;
let turns: number;
let clock: ReturnType<typeof twinClock>;
let desk: ContractDesk;

beforeEach(() => {
  trusted = true;
  trustVersion = 1;
  endedMs = 0;
  answer = () => contract(CHAIN);
  asked = [];
  looked = 0;
  between = () => undefined;
  turns = 0;
  clock = twinClock({ nowMs: NOW_S * 1_000 });
  desk = new ContractDesk(deps());
});

function deps(): ContractDeskDeps {
  const lookup = (kid: string) => (trusted ? operatorEntry(kid) : undefined);
  return {
    mesh: MESH,
    trust: { lookup } as unknown as TrustView,
    clock,
    isOwn: (publicKey) => Buffer.compare(publicKey, NODE.publicKey) === 0,
    endedMs: () => endedMs,
    trustVersion: () => trustVersion,
    verify: (...of) => {
      looked += 1;
      return verifyEd25519(...of);
    },
    nextTurn: async () => {
      turns += 1;
      between();
    },
    ask: async (body) => {
      asked.push(body);
      const said = answer(body);
      if (said.case === "silence") return { fault: "timeout" };
      return { reply: create(NodeReplySchema, { requestId: "r", body: said }) };
    },
  };
}

function contract(chain: string): Said {
  const bucket = { burst: 5n, amount: 1n, seconds: 1n };
  const rate = create(RateSchema, { requests: bucket, tokens: bucket, usdMicros: bucket });
  return { case: "contract", value: create(ContractReplySchema, { chain, rate }) as ContractReply };
}

function refused(reason: string): Said {
  return { case: "refused", value: create(RefusedSchema, { reason }) };
}

async function found(handle = HANDLE): Promise<string> {
  const served = await desk.find(handle);
  return typeof served === "string" ? served : `served ${served.verified.leaf.id}`;
}

const SERVED = `served ${CHILD.id}`;

test("what the mesh knows to have ended is served no more, however far back this node's clock is", async () => {
  const { expires } = CHILD.claims.authority.validity;
  endedMs = expires * 1000 - 1;
  expect(await found()).toBe(SERVED);
  expect(desk.known(HANDLE)).toBeDefined();
  endedMs += 1;
  expect(desk.known(HANDLE)).toBeUndefined();
  expect(await found()).toBe("contract_expired");
});

describe("what a coordinator says", () => {
  test("K2: is served for the key that was signed into it, with the rate that is left", async () => {
    const served = await desk.find(HANDLE);
    if (typeof served === "string") throw new Error(served);
    expect(served.verified.links.map(({ id }) => id)).toEqual([root().id, CHILD.id]);
    expect(served.rate.req).toEqual({ burst: 5, amount: 1, seconds: 1 });
    expect(desk.known(HANDLE)).toBe(served);
  });

  test.each<readonly [string, string, () => Said]>([
    [
      "another key's contract",
      "key_unknown",
      () => contract(chainText(root(), child(root(), { key: NODE }))),
    ],
    [
      "one that another node holds",
      "contract_elsewhere",
      () => contract(chainText(root(), child(root(), { key: HOLDERS[1], bearer }))),
    ],
    ["a forged one", "contract_signature", () => contract(chainText(root(), forged()))],
    ["none", "key_unknown", () => refused("contract_unknown")],
    ["nothing that is an answer", "contract_unavailable", () => refused("internal")],
    ["nothing at all", "contract_unavailable", () => ({ case: "silence" })],
    [
      "one whose hours no clock here can tell",
      "contract_unsupported",
      () => {
        const { validity } = GRANT;
        const hours = [{ zone: "Mars/Olympus", minutes: [[0, 60]] as const }];
        const authority = { ...GRANT, validity: { ...validity, hours } };
        return contract(root({ authority, bearer }).token);
      },
    ],
  ])("K1: %s is not taken on trust", async (_name, reason, said) => {
    answer = said;
    expect(await found()).toBe(reason);
    expect(desk.known(HANDLE)).toBeUndefined();
  });

  test("stands for half a minute, and for as long as nobody answers", async () => {
    await desk.find(HANDLE);
    clock.advance(30_000);
    expect(desk.known(HANDLE)).toBeUndefined();
    answer = () => ({ case: "silence" });
    expect(await found()).toBe(SERVED);
    answer = () => refused("contract_unknown");
    expect(await found()).toBe("key_unknown");
    answer = () => ({ case: "silence" });
    expect(await found()).toBe("contract_unavailable");
  });

  test("is asked for once, however many ask", async () => {
    await Promise.all([desk.find(HANDLE), desk.find(HANDLE), desk.find(HANDLE)]);
    expect(asked).toHaveLength(1);
  });
});

describe("a contract that its agent holds", () => {
  const HELD = child(root(), { key: HOLDERS[2] });
  const handle = heldHandle(HELD.id);

  test("K2: is asked for by its id, and served for nothing that is born with a key", async () => {
    answer = () => contract(chainText(root(), HELD));
    expect(await found(handle)).toBe(`served ${HELD.id}`);
    expect(asked[0]?.value).toMatchObject({ contract: HELD.id });
    answer = () => contract(CHAIN);
    expect(await found(heldHandle(CHILD.id))).toBe("contract_unfunded");
    // Nor for another contract than was asked for.
    expect(await found(handle)).toBe("contract_unfunded");
  });

  test("without an account, or with one elsewhere, it is refused by that reason", async () => {
    answer = () => refused("contract_unknown");
    expect(await found(handle)).toBe("contract_unfunded");
    answer = () => refused("contract_elsewhere");
    expect(await found(handle)).toBe("contract_elsewhere");
  });
});

describe("what is remembered", () => {
  test("41: a chain with a known beginning and another end is looked at like any other", async () => {
    expect(await found()).toBe(SERVED);
    answer = () => contract(chainText(root(), forged()));
    expect(await found()).toBe("contract_signature");
    // All that was signed is the same; the signature is another one.
    const [head, body, tail = ""] = CHILD.token.split(".");
    const other = `${tail.startsWith("A") ? "B" : "A"}${tail.slice(1)}`;
    answer = () => contract(`${root().token}~${head}.${body}.${other}`);
    expect(await found()).toBe("contract_signature");
    // A link that is known, below a parent that it was not delegated from.
    answer = () => contract(chainText(root({ issuedAt: NOW_S - 30 }), CHILD));
    expect(await found()).toBe("contract_parent");
  });

  test("41: an operator who is removed takes all that was remembered along", async () => {
    expect(await found()).toBe(SERVED);
    trusted = false;
    trustVersion = 2;
    expect(desk.known(HANDLE)).toBeUndefined();
    expect(await found()).toBe("contract_untrusted");
    answer = () => ({ case: "silence" });
    expect(await found()).toBe("contract_unavailable");
  });

  test("K3: an operator who is removed while signatures are looked at has issued nothing", async () => {
    between = () => {
      trusted = false;
      trustVersion = 2;
    };
    expect(await found()).toBe("contract_untrusted");
    expect(desk.known(HANDLE)).toBeUndefined();
  });

  test("K3: a chain that was taken across a change of trust is known under the new one", async () => {
    between = () => {
      trustVersion = 2;
    };
    expect(await found()).toBe(SERVED);
    expect(desk.known(HANDLE)).toBeDefined();
    expect(looked).toBe(2);
  });

  test("K3: no signature that was good is looked at again; dates are", async () => {
    await desk.find(HANDLE);
    expect(looked).toBe(2);
    clock.advance(30_000);
    expect(await found()).toBe(SERVED);
    expect(looked).toBe(2);
    clock.advance(3_600_000);
    expect(await found()).toBe("contract_expired");
  });

  test("a link a turn: whatever the chain's depth, no task looks at two signatures", async () => {
    const links: Forged[] = [root()];
    while (links.length < 4) links.push(child(links.at(-1) as Forged));
    links.push(child(links.at(-1) as Forged, { key: NODE, bearer }));
    answer = () => contract(chainText(...links));
    expect(await found()).toBe(`served ${links.at(-1)?.id}`);
    expect([looked, turns]).toEqual([5, 4]);
  });
});

describe("look-ups", () => {
  test("K4: who tries keys keeps nobody of the same address from a contract that is served", async () => {
    const table = createTable({ rows: 4, loops: 1, scopes: 8, writers: 1, proofs: 64 });
    const directory = new Directory({ table, killed: () => false });
    const resolve = (keySha256: string) =>
      resolveContract({ contracts: desk, directory, keySha256, source: "::1", nowNs: 0n });
    expect(await resolve(HANDLE)).toHaveProperty("grant");
    answer = () => refused("contract_unknown");
    for (let no = 0; no < LOOKUP_BURST; no++) await resolve(sha256Hex(`guess ${no}`));
    const before = asked.length;
    expect(await resolve(sha256Hex("one more"))).toEqual({ refused: "lookups_exhausted" });
    expect(asked).toHaveLength(before);
    clock.advance(31_000);
    answer = () => contract(CHAIN);
    expect(await resolve(HANDLE)).toHaveProperty("grant");
  });
});

function forged(): Forged {
  return child(root(), { key: NODE, bearer, signedBy: testKey(66) });
}
