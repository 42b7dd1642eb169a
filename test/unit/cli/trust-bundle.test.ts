import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import type { CommandContext } from "../../../cli/command-context.ts";
import { topUpBudget } from "../../../cli/commands/budget.ts";
import { revive } from "../../../cli/commands/kill.ts";
import { renewTrust } from "../../../cli/commands/renew-records.ts";
import { removeTrust } from "../../../cli/commands/trust.ts";
import { COORDINATOR_VERSION_MAX, openRecord, restoreRecord } from "../../../mesh/record.ts";
import type { Signer } from "../../../ports/keys.ts";
import {
  type SignedRecord,
  SignedRecordSchema,
  type TrustedKey,
  TrustRole,
} from "../../../proto/gen/altrace/v1/record_pb.ts";
import {
  BUNDLE,
  context,
  coordinator,
  keys,
  kill,
  limit,
  MESH,
  opened,
  operator,
  secondOperator,
  sign,
  stranger,
  trust,
  trustedKey,
  trustView,
} from "../mesh/sample-mesh.ts";

const second = trustedKey(keys.loadOrCreate("second-coordinator"), TrustRole.COORDINATOR);
const LISTED = [...BUNDLE, second];
const ACCOUNT = "budget/team/research";
const thief = trustedKey(stranger, TrustRole.OPERATOR);

function bundle(of: readonly TrustedKey[], signer: Signer = operator, v = 4): Uint8Array {
  return sign("trust", trust(...of), signer, { v });
}

/** An operator whose coordinator shows these bytes as the current record of what is asked, and these as stale. */
function operatorOf(shown: Uint8Array, { v = 4, stale = [] as Uint8Array[], more = false } = {}) {
  const carried: SignedRecord[] = [];
  const said: unknown[] = [];
  const answerOf = (bytes: Uint8Array) => {
    const { hash } = opened(restoreRecord(bytes, { mesh: MESH }));
    return { mesh: MESH, v: BigInt(v), hash, record: fromBinary(SignedRecordSchema, bytes) };
  };
  const isBundle = opened(restoreRecord(shown, { mesh: MESH })).scope === "trust";
  const calls = {
    getScope: async ({ scope }: { scope: string }) =>
      answerOf(scope === "trust" && !isBundle ? bundle(LISTED) : shown),
    putKey: async (of: { record: SignedRecord }) => void carried.push(of.record),
    setLimit: async (of: { record: SignedRecord }) => {
      carried.push(of.record);
      return {};
    },
    revive: async (of: { record: SignedRecord }) => {
      carried.push(of.record);
      return { command: { cmdId: "c", nodes: [] } };
    },
    listStaleRecords: async () => ({
      records: stale.map((bytes) => fromBinary(SignedRecordSchema, bytes)),
      more,
    }),
  };
  const acting = {
    home: "/nowhere",
    operatorName: "olga",
    operatorKeys: () => ({ ...keys, load: () => operator, verify: keys.verify }),
    coordinator: () => ({ calls }),
    output: { result: (result: unknown) => void said.push(result) },
  } as unknown as CommandContext;
  return { acting, carried, said };
}

test("a bundle is made of the one that the operator's key has signed", async () => {
  const { acting, carried } = operatorOf(bundle(LISTED));
  await removeTrust(acting, coordinator.kid);
  const [next] = carried.map(({ payload, signatures }) => ({ payload, signatures }));
  expect(carried).toHaveLength(1);
  expect(next?.signatures[0]?.kid).toBe(operator.kid);
});

test.each([
  ["by a coordinator", bundle([...LISTED, thief], coordinator)],
  ["by a key that it lists itself", bundle([...LISTED, thief], stranger)],
])("of one that was signed %s nothing is made", async (_whose, shown) => {
  expect(openRecord(shown, context({ trust: trustView() })).ok).toBe(false);
  const { acting, carried } = operatorOf(shown);
  await expect(removeTrust(acting, coordinator.kid)).rejects.toThrow(
    "not signed by a key that counts",
  );
  expect(carried).toEqual([]);
});

test("an older bundle is not built on as if it were the newest", async () => {
  const { acting, carried } = operatorOf(bundle(LISTED), { v: 9 });
  await expect(removeTrust(acting, coordinator.kid)).rejects.toThrow("another record than");
  expect(carried).toEqual([]);
});

test.each([
  ["a coordinator's", coordinator],
  ["nobody's", stranger],
])("%s word on an account's limits is not signed with the next of them", async (_whose, signer) => {
  const inflated = sign(ACCOUNT, limit(5_000_000n), signer, { v: 4 });
  const { acting, carried } = operatorOf(inflated);
  const wish = { window: "total", unit: "usd", limit: "1" };
  await expect(topUpBudget(acting, "team/research", wish)).rejects.toThrow(
    "not signed by a key that counts",
  );
  expect(carried).toEqual([]);
});

test("limits that this or another operator has signed are built on", async () => {
  for (const signer of [operator, secondOperator]) {
    const { acting, carried } = operatorOf(sign(ACCOUNT, limit(5_000_000n), signer, { v: 4 }));
    await topUpBudget(acting, "team/research", { window: "total", unit: "usd", limit: "1" });
    expect(carried).toHaveLength(1);
  }
});

test("another account's limits are not taken for this one's", async () => {
  const { acting, carried } = operatorOf(
    sign("budget/team/support", limit(5_000_000n), operator, { v: 4 }),
  );
  const wish = { window: "total", unit: "usd", limit: "1" };
  await expect(topUpBudget(acting, "team/research", wish)).rejects.toThrow("another record than");
  expect(carried).toEqual([]);
});

test("who removes a coordinator signs none of what only an operator could have signed", async () => {
  const stale = [sign(ACCOUNT, limit(5_000_000n), stranger, { v: 4 })];
  const { acting, carried, said } = operatorOf(bundle(LISTED), { stale });
  await removeTrust(acting, coordinator.kid);
  expect(carried).toHaveLength(1);
  expect(said).toEqual([
    expect.objectContaining({
      renewed: 0,
      records: [],
      left: [{ scope: ACCOUNT, says: "limit total 5.00 usd" }],
    }),
  ]);
});

test("who removes a key signs what that key has signed, as the bundle before says", async () => {
  const stale = [limit(1n), limit(2n)].map((op, i) =>
    sign(`budget/team/t${i}`, op, i === 0 ? secondOperator : stranger, { v: 4 }),
  );
  const { acting, carried, said } = operatorOf(bundle(LISTED), { stale });
  await removeTrust(acting, secondOperator.kid).catch((error: Error) => said.push(error.message));
  // The coordinator of this test shows the same for every scope, so that nothing is really signed.
  expect(said).toEqual([expect.stringContaining("another record than")]);
  expect(carried).toHaveLength(1);
});

test("who removes a key is shown what of it they have put under their own", async () => {
  const theirs = sign(ACCOUNT, limit(9_000_000n), secondOperator, { v: 4 });
  const { acting, carried, said } = operatorOf(theirs, { stale: [theirs] });
  await removeTrust(acting, secondOperator.kid);
  expect(carried).toHaveLength(2);
  const records = [{ scope: ACCOUNT, says: "limit total 9.00 usd" }];
  expect(said).toEqual([expect.objectContaining({ renewed: 1, records, left: [] })]);
});

test("of what a coordinator calls stale only what listed keys have signed is renewed, and what is named", async () => {
  const made = sign(ACCOUNT, limit(9_000_000n), stranger, { v: 4 });
  const { acting, carried, said } = operatorOf(made, { stale: [made] });
  await renewTrust(acting);
  expect(carried).toEqual([]);
  const shown = { scope: ACCOUNT, says: "limit total 9.00 usd" };
  expect(said).toEqual([{ renewed: 0, records: [], left: [shown] }]);
  await renewTrust(acting, ["budget/team/other"]);
  expect(carried).toEqual([]);
  await renewTrust(acting, [ACCOUNT]);
  expect(carried).toHaveLength(1);
  expect(said.at(-1)).toEqual({ renewed: 1, records: [shown], left: [] });
});

test.each([
  ["an operator", ACCOUNT, limit(1n), secondOperator],
  ["a coordinator, as it could", "team/research", kill(), stranger],
])("a stale record of %s is renewed without being named", async (_whose, scope, op, signer) => {
  const stale = sign(scope, op, signer, { v: 4 });
  const { acting, carried, said } = operatorOf(stale, { stale: [stale] });
  await renewTrust(acting);
  expect(carried).toHaveLength(1);
  expect(said).toMatchObject([{ renewed: 1, left: [] }]);
});

test("no bundle is signed because a coordinator calls it stale", async () => {
  const stale = [bundle([...LISTED, thief], stranger)];
  const { acting, carried } = operatorOf(bundle(LISTED), { stale });
  await renewTrust(acting);
  expect(carried).toEqual([]);
  await expect(renewTrust(acting, ["trust"])).rejects.toThrow("trust bundle renewed");
  expect(carried).toEqual([]);
});

describe("the number under which an operator signs", () => {
  const [last, beyond] = [COORDINATOR_VERSION_MAX, Number.MAX_SAFE_INTEGER - 1];
  const scope = "team/research";

  test.each([
    ["up to what a coordinator may give, whoever signed it", stranger, last],
    ["beyond that one of an operator's", secondOperator, beyond],
  ])("follows %s", async (_what, signer, v) => {
    const { acting, carried } = operatorOf(sign(scope, kill(), signer, { v }), { v });
    await revive(acting, scope, {});
    const read = carried.map((one) =>
      restoreRecord(toBinary(SignedRecordSchema, one), { mesh: MESH }),
    );
    expect(read).toMatchObject([{ ok: true, record: { v: v + 1, op: { case: "revive" } } }]);
  });

  test.each([
    ["a coordinator's", coordinator, last + 1],
    ["nobody's", stranger, beyond],
  ])("does not follow one beyond it that is %s", async (_whose, signer, v) => {
    const shown = sign(scope, kill(), signer, { v });
    const { acting, carried } = operatorOf(shown, { v, stale: [shown] });
    await expect(revive(acting, scope, {})).rejects.toThrow("beyond what a coordinator may give");
    await expect(renewTrust(acting)).rejects.toThrow("beyond what a coordinator may give");
    expect(carried).toEqual([]);
  });

  test("does not follow a number that is shown without its record", async () => {
    const { acting, carried } = operatorOf(sign(scope, kill(), operator, { v: 4 }));
    const { calls } = acting.coordinator();
    const getScope = async () => ({ mesh: MESH, v: BigInt(beyond), hash: new Uint8Array(32) });
    Object.assign(calls, { getScope });
    await expect(revive(acting, scope, {})).rejects.toThrow("shows no record of the version");
    expect(carried).toEqual([]);
  });
});

test("the last coordinator is not taken out of the bundle", async () => {
  const { acting, carried } = operatorOf(bundle(BUNDLE));
  await expect(removeTrust(acting, coordinator.kid)).rejects.toThrow("every node would close");
  expect(carried).toEqual([]);
});

test("a record that is stale again once it was signed ends the renewal: this key does not count", async () => {
  const stale = sign(ACCOUNT, limit(1n), secondOperator, { v: 4 });
  const { acting, carried } = operatorOf(stale, { stale: [stale], more: true });
  await expect(renewTrust(acting)).rejects.toThrow("does not count either");
  expect(carried).toHaveLength(1);
});
