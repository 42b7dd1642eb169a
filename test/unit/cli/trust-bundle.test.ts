import { fromBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import type { CommandContext } from "../../../cli/command-context.ts";
import { removeTrust } from "../../../cli/commands/trust.ts";
import { openRecord, restoreRecord } from "../../../mesh/record.ts";
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
  MESH,
  opened,
  operator,
  sign,
  stranger,
  trust,
  trustedKey,
  trustView,
} from "../mesh/sample-mesh.ts";

const second = trustedKey(keys.loadOrCreate("second-coordinator"), TrustRole.COORDINATOR);
const LISTED = [...BUNDLE, second];
const thief = trustedKey(stranger, TrustRole.OPERATOR);

function bundle(of: readonly TrustedKey[], signer: Signer = operator, v = 4): Uint8Array {
  return sign("trust", trust(...of), signer, { v });
}

/** An operator whose coordinator shows these bytes as the current bundle, and these as stale. */
function operatorOf(shown: Uint8Array, { v = 4, stale = [] as Uint8Array[] } = {}) {
  const carried: SignedRecord[] = [];
  const record = fromBinary(SignedRecordSchema, shown);
  const { hash } = opened(restoreRecord(shown, { mesh: MESH }));
  const calls = {
    getScope: async () => ({ mesh: MESH, v: BigInt(v), hash, record }),
    putKey: async (of: { record: SignedRecord }) => void carried.push(of.record),
    listStaleRecords: async () => ({
      records: stale.map((bytes) => fromBinary(SignedRecordSchema, bytes)),
      more: false,
    }),
  };
  const acting = {
    home: "/nowhere",
    operatorName: "olga",
    operatorKeys: () => ({ ...keys, load: () => operator, verify: keys.verify }),
    coordinator: () => ({ calls }),
    output: { result: () => undefined },
  } as unknown as CommandContext;
  return { acting, carried };
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
  await expect(removeTrust(acting, coordinator.kid)).rejects.toThrow("not signed by this operator");
  expect(carried).toEqual([]);
});

test("an older bundle is not built on as if it were the newest", async () => {
  const { acting, carried } = operatorOf(bundle(LISTED), { v: 9 });
  await expect(removeTrust(acting, coordinator.kid)).rejects.toThrow("another record than");
  expect(carried).toEqual([]);
});

test("no bundle is signed because a coordinator calls it stale", async () => {
  const stale = [bundle([...LISTED, thief], stranger)];
  const { acting, carried } = operatorOf(bundle(LISTED), { stale });
  await expect(removeTrust(acting, coordinator.kid)).rejects.toThrow("trust bundle renewed");
  expect(carried).toHaveLength(1);
});
