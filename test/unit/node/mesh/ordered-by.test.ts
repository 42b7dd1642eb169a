import { expect, test } from "vitest";
import { type MeshRecord, restoreRecord } from "../../../../mesh/record.ts";
import { decodeSignedRecord, encodeSignedRecord } from "../../../../mesh/signed-record.ts";
import { NOBODY_LISTED, orderedBy } from "../../../../node/mesh/ordered-by.ts";
import type { Signer } from "../../../../ports/keys.ts";
import {
  BUNDLE,
  context,
  coordinator,
  MESH,
  ORDER_SCOPE,
  opened,
  redact,
  secondOperator,
  sign,
  stranger,
  trustView,
} from "../../mesh/sample-mesh.ts";

/** An order of the second operator as it lies on a disk, with signatures that others put before the good one. */
function kept(...others: readonly Signer[]): MeshRecord {
  const signatureOf = (signer: Signer) =>
    decodeSignedRecord(sign(ORDER_SCOPE, redact(), signer)).signatures;
  const { payload, signatures } = decodeSignedRecord(sign(ORDER_SCOPE, redact(), secondOperator));
  const forged = { kid: coordinator.kid, sig: new Uint8Array(64) };
  const all = [forged, ...others.flatMap(signatureOf), ...signatures];
  return opened(restoreRecord(encodeSignedRecord({ payload, signatures: all }), { mesh: MESH }));
}

test("an order from the disk is the operator's who has signed it, whoever signed before", () => {
  expect(orderedBy(kept(), context())).toBe(secondOperator.kid);
  expect(orderedBy(kept(stranger, coordinator), context())).toBe(secondOperator.kid);
});

test("it is also while that key is listed and in force no more, and nobody's once it is not listed", () => {
  const overdue = BUNDLE.map((key) =>
    key.kid === secondOperator.kid ? { ...key, notAfterMs: 1n } : key,
  );
  expect(orderedBy(kept(), context({ trust: trustView(overdue) }))).toBe(secondOperator.kid);
  const without = BUNDLE.filter(({ kid }) => kid !== secondOperator.kid);
  expect(orderedBy(kept(), context({ trust: trustView(without) }))).toBe(NOBODY_LISTED);
});

test("one that was verified as it came is not verified again", () => {
  const verify = () => {
    throw new Error("verified");
  };
  const fresh = { ...kept(), kids: [secondOperator.kid] };
  expect(orderedBy(fresh, context({ verify }))).toBe(secondOperator.kid);
});
