import { describe, expect, test } from "vitest";
import { openRecord } from "../../../mesh/record.ts";
import { MeshState } from "../../../mesh/state.ts";
import { TAKEN_OUT_MS } from "../../../mesh/trust.ts";
import type { Signer } from "../../../ports/keys.ts";
import { TrustRole } from "../../../proto/gen/altrace/v1/record_pb.ts";
import {
  context,
  coordinator,
  distrust,
  opened,
  operator,
  reasonOf,
  secondOperator,
  sign,
  stranger,
  trustedKey,
  trustView,
} from "./sample-mesh.ts";

const SCOPE = "distrust/openai/gpt-4.1";

function made(signer: Signer, of: Parameters<typeof distrust>, scope = SCOPE): Uint8Array {
  return sign(scope, distrust(...of), signer);
}

const began = made(operator, [1_100n, { era: 1n }]);

describe("an era of distrust", () => {
  test("is begun by an operator, and raised in by a coordinator that shows so", () => {
    expect(reasonOf(began)).toBe("ok");
    expect(reasonOf(made(secondOperator, [1_000n, { era: 7n }]))).toBe("ok");
    expect(reasonOf(made(coordinator, [2_000n, { era: 1n, since: began }]))).toBe("ok");
  });

  test.each([
    ["without showing who began it", [1_000n, { era: 1n }]],
    ["by another era's beginning", [1_000n, { era: 2n, since: began }]],
    ["by what a coordinator signed", [1_000n, { era: 1n, since: coordinatorsOwn() }]],
    ["by what a stranger signed", [1_000n, { era: 1n, since: strangers() }]],
    ["by another model's beginning", [1_000n, { era: 1n, since: ofAnotherModel() }]],
    ["by a raise that shows the beginning", [1_000n, { era: 1n, since: raise() }]],
    ["by no record", [1_000n, { era: 1n, since: Buffer.from("operator") }]],
  ] as const)("is not begun by a coordinator %s", (_title, [milli, of]) => {
    expect(reasonOf(made(coordinator, [milli, of]))).toBe("signer_not_allowed");
  });

  test("is not begun by an operator's key that has expired, whoever vouches for a coordinator's", () => {
    const first = made(secondOperator, [1_000n, { era: 1n }]);
    const raised = made(coordinator, [2_000n, { era: 1n, since: first }]);
    const notAfterMs = BigInt(TAKEN_OUT_MS);
    const both = [
      trustedKey(secondOperator, TrustRole.OPERATOR, { notAfterMs }),
      trustedKey(coordinator, TrustRole.COORDINATOR, { notAfterMs }),
    ];
    expect(reasonOf(raised, { signed: "once" })).toBe("ok");
    expect(reasonOf(raised, { signed: "once", trust: trustView(both) })).toBe("signer_not_allowed");
  });

  test("points back at nobody where an operator begins it, and the first has no beginning", () => {
    expect(reasonOf(made(operator, [1_000n, { era: 2n, since: began }]))).toBe(
      "signer_not_allowed",
    );
    expect(() => made(operator, [1_000n, { since: began }])).toThrow("limit.distrust.since");
    expect(() => made(operator, [1_000n, { era: 2n ** 53n }])).toThrow("limit.distrust.era");
  });

  test("is not made smaller by anything of it or before it that is said again", () => {
    const state = new MeshState();
    const all = [
      made(coordinator, [9_000n]),
      began,
      made(coordinator, [3_000n, { era: 1n, since: began }]),
    ].map((bytes) => opened(openRecord(bytes, context())));
    for (const each of all) state.merge(each);
    for (const each of all) expect(state.merge(each).changed).toBe(false);
    expect(state.get(SCOPE)).toBe(all[2]);
  });
});

function coordinatorsOwn(): Uint8Array {
  return made(coordinator, [1_000n]);
}

function strangers(): Uint8Array {
  return made(stranger, [1_000n, { era: 1n }]);
}

function ofAnotherModel(): Uint8Array {
  return made(operator, [1_000n, { era: 1n }], "distrust/openai/gpt-5");
}

function raise(): Uint8Array {
  return made(coordinator, [2_000n, { era: 1n, since: began }]);
}
