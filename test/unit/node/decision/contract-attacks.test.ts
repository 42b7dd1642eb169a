import { describe, expect, test } from "vitest";
import type { Authority } from "../../../../authority/authority.ts";
import type { Validity } from "../../../../authority/validity.ts";
import { decide } from "../../../../node/decision/decide.ts";
import type { ContractFacts, Facts } from "../../../../node/decision/facts.ts";
import { namedKey } from "../../../../node/named-key.ts";
import { facts, grant, model, policy, provider, requestFacts } from "../../../support/builders.ts";
import { AUTHORITY } from "../../../support/contract-forge.ts";

// The attacks of docs/contracts.md that a request makes under a good contract, by their numbers. Policy
// grants all of it here, so what is refused, the contract refuses.

const SCHEME = "public.internal.confidential.restricted";
const WIDE: Authority = {
  ...AUTHORITY,
  models: ["openai/gpt-5-mini"],
  tools: new Map([["mcp/github/*", ["call", "read"]]]),
  dataClass: { scheme: SCHEME, level: 2, compartments: ["pii"] },
  validity: { notBefore: 0, expires: 9_000_000_000, hours: [] },
  geography: { egr: ["US"], proc: ["US"], src: ["DE"] },
};

/** What is said of a request under a contract that grants this. */
function said(granted: Partial<Authority>, over: Partial<Facts> = {}): string {
  const effective = { ...WIDE, ...granted };
  const contract: ContractFacts = {
    ids: ["c"],
    effective,
    rate: { req: LOTS, tok: LOTS, usd_u: LOTS },
    depthLeft: 4,
  };
  const { refusal } = decide(
    facts({
      identity: { agentId: "research/worker-1", keyId: "k1234567", contractId: "c" },
      model: model({ provider: provider({ region: "US", clearance: 3 }) }),
      grant: grant({ clearance: 3, tools: new Map([["mcp/*", ["call", "read", "write"]]]) }),
      contract,
      ...over,
    }),
  );
  return refusal === undefined ? "allowed" : `${refusal.reason}: ${refusal.detail}`;
}

const LOTS = { burst: 1_000_000, amount: 1_000_000, seconds: 1 };

test("what the contract grants is allowed", () => {
  expect(said({})).toBe("allowed");
});

test("a contract that does not verify is refused by its own reason", () => {
  const contract = { missing: "contract_expired", detail: "an hour ago" } as const;
  expect(said({}, { contract })).toBe("contract_expired: an hour ago");
});

test("a contract of which no rate is left lets nothing through, whatever its burst is", () => {
  const rate = { req: { ...LOTS, amount: 0 }, tok: LOTS, usd_u: LOTS };
  const contract = { ids: ["c"], effective: WIDE, rate, depthLeft: 4 };
  expect(said({}, { contract })).toBe("rate_requests: no rate is left");
});

test("a tunnel leads to no place that is known, so a contract opens none", () => {
  const destination = {
    host: "git.example.com",
    port: 443,
    mode: "tunnel",
    addresses: [{ address: "203.0.113.7", family: 4 }],
  } as const;
  const request = requestFacts({ route: "connect", dialect: undefined, model: undefined });
  expect(said({}, { door: "forward", destination, request, model: undefined })).toBe(
    "region_not_granted: unknown, by its contract",
  );
});

test.each(["egr", "proc"] as const)("32: a provider's place must be granted as %s too", (facet) => {
  const geography = { ...WIDE.geography, [facet]: ["DE"] };
  expect(said({ geography })).toBe("region_not_granted: US, by its contract");
});

test("34: a request is charged at the slower of policy's rate and the contract's, within the smaller burst", () => {
  const charged = (burst: number, amount: number) => {
    const own = { burst, amount, seconds: 1 };
    const contract = { ids: ["c"], effective: WIDE, rate: { req: own, tok: LOTS, usd_u: LOTS } };
    const rate = [{ metric: "requests", amount: 10, windowMs: 1_000, burst: 6 }] as const;
    const given = facts({
      identity: { agentId: "research/worker-1", keyId: "k1234567", contractId: "c" },
      model: model({ provider: provider({ region: "US", clearance: 3 }) }),
      grant: grant({ clearance: 3, rate }),
      contract: { ...contract, depthLeft: 4 },
    });
    const found = decide(given).charges.buckets.find(({ metric }) => metric === "requests");
    return [found?.stepNs, found?.toleranceNs];
  };
  expect(charged(2, 1)).toEqual([1_000_000_000n, 2_000_000_000n]);
  expect(charged(20, 1)).toEqual([1_000_000_000n, 6_000_000_000n]);
  expect(charged(2, 100)).toEqual([100_000_000n, 200_000_000n]);
  expect(charged(20, 100)).toEqual([100_000_000n, 600_000_000n]);
});

describe("29: names that lead elsewhere", () => {
  test.each([
    "mcp/github/../jira",
    "mcp/github/%2e%2e/jira",
    "mcp/github/a%2fb",
    "mcp/github//a",
    "mcp/github/",
    "mcp/github",
    "MCP/GITHUB/search",
    "mcp/github/*",
  ])("29: the tool %s is not granted by mcp/github/*", (name) => {
    const request = requestFacts({ tools: [{ name }] });
    expect(said({}, { request })).toBe(`tool_not_granted: ${name}, by its contract`);
  });

  test("29: an alias leads to a model, and that one has to be granted", () => {
    const other = model({ id: "openai/gpt-5", provider: provider({ region: "US" }) });
    const request = requestFacts({ model: "gpt-5-mini" });
    expect(said({}, { request, model: other })).toBe(
      "model_not_granted: openai/gpt-5, by its contract",
    );
  });
});

describe("31: what the clocks of its zones show", () => {
  const berlin = (minutes: readonly [number, number]) => ({
    hours: [{ zone: "Europe/Berlin", minutes: [minutes] }],
    notBefore: 0,
    expires: 9_000_000_000,
  });
  const at = (iso: string, validity: Validity) => said({ validity }, { nowMs: Date.parse(iso) });
  const OUTSIDE = "outside_hours: by its contract";
  /** Minute of the week of a Sunday's hour, Monday first. */
  const sunday = (hour: number) => 6 * 1_440 + hour * 60;

  test("31: the hour that is skipped in spring is in no window, and the ones beside it are", () => {
    // 29 March 2026: 02:00 to 03:00 does not exist in Berlin.
    const skipped = berlin([sunday(2), sunday(3)]);
    expect(at("2026-03-29T00:59:59Z", skipped)).toBe(OUTSIDE);
    expect(at("2026-03-29T01:00:00Z", skipped)).toBe(OUTSIDE);
    expect(at("2026-03-29T01:00:00Z", berlin([sunday(3), sunday(4)]))).toBe("allowed");
  });

  test("31: the hour that comes twice in autumn is in its window both times, and no third", () => {
    // 25 October 2026: 02:00 to 03:00 comes at 00:00Z and at 01:00Z.
    const twice = berlin([sunday(2), sunday(3)]);
    expect(["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"].map((iso) => at(iso, twice))).toEqual([
      "allowed",
      "allowed",
    ]);
    expect(at("2026-10-25T02:00:00Z", twice)).toBe(OUTSIDE);
  });

  test("31: the end is not in it, to the millisecond; nor is what lies before the beginning", () => {
    const endS = Date.parse("2026-11-23T12:00:00Z") / 1_000;
    const dates = { notBefore: endS - 60, expires: endS, hours: [] };
    expect(said({ validity: dates }, { nowMs: endS * 1_000 - 1 })).toBe("allowed");
    expect(said({ validity: dates }, { nowMs: endS * 1_000 })).toBe("contract_expired: undefined");
    expect(said({ validity: dates }, { nowMs: endS * 1_000 - 60_001 })).toBe(OUTSIDE);
  });
});

describe("32: places", () => {
  test("32: a node or a provider that nobody knows the place of is in none that is granted", () => {
    expect(said({}, { nodeRegion: undefined })).toBe(
      "source_region_not_granted: unknown, by its contract",
    );
    const nowhere = model({ provider: { ...provider({ clearance: 3 }), region: undefined } });
    expect(said({}, { model: nowhere })).toContain("region_not_granted: ");
  });
});

describe("33: data that the contract does not clear", () => {
  const highest = "class_not_cleared: restricted, by its contract";
  test("33: what was not looked through whole counts as the highest, with every label", () => {
    expect(said({}, { scan: { hits: [], scannedBytes: 0, complete: false } })).toBe(highest);
    const level = { scheme: SCHEME, level: 3, compartments: ["pii"] };
    const incomplete = { scan: { hits: [], scannedBytes: 0, complete: false } };
    // The level would do; one of the labels is missing.
    expect(said({ dataClass: level }, incomplete)).toBe(highest);
  });

  test("33: a level means nothing under a scheme of another name", () => {
    const other = { scheme: "public.secret", level: 3, compartments: ["pii"] };
    expect(said({ dataClass: other })).toBe(
      "class_not_cleared: internal of public.internal.confidential.restricted, by its contract",
    );
  });

  test("33: a label that is not among its compartments", () => {
    const rules = [
      {
        id: "names",
        pattern: "x",
        detector: undefined,
        direction: "both" as const,
        action: "label" as const,
        severity: "low" as const,
        label: "pii",
      },
    ];
    const seen = {
      policy: policy({ content: rules }),
      scan: { hits: [{ ruleId: "names", end: 10 }], scannedBytes: 200, complete: true },
    };
    const none = { scheme: SCHEME, level: 3, compartments: [] };
    expect(said({ dataClass: none }, seen)).toBe(
      "class_not_cleared: confidential, by its contract",
    );
    expect(said({}, seen)).toBe("allowed");
  });
});

describe("40: two good contracts for one request", () => {
  const KEYS = ["a", "b"].map((letter) => `altk_ct0000000${letter}_${letter.repeat(43)}`);
  const IDS = ["a", "b"].map((letter) => letter.repeat(43));
  const named = (...rawHeaders: string[]) =>
    namedKey({ head: { method: "POST", target: "/", rawHeaders, peer: "::1" } });

  test.each<readonly [string, readonly string[]]>([
    ["two keys", ["authorization", `Bearer ${KEYS[0]}`, "x-api-key", `${KEYS[1]}`]],
    [
      "two of one header",
      ["authorization", `Bearer ${KEYS[0]}`, "authorization", `Bearer ${KEYS[1]}`],
    ],
    ["two that are proven", ["authorization", `DPoP ${IDS[0]}`, "authorization", `DPoP ${IDS[1]}`]],
    [
      "one that is proven and a key",
      ["authorization", `DPoP ${IDS[0]}`, "x-api-key", `${KEYS[1]}`],
    ],
    ["two proofs", ["authorization", `DPoP ${IDS[0]}`, "dpop", "x", "dpop", "y"]],
  ])("40: %s are refused, not united", (_name, rawHeaders) => {
    expect(named(...rawHeaders)).toEqual({ missing: "credentials_conflict" });
  });

  test("40: what only both together would grant, each refuses", () => {
    const [reads, writes] = [["read"], ["write"]] as const;
    const tools = [
      { name: "mcp/jira/a", verb: "read" as const },
      { name: "mcp/jira/a", verb: "write" as const },
    ];
    const request = requestFacts({ tools });
    for (const verbs of [reads, writes]) {
      expect(said({ tools: new Map([["mcp/jira/*", verbs]]) }, { request })).toBe(
        "tool_not_granted: mcp/jira/a, by its contract",
      );
    }
  });
});
