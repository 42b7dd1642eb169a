import { hash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { holderJwk } from "../../../authority/holder-key.ts";
import type { RequestHead } from "../../../node/dataplane/exchange.ts";
import { type Identity, isMissing, type Missing } from "../../../node/decision/facts.ts";
import { identifyBy } from "../../../node/identify.ts";
import { Possession } from "../../../node/possession.ts";
import { NONCE_S, ProofNonces } from "../../../node/proof-nonces.ts";
import { PROOFS_PER_EPOCH_MAX, proofsPerEpoch } from "../../../node/table/proof-cells.ts";
import { createRowOwner } from "../../../node/table/rows.ts";
import { createTable } from "../../../node/table/table.ts";
import type { ContractGrant, RowGrant } from "../../../node/thread-messages.ts";
import { twinClock } from "../../../ports/twin-clock.ts";
import { type ProofChanges, proofOf } from "../../support/agent-key.ts";
import { AUTHORITY, HOLDERS, root, testKey, verifyEd25519 } from "../../support/contract-forge.ts";
import { LoopWorld } from "./loop-world.ts";

const KEY = HOLDERS[1];
const CONTRACT = root().id;
const URL = "http://mesh.example/v1/models";
const GRANT = {
  ids: [CONTRACT],
  holders: ["research/worker-1"],
  person: "user:alice",
  effective: AUTHORITY,
  rate: AUTHORITY.rate,
  source: "",
  freshUntilNs: 1n << 62n,
  depthLeft: 4,
  holder: holderJwk(KEY.publicKey),
} satisfies ContractGrant;
const ROW: RowGrant = {
  row: 0,
  generation: 0,
  keyGeneration: 0,
  agentId: "research/worker-1",
  keyId: "k",
  contractId: CONTRACT,
  notBeforeMs: 0,
  notAfterMs: 0,
  contract: GRANT,
};

/** One start of a node, and an agent that shows it contracts with proofs. */
class NodeStart {
  readonly clock;
  readonly possession: Possession;

  constructor(secret: number, clock = twinClock()) {
    this.clock = clock;
    const table = createTable({ rows: 2, loops: 1, scopes: 4, writers: 1 });
    const owner = createRowOwner(table);
    owner.allot({ team: 1, agent: 2, contract: 3 });
    owner.allot({ team: 1, agent: 2, contract: 3 });
    const options = {
      table,
      clock,
      verify: verifyEd25519,
      secret: new Uint8Array(32).fill(secret),
    };
    this.possession = new Possession(options);
  }

  get nonce(): string {
    return this.possession.headers(ROW)[1] as string;
  }

  /** A proof of the holder's for this node, now. */
  proof(changes: ProofChanges = {}, key = KEY): string {
    const nowS = Math.floor(this.clock.nowMs() / 1000);
    return proofOf(key, { token: CONTRACT, url: URL, nowS, nonce: this.nonce }, changes);
  }

  show(proof: string | undefined, row: RowGrant = ROW): string {
    const presented = {
      id: CONTRACT,
      tokenSha256: hash("sha256", CONTRACT, "base64url"),
      proof,
    };
    return spelt(this.possession.objection(row, presented, HEAD));
  }
}

const HEAD: RequestHead = {
  method: "POST",
  target: "/v1/models",
  rawHeaders: ["host", "mesh.example"],
  peer: "127.0.0.1",
};

function spelt(objection: Missing | undefined): string {
  return objection?.missing ?? "served";
}

describe("O2: a proof is good once", () => {
  test("35: replayed in its minute, it is refused", () => {
    const node = new NodeStart(1);
    const proof = node.proof();
    expect([node.show(proof), node.show(proof)]).toEqual(["served", "proof_replayed"]);
    node.clock.advance(29_000);
    expect(node.show(proof)).toBe("proof_replayed");
  });

  test("35: at another node behind the same name, and at the next start of this one, it is refused", () => {
    const clock = twinClock();
    const [one, other] = [new NodeStart(1, clock), new NodeStart(2, clock)];
    const proof = one.proof();
    expect([one.show(proof), other.show(proof)]).toEqual(["served", "proof_nonce"]);
    // Even one that the first node never saw: who stands between may keep it from there.
    expect(other.show(one.proof())).toBe("proof_nonce");
  });

  test("35: setting the wall clock back makes none good again, however far", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({ aheadMs: fc.integer({ min: 0, max: 40_000 }), backMs: fc.nat(90_000) }),
          { minLength: 1, maxLength: 8 },
        ),
        (steps) => {
          const node = new NodeStart(1);
          const proof = node.proof();
          expect(node.show(proof)).toBe("served");
          for (const { aheadMs, backMs } of steps) {
            node.clock.advance(aheadMs);
            node.clock.jumpWall(-backMs);
            expect(node.show(proof)).not.toBe("served");
          }
        },
      ),
      { numRuns: 100 },
    );
  });

  test("a nonce is taken for as long again as it is given out, and no longer", () => {
    const nonces = new ProofNonces(new Uint8Array(32));
    const epochNs = BigInt(NONCE_S) * 1_000_000_000n;
    const { nonce } = nonces.current(epochNs * 9n);
    const isGood = (atNs: bigint) => nonces.good(atNs).some((one) => one.nonce === nonce);
    expect([epochNs * 9n, epochNs * 11n - 1n].map(isGood)).toEqual([true, true]);
    expect([epochNs * 9n - 1n, epochNs * 11n].map(isGood)).toEqual([false, false]);
  });
});

describe("O1: a proof or nothing", () => {
  test("35: without one, or with one by the key of whoever delegated, it is refused", () => {
    const node = new NodeStart(1);
    expect(node.show(undefined)).toBe("proof_missing");
    expect(node.show(node.proof({}, HOLDERS[0]))).toBe("proof_key");
  });

  test("35: a row that has no key to be proven serves nothing that was presented with a proof", () => {
    const node = new NodeStart(1);
    const { holder: _holder, ...keyless } = GRANT;
    const { contract: _contract, ...without } = ROW;
    expect(node.show(node.proof(), { ...ROW, contract: keyless })).toBe("proof_key");
    expect(node.show(node.proof(), without)).toBe("proof_key");
    expect(node.show(node.proof(), { ...ROW, contractId: "another" })).toBe("proof_key");
  });

  test("a contract that its agent holds is served for no virtual key", () => {
    const { possession } = new NodeStart(1);
    expect(spelt(possession.objection(ROW, undefined, HEAD))).toBe("proof_key");
  });

  test("who proves nothing is nobody: no claim, and no row is kept", async () => {
    const world = new LoopWorld();
    const claimed: string[] = [];
    const asker = { head: HEAD, claim: (agentId: string) => claimed.push(agentId) };
    const { row: at, generation } = world.row;
    const meshLink = {
      resolveKey: () => ({ ...ROW, row: at, generation }),
      forget: () => undefined,
    };
    const loop = { ...world.loop, meshLink } as unknown as typeof world.loop;
    const presented = { id: CONTRACT, tokenSha256: "", proof: undefined };
    const found = await identifyBy("contract:x", asker, loop, { isContract: true, presented });
    expect(reasonOf(found.identity)).toBe("proof_missing");
    expect([found.row, claimed]).toEqual([undefined, []]);
  });

  function reasonOf(identity: Identity | Missing): string | undefined {
    return isMissing(identity) ? identity.missing : undefined;
  }
});

describe("O3: who fails keeps nobody else from being served", () => {
  test("35: bad signatures without end for a contract do not touch its holder", () => {
    const node = new NodeStart(1);
    for (let no = 0; no < 150; no++) {
      expect(node.show(node.proof({ signedBy: testKey(66) }))).toBe("proof_signature");
    }
    expect(node.show(node.proof())).toBe("served");
  });

  test("35: one proof that was seen, shown again without end, does not use up its holder's share", () => {
    const node = new NodeStart(1);
    const seen = node.proof();
    expect(node.show(seen)).toBe("served");
    const most = proofsPerEpoch(AUTHORITY.rate.req, NONCE_S);
    for (let no = 0; no < most; no++) expect(node.show(seen)).toBe("proof_replayed");
    expect(node.show(node.proof())).toBe("served");
  });

  test("35: one contract spends as many as it may make requests, and others go on", () => {
    const node = new NodeStart(1);
    const most = proofsPerEpoch(AUTHORITY.rate.req, NONCE_S);
    expect(most).toBeLessThan(PROOFS_PER_EPOCH_MAX);
    for (let no = 0; no < most; no++) expect(node.show(node.proof())).toBe("served");
    expect(node.show(node.proof())).toBe("proofs_exhausted");
    expect(node.show(node.proof(), { ...ROW, row: 1 })).toBe("served");
    node.clock.advance(NONCE_S * 1_000);
    expect(node.show(node.proof())).toBe("served");
  });
});

test("whoever has no good nonce is told one, in the words of RFC 9449", () => {
  const node = new NodeStart(1);
  expect(node.possession.headers(undefined, "proof_missing")).toEqual([
    "dpop-nonce",
    node.nonce,
    "www-authenticate",
    'DPoP error="use_dpop_nonce", algs="Ed25519"',
  ]);
  expect(node.possession.headers(undefined, "proof_replayed")[3]).toContain("invalid_dpop_proof");
  const { contract: _contract, ...bearer } = ROW;
  expect(node.possession.headers(bearer, "model_not_granted")).toEqual([]);
});
