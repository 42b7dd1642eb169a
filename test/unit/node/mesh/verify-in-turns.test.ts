import { describe, expect, test } from "vitest";
import { KnownLinks } from "../../../../authority/known-links.ts";
import { type ChainEnv, verifyChain } from "../../../../authority/verify-chain.ts";
import { verifyChainInTurns } from "../../../../node/mesh/verify-in-turns.ts";
import { chainVectors } from "../../../../scripts/contract-vectors/chains.ts";
import {
  chainEnv,
  chainText,
  child,
  type Forged,
  HOLDERS,
  OPERATOR,
  root,
  testKey,
  verifyEd25519,
} from "../../../support/contract-forge.ts";

const LINKS = chainOf(5);
const CHAIN = chainText(...LINKS);

function chainOf(count: number): readonly Forged[] {
  const links = [root()];
  while (links.length < count) links.push(child(links.at(-1) as Forged));
  return links;
}

const atOnce = async (): Promise<void> => undefined;

/** An environment that writes down whose signatures were looked at. */
function counted(changes: Partial<ChainEnv> = {}) {
  const looked: string[] = [];
  const keys = [OPERATOR, ...HOLDERS].map(({ publicKey }) => publicKey);
  const verify: ChainEnv["verify"] = (...of) => {
    const at = keys.findIndex((key) => Buffer.compare(key, of[0]) === 0);
    looked.push(["operator", "0", "1", "2", "3"][at] ?? "?");
    return verifyEd25519(...of);
  };
  return { env: { ...chainEnv(), verify, ...changes }, looked };
}

/** Another signature, spelt as signatures are. */
function bent({ token }: Forged): string {
  const at = token.lastIndexOf(".") + 1;
  return `${token.slice(0, at)}${token[at] === "A" ? "B" : "A"}${token.slice(at + 1)}`;
}

test.each(chainVectors().vectors.map(({ name, chain }) => [name, chain] as const))(
  "the verdict is that of all at once: %s",
  async (_name, chain) => {
    const inTurns = await verifyChainInTurns(chain, chainEnv(), atOnce);
    expect(inTurns).toEqual(verifyChain(chain, chainEnv()));
  },
);

describe("what is looked at", () => {
  const tokens = LINKS.map(({ token }) => token);

  test.each<readonly [string, readonly string[], string]>([
    [
      "a root that its operator did not sign",
      ["operator"],
      [bent(LINKS[0] as Forged), ...tokens.slice(1)].join("~"),
    ],
    [
      "a link that is not its holder's",
      ["operator", "0"],
      [tokens[0], bent(LINKS[1] as Forged), ...tokens.slice(2)].join("~"),
    ],
    ["no form", [], `${CHAIN}~x.y.z`],
    ["no size", [], "x".repeat(100_000)],
    ["nobody who is trusted", [], [root({ signedBy: testKey(9) }).token, ...tokens].join("~")],
  ])("%s: nothing behind the first fault", async (_name, costs, chain) => {
    const { env, looked } = counted();
    expect(await verifyChainInTurns(chain, env, atOnce)).toHaveProperty("refused");
    expect(looked).toEqual(costs);
  });

  test("nothing that is known", async () => {
    const known = new KnownLinks();
    await verifyChainInTurns(CHAIN, chainEnv({ known }), atOnce);
    const { env, looked } = counted({ known });
    await verifyChainInTurns(CHAIN, env, atOnce);
    expect(looked).toEqual([]);
    const leaf = child(LINKS[2] as Forged, { key: testKey(51) });
    await verifyChainInTurns(chainText(...LINKS.slice(0, 3), leaf), env, atOnce);
    expect(looked).toEqual(["2"]);
  });

  test("once, of chains that come at the same time", async () => {
    const { env, looked } = counted({ known: new KnownLinks() });
    const last = child(LINKS[3] as Forged, { key: testKey(50) });
    const chains = [CHAIN, CHAIN, chainText(...LINKS.slice(0, 4), last)];
    const verdicts = chains.map((chain) => verifyChainInTurns(chain, env, atOnce));
    for (const verdict of await Promise.all(verdicts)) expect(verdict).toHaveProperty("leaf");
    expect(looked.sort()).toEqual(["0", "1", "2", "3", "3", "operator"]);
  });
});

test("a link a turn, whatever is known", async () => {
  const known = new KnownLinks();
  for (const _time of ["unknown", "known"]) {
    let count = 0;
    const nextTurn = async () => {
      count += 1;
    };
    await verifyChainInTurns(CHAIN, chainEnv({ known }), nextTurn);
    expect(count).toBe(LINKS.length - 1);
  }
});

test("the next link waits until its turn has come", async () => {
  const { env, looked } = counted();
  const turns: (() => void)[] = [];
  const nextTurn = () => new Promise<void>((resolve) => turns.push(resolve));
  const verdict = verifyChainInTurns(CHAIN, env, nextTurn);
  for (let links = 1; links < LINKS.length; links += 1) {
    expect(looked).toHaveLength(links);
    turns.shift()?.();
    await Promise.resolve();
  }
  expect(await verdict).toHaveProperty("leaf");
});
