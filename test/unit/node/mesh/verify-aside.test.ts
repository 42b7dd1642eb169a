import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { holderJwk } from "../../../../authority/holder-key.ts";
import { KnownLinks } from "../../../../authority/known-links.ts";
import { readEnvelope } from "../../../../authority/token.ts";
import { verifyChain } from "../../../../authority/verify-chain.ts";
import {
  type AsideEnv,
  SignaturesAside,
  verifyChainAside,
} from "../../../../node/mesh/verify-aside.ts";
import { chainVectors } from "../../../../scripts/contract-vectors/chains.ts";
import {
  AUTHORITY,
  chainEnv,
  chainText,
  child,
  type Forged,
  HOLDERS,
  OPERATOR,
  root,
  type TestKey,
  testKey,
  verifyEd25519,
  verifyEd25519Aside,
} from "../../../support/contract-forge.ts";
import { proofCount } from "../../../support/proof.ts";

const LINKS = chainOf(5);
const CHAIN = chainText(...LINKS);

function chainOf(count: number): readonly Forged[] {
  const links = [root()];
  while (links.length < count) links.push(child(links.at(-1) as Forged));
  return links;
}

function asideEnv(changes: Partial<AsideEnv> = {}): AsideEnv {
  return {
    ...chainEnv(),
    aside: new SignaturesAside(verifyEd25519Aside),
    nextTurn: async () => undefined,
    ...changes,
  };
}

/** Signatures looked at here and aside, by name; those aside are answered when the test says so. */
function counted(aside: "held back" | "at once" | "busy" = "at once") {
  const looked: string[] = [];
  const waiting: (() => void)[] = [];
  const nameOf = (key: Uint8Array) =>
    ["operator", "0", "1", "2", "3"][
      [OPERATOR, ...HOLDERS].findIndex(({ publicKey }) => Buffer.compare(publicKey, key) === 0)
    ] ?? "?";
  const signatures = new SignaturesAside((...of) => {
    if (aside === "busy") return undefined;
    looked.push(`aside ${nameOf(of[0])}`);
    const { promise, resolve } = Promise.withResolvers<void>();
    waiting.push(resolve);
    if (aside === "at once") resolve();
    return promise.then(() => verifyEd25519(...of));
  });
  const verify: AsideEnv["verify"] = (...of) => {
    looked.push(nameOf(of[0]));
    return verifyEd25519(...of);
  };
  const answer = () => {
    for (const each of waiting) each();
  };
  return { env: { aside: signatures, verify }, looked, answer };
}

async function turns(): Promise<void> {
  for (let i = 0; i < 50; i++) await undefined;
}

/** Another signature, spelt as signatures are. */
function bent({ token }: Forged): string {
  const at = token.lastIndexOf(".") + 1;
  return `${token.slice(0, at)}${token[at] === "A" ? "B" : "A"}${token.slice(at + 1)}`;
}

describe("A1: the verdict is that of the one order", () => {
  test.each(chainVectors().vectors.map(({ name, chain }) => [name, chain] as const))(
    "of the vector: %s",
    async (_name, chain) => {
      expect(await verifyChainAside(chain, asideEnv())).toEqual(verifyChain(chain, chainEnv()));
    },
  );

  const { count, seed } = proofCount("bent chains, either way", { small: 150, full: 10_000 });
  const place = fc.nat({ max: LINKS.length - 1 });
  const anyBent = fc.array(
    fc.oneof(
      fc.record({ at: place, what: fc.constantFrom("signature", "drop", "twice", "other") }),
      fc.record({ at: place, what: fc.constant("letter"), letter: fc.nat({ max: 4_000 }) }),
    ),
    { minLength: 1, maxLength: 3 },
  );

  /** Whatever the seed draws, these end differently. */
  const ONE_BEND_EACH = [
    { at: 1, what: "signature" as const },
    { at: LINKS.length - 1, what: "drop" as const },
    { at: 0, what: "drop" as const },
    { at: 2, what: "letter" as const, letter: 3 },
  ].map((bend): [(typeof bend)[]] => [[bend]]);

  test("of chains that are bent in several places", async () => {
    const names = new Set<string>();
    await fc.assert(
      fc.asyncProperty(anyBent, async (bends) => {
        const tokens = LINKS.map(({ token }) => token);
        for (const { at, what, ...of } of bends) {
          const link = LINKS[at] as Forged;
          const token = tokens[at] ?? link.token;
          if (what === "signature") tokens[at] = bent(link);
          else if (what === "drop") tokens.splice(at, 1);
          else if (what === "twice") tokens.splice(at, 0, token);
          else if (what === "other") tokens[at] = child(link).token;
          else tokens[at] = flipped(token, "letter" in of ? of.letter : 0);
        }
        const chain = tokens.join("~");
        const said = verifyChain(chain, chainEnv());
        expect(await verifyChainAside(chain, asideEnv())).toEqual(said);
        names.add("refused" in said ? said.refused : "taken");
      }),
      { numRuns: count, seed, examples: ONE_BEND_EACH },
    );
    expect(names.size).toBeGreaterThan(3);
  });

  function flipped(token: string, letter: number): string {
    const at = letter % token.length;
    return `${token.slice(0, at)}${token[at] === "Q" ? "g" : "Q"}${token.slice(at + 1)}`;
  }

  test("the first fault is told, whichever was found out first", async () => {
    const top = LINKS[0] as Forged;
    const wide = child(top, { authority: { ...AUTHORITY, models: ["openai/*"] } });
    const thief = (above: Forged) => child(above, { signedBy: testKey(66) });
    const said = async (...links: readonly Forged[]) => {
      const verdict = await verifyChainAside(chainText(...links), asideEnv());
      return "refused" in verdict ? verdict.refused : "taken";
    };
    expect(await said(top, wide, thief(wide))).toBe("contract_widens");
    expect(await said(top, thief(top), child(thief(top)))).toBe("contract_signature");
    expect(await said(top, thief(top), wide)).toBe("contract_signature");
  });

  test("a key that is only spelt as if it were the holder's answers nothing", async () => {
    const top = LINKS[0] as Forged;
    const mine = HOLDERS[4];
    // Canonical JSON but for a member more, which says the key that the next link is signed by.
    const decoy = root({
      payload: (payload) =>
        payload.replace(
          '"cnf"',
          `"cnf":{"jwk":${JSON.stringify(holderJwk(mine.publicKey))}},"cnf"`,
        ),
    });
    for (const above of [decoy, top]) {
      const chain = chainText(above, child({ ...above, key: mine }));
      const said = verifyChain(chain, chainEnv());
      expect(said).toHaveProperty("refused");
      expect(await verifyChainAside(chain, asideEnv())).toEqual(said);
    }
  });
});

describe("A2, A5: what is looked at, and where", () => {
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
  ])("what %s costs, shown by anybody", async (_name, costs, chain) => {
    const { env, looked } = counted();
    const { aside: _aside, ...alone } = asideEnv(env);
    expect(await verifyChainAside(chain, alone)).toHaveProperty("refused");
    expect(looked).toEqual(costs);
  });

  test("a coordinator's: the last half aside, at once, while the others are looked at here", async () => {
    const { env, looked, answer } = counted("held back");
    const verdict = verifyChainAside(CHAIN, asideEnv(env));
    await turns();
    expect(looked).toEqual(["aside 1", "aside 2", "aside 3", "operator", "0"]);
    answer();
    expect(await verdict).toEqual(verifyChain(CHAIN, chainEnv()));
    expect(looked).toHaveLength(LINKS.length);
  });

  test("all here, where nobody is to spare", async () => {
    const { env, looked } = counted("busy");
    expect(await verifyChainAside(CHAIN, asideEnv(env))).toEqual(verifyChain(CHAIN, chainEnv()));
    expect(looked).toEqual(["operator", "0", "1", "2", "3"]);
  });

  test("nothing twice that is known, and one link alone here", async () => {
    const known = new KnownLinks();
    await verifyChainAside(CHAIN, asideEnv({ known }));
    const { env, looked } = counted();
    await verifyChainAside(CHAIN, asideEnv({ ...env, known }));
    expect(looked).toEqual([]);
    const leaf = child(LINKS[2] as Forged, { key: testKey(51) });
    await verifyChainAside(chainText(...LINKS.slice(0, 3), leaf), asideEnv({ ...env, known }));
    expect(looked).toEqual(["2"]);
  });
});

test("links that are known below one that is not are not asked about", async () => {
  const known = new KnownLinks();
  LINKS.slice(1).forEach(({ token, claims }, at) => {
    known.keep(readEnvelope(token), (HOLDERS[at] as TestKey).publicKey, claims);
  });
  const { env, looked } = counted();
  await verifyChainAside(CHAIN, asideEnv({ ...env, known }));
  expect(looked).toEqual(["operator"]);
});

test("A4: what nobody is waiting for any more is not kept, good or bad", async () => {
  const { env, looked } = counted();
  const bad = [...LINKS.slice(0, 4).map(({ token }) => token), bent(LINKS[4] as Forged)].join("~");
  for (const chain of [CHAIN, bad]) {
    looked.length = 0;
    for (let times = 1; times <= 2; times++) {
      await verifyChainAside(chain, asideEnv(env));
      expect(looked).toHaveLength(LINKS.length * times);
    }
  }
});

test("A4: chains that come in one turn hand their links over once", async () => {
  const { env, looked } = counted();
  await Promise.all([CHAIN, CHAIN].map((chain) => verifyChainAside(chain, asideEnv(env))));
  expect(looked.filter((each) => each.startsWith("aside"))).toHaveLength(3);
});

test("A4: chains that come at once are looked at once", async () => {
  const { env, looked, answer } = counted("held back");
  const known = new KnownLinks();
  const sibling = chainText(...LINKS.slice(0, 4), child(LINKS[3] as Forged, { key: testKey(50) }));
  const chains = [CHAIN, CHAIN, sibling];
  const verdicts = chains.map((chain) =>
    verifyChainAside(chain, asideEnv({ ...env, known, nextTurn: turns })),
  );
  for (let at = 0; at < 20; at++) {
    await turns();
    answer();
  }
  for (const verdict of await Promise.all(verdicts)) expect(verdict).toHaveProperty("leaf");
  expect(looked).toEqual(["aside 1", "aside 2", "aside 3", "operator", "0", "3"]);
});

test("a link a turn, whatever is known", async () => {
  const known = new KnownLinks();
  for (const _time of ["unknown", "known"]) {
    let count = 0;
    const nextTurn = async () => {
      count += 1;
    };
    await verifyChainAside(CHAIN, asideEnv({ known, nextTurn }));
    expect(count).toBe(LINKS.length - 1);
  }
});
