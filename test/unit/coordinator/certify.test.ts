import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { certify } from "../../../coordinator/certify.ts";
import type { PolicyInHand } from "../../../coordinator/policy-in-hand.ts";
import { contentScanner } from "../../../node/content-scanner.ts";
import { readPolicy } from "../../../policy/read-policy.ts";
import { twinClock } from "../../../ports/twin-clock.ts";
import { CertifyRequestSchema } from "../../../proto/gen/altrace/v1/mesh_pb.ts";
import { e2ePolicy } from "../../support/e2e-policy.ts";

const NOW_MS = Date.UTC(2026, 10, 28);
const DAY_MS = 86_400_000;

async function asked(
  providerOrigin: string | undefined,
  { keyBytes = 91, policyV = 1n }: { readonly keyBytes?: number; readonly policyV?: bigint } = {},
) {
  const signed: { hosts: readonly string[]; node: string }[] = [];
  const answer = await certify(
    {
      clock: twinClock({ nowMs: NOW_MS }),
      policy: policyWith(providerOrigin),
      certifier: async ({ hosts, node }) => {
        signed.push({ hosts, node });
        return "PEM";
      },
    },
    create(CertifyRequestSchema, { publicKey: new Uint8Array(keyBytes), policyV }),
    "n1",
  );
  return { answer, signed };
}

function policyWith(providerOrigin: string | undefined): Pick<PolicyInHand, "now"> {
  const read =
    providerOrigin === undefined
      ? undefined
      : readPolicy(e2ePolicy(providerOrigin), { file: "p", scanner: contentScanner });
  return { now: read?.ok ? { v: 1, hashHex: "h", bundle: read.bundle } : undefined };
}

const reasonOf = ({ answer }: Awaited<ReturnType<typeof asked>>) =>
  answer.case === "refused" ? answer.value.reason : answer.case;

test("a node is certified for a day, for the hosts that the policy names", async () => {
  const { answer, signed } = await asked("https://llm.example.com:8443");
  expect(signed).toEqual([{ hosts: ["llm.example.com"], node: "n1" }]);
  expect(answer).toMatchObject({
    case: "certify",
    value: { hosts: ["llm.example.com"], notAfterMs: BigInt(NOW_MS + DAY_MS) },
  });
});

test("nothing is signed for clear text", async () => {
  const result = await asked("http://127.0.0.1:4099");
  expect(reasonOf(result)).toBe("no_hosts");
  expect(result.signed).toEqual([]);
});

test("nothing is said of hosts before the policy that the node has is read here", async () => {
  const named = "https://llm.example.com";
  for (const [origin, policyV] of [
    [undefined, 1n],
    [undefined, 0n],
    [named, 2n],
    ["http://127.0.0.1:4099", 2n],
  ] as const) {
    const result = await asked(origin, { policyV });
    expect(reasonOf(result)).toBe("policy_unread");
    expect(result.signed).toEqual([]);
  }
  expect(reasonOf(await asked(named, { policyV: 0n }))).toBe("certify");
});

test("what is no key is refused before anything is signed", async () => {
  for (const keyBytes of [0, 10_000]) {
    const result = await asked("https://llm.example.com", { keyBytes });
    expect(reasonOf(result)).toBe("malformed_request");
    expect(result.signed).toEqual([]);
  }
});

test("a coordinator without a root says so", async () => {
  const answer = await certify(
    { clock: twinClock({ nowMs: NOW_MS }), policy: policyWith("https://llm.example.com") },
    create(CertifyRequestSchema, { publicKey: new Uint8Array(91) }),
    "n1",
  );
  expect(answer).toMatchObject({ case: "refused", value: { reason: "no_root" } });
});
