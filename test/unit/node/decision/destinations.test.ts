import { describe, expect, test } from "vitest";
import { decide } from "../../../../node/decision/decide.ts";
import {
  DELEGATIONS_ROUTE,
  type Destination,
  type Facts,
} from "../../../../node/decision/facts.ts";
import type { Reason } from "../../../../proto/reasons.ts";
import { facts, grant, model, provider, requestFacts } from "../../../support/builders.ts";

const HOST = "git.example.com";

function destination(over: Partial<Destination> = {}): Destination {
  const addresses = [{ address: "203.0.113.7", family: 4 as const }];
  return { host: HOST, port: 443, mode: "tunnel", addresses, ...over };
}

/** A tunnel that every row passes, whichever door it came through. */
function tunnel(to: Partial<Destination> = {}, over: Partial<Facts> = {}): Facts {
  return facts({
    door: "forward",
    request: requestFacts({ route: "connect", dialect: undefined, model: undefined }),
    model: undefined,
    cost: undefined,
    grant: grant({ hosts: [HOST] }),
    destination: destination(to),
    ...over,
  });
}

describe("the destination of a tunnel", () => {
  test("is granted by its name, on port 443 unless the grant says more", () => {
    expect(decide(tunnel()).refusal).toBeUndefined();
    const more = grant({ hosts: [`${HOST}:8443`] });
    expect(decide(tunnel({ port: 8443 }, { grant: more })).refusal).toBeUndefined();
  });

  const inspected = model({ provider: provider({ host: HOST, origin: `https://${HOST}` }) });
  const CASES: readonly (readonly [title: string, given: Facts, reason: Reason])[] = [
    ["another host", tunnel({ host: "evil.example.com" }), "host_not_granted"],
    ["another port", tunnel({ port: 22 }), "host_not_granted"],
    ["a way that cannot be looked into", tunnel({ mode: "refuse" }), "not_inspectable"],
    ["a name that was not resolved", tunnel({ addresses: undefined }), "name_unresolved"],
    [
      "a name that leads inside",
      tunnel({ addresses: { missing: "address_refused" } }),
      "address_refused",
    ],
    [
      "a provider that is not granted, before its TLS ends here",
      tunnel({ mode: "inspect", host: "api.openai.com" }),
      "host_not_granted",
    ],
    [
      "a model of another host than the connection is to",
      facts({
        destination: destination({ mode: "inspected", host: "api.anthropic.com" }),
        model: inspected,
        grant: grant({ hosts: [HOST] }),
      }),
      "model_elsewhere",
    ],
    [
      "a model of another port than the connection is to",
      facts({
        destination: destination({ mode: "inspected", port: 8443 }),
        model: inspected,
        grant: grant({ hosts: [HOST] }),
      }),
      "model_elsewhere",
    ],
  ];

  test.each(CASES)("refuses %s", (_, given, reason) => {
    expect(decide(given).refusal).toMatchObject({ reason, stage: 8 });
  });

  test("is the model's own host for a request within inspected TLS", () => {
    const given = facts({
      destination: destination({ mode: "inspected" }),
      model: inspected,
      grant: grant({ hosts: [HOST] }),
    });
    expect(decide(given).refusal).toBeUndefined();
  });
});

describe("quarantine", () => {
  const standing = "quarantine";
  const left = grant({
    hosts: ["api.openai.com", HOST],
    quarantine: { models: ["openai/gpt-5-mini"] },
  });

  test("leaves the models of its profile, and the list of models", () => {
    expect(decide(facts({ standing, grant: left })).refusal).toBeUndefined();
    const list = { request: requestFacts({ model: undefined }), model: undefined, cost: undefined };
    expect(decide(facts({ standing, grant: left, ...list })).refusal).toBeUndefined();
  });

  test("leaves connections to providers, for what is in them is judged by itself", () => {
    const given = tunnel({ mode: "inspect" }, { standing, grant: left });
    expect(decide(given).refusal).toBeUndefined();
  });

  test.each([
    ["tunnels", tunnel({}, { standing, grant: left })],
    ["tunnels", tunnel({}, { standing, grant: left, door: "gateway" })],
    [
      "delegation",
      facts({
        standing,
        grant: left,
        request: requestFacts({ route: DELEGATIONS_ROUTE, model: undefined }),
        model: undefined,
      }),
    ],
    [undefined, facts({ standing, grant: left, model: { missing: "model_unknown" } })],
    ["model openai/gpt-5-mini", facts({ standing, grant: grant() })],
  ])("leaves nothing else: %s", (detail, given) => {
    const { refusal } = decide(given);
    expect(refusal).toMatchObject({ reason: "quarantined", stage: 4 });
    expect(refusal?.detail).toBe(detail);
  });
});
