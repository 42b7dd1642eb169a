import { expect, test } from "vitest";
import { coordinatorKey, nodeKeyOf, operatorKey, TrustView } from "../../../mesh/trust.ts";
import { TrustRole } from "../../../proto/gen/altrace/v1/record_pb.ts";
import {
  BUNDLE,
  coordinator,
  enrolment,
  kill,
  MESH,
  NOW_MS,
  node,
  operator,
  policy,
  record,
  secondOperator,
  stranger,
  trust,
  trustedKey,
  trustView,
} from "./sample-mesh.ts";

const nodeTrust = (signer = node) => trust(trustedKey(signer, TrustRole.NODE));
const learnNode = (view: TrustView, id: string, signer = node) =>
  view.learn({ parsed: { kind: "node", id }, op: nodeTrust(signer) });
const roleOf = (view: TrustView, kid: string) => view.lookup(kid)?.role;

test("T1: a fresh view knows the pinned operator and nobody else", () => {
  const view = new TrustView({ mesh: MESH, operatorPublicKey: operator.publicKey });
  expect(view.lookup(operator.kid)).toMatchObject({ role: "operator", pinned: true });
  for (const { kid } of [secondOperator, coordinator, enrolment, node]) {
    expect(view.lookup(kid)).toBeUndefined();
  }
});

test("T1: the pin outlives any bundle, and no bundle makes another key of it", () => {
  const view = trustView([trustedKey(operator, TrustRole.COORDINATOR)], false);
  expect(view.lookup(operator.kid)).toMatchObject({ role: "operator", pinned: true });
});

test("T1: only the pinned operator may sign a bundle", () => {
  const view = trustView();
  const scope = { kind: "trust" } as const;
  const may = (kid: string): boolean => {
    const key = view.lookup(kid);
    return key !== undefined && view.maySign(key, "trust", scope, NOW_MS);
  };
  expect(may(operator.kid)).toBe(true);
  for (const { kid } of [secondOperator, coordinator, enrolment, node])
    expect(may(kid)).toBe(false);
});

test("T2: a bundle gives its keys their roles, and the next one takes them away", () => {
  const view = trustView();
  expect(roleOf(view, secondOperator.kid)).toBe("operator");
  expect(roleOf(view, coordinator.kid)).toBe("coordinator");
  expect(roleOf(view, enrolment.kid)).toBe("enrolment");
  expect(roleOf(view, stranger.kid)).toBeUndefined();
  const next = [trustedKey(stranger, TrustRole.COORDINATOR)];
  expect(view.learn({ parsed: { kind: "trust" }, op: trust(...next) })).toBe(true);
  expect(roleOf(view, coordinator.kid)).toBeUndefined();
  expect(roleOf(view, stranger.kid)).toBe("coordinator");
  expect(roleOf(view, node.kid)).toBe("node");
});

test("T2: a node's key counts while its record is current, and not after its removal", () => {
  const view = trustView(BUNDLE, false);
  expect(view.nodeKey("n1")).toBeUndefined();
  expect(learnNode(view, "n1")).toBe(true);
  expect(view.nodeKey("n1")).toMatchObject({ kid: node.kid, role: "node", nodeId: "n1" });
  expect(view.lookup(node.kid)?.nodeId).toBe("n1");
  expect(view.nodeIds()).toEqual(["n1"]);
  learnNode(view, "n1", stranger);
  expect(view.lookup(node.kid)).toBeUndefined();
  expect(view.nodeKey("n1")?.kid).toBe(stranger.kid);
  expect(view.learn({ parsed: { kind: "node", id: "n1" }, op: kill() })).toBe(true);
  expect([view.nodeKey("n1"), view.lookup(stranger.kid), view.nodeIds()]).toEqual([
    undefined,
    undefined,
    [],
  ]);
});

test("T2: a node that claims another's key takes nothing from it but the name by kid", () => {
  const view = trustView();
  learnNode(view, "n2");
  expect(view.nodeKey("n1")?.kid).toBe(node.kid);
  expect(view.nodeKey("n2")?.nodeId).toBe("n2");
  expect(view.lookup(node.kid)).toBeUndefined();
  view.learn({ parsed: { kind: "node", id: "n2" }, op: kill() });
  expect(view.lookup(node.kid)?.nodeId).toBe("n1");
});

test("T2: a node that claims a coordinator's key does not take its place", () => {
  const view = trustView();
  learnNode(view, "n2", coordinator);
  expect(roleOf(view, coordinator.kid)).toBe("coordinator");
});

test("T2: no other record changes a key", () => {
  const view = trustView();
  expect(view.learn(record("policy", policy("{}")))).toBe(false);
  expect(view.learn(record("global", kill()))).toBe(false);
  expect(roleOf(view, coordinator.kid)).toBe("coordinator");
});

test("keys of a role are listed, the pin among the operators", () => {
  const view = trustView();
  const kids = (role: "operator" | "coordinator" | "enrolment") =>
    view.keysOf(role).map((key) => key.kid);
  expect(kids("operator")).toEqual([operator.kid, secondOperator.kid]);
  expect(kids("coordinator")).toEqual([coordinator.kid]);
  expect(kids("enrolment")).toEqual([enrolment.kid]);
});

test("a key signs nothing outside its validity", () => {
  const validity = { notBeforeMs: 1_000n, notAfterMs: 2_000n };
  const view = trustView([trustedKey(coordinator, TrustRole.COORDINATOR, validity)]);
  const key = view.lookup(coordinator.kid);
  if (!key) throw new Error("the key is unknown");
  const at = (nowMs: number): boolean => view.maySign(key, "kill", { kind: "global" }, nowMs);
  expect([999, 1_000, 2_000, 2_001].map(at)).toEqual([false, true, true, false]);
});

test("a key is found by its role, its kid and its validity, and otherwise not", () => {
  const from = { notBeforeMs: BigInt(NOW_MS), notAfterMs: BigInt(NOW_MS + 10) };
  const view = trustView(
    [
      trustedKey(secondOperator, TrustRole.OPERATOR, from),
      trustedKey(coordinator, TrustRole.COORDINATOR, from),
    ],
    false,
  );
  view.learn({
    parsed: { kind: "node", id: "n1" },
    op: trust(trustedKey(node, TrustRole.NODE, from)),
  });
  const found = (nowMs: number) =>
    [secondOperator, coordinator, node, stranger].map(({ kid }) =>
      [operatorKey(view, nowMs), coordinatorKey(view, nowMs), nodeKeyOf(view, "n1", nowMs)].map(
        (lookup) => lookup(kid) !== undefined,
      ),
    );
  expect(found(NOW_MS)).toEqual([
    [true, false, false],
    [false, true, false],
    [false, false, true],
    [false, false, false],
  ]);
  for (const nowMs of [NOW_MS - 1, NOW_MS + 11]) expect(found(nowMs).flat()).not.toContain(true);
  expect(nodeKeyOf(view, "n2", NOW_MS)(node.kid)).toBeUndefined();
  expect(nodeKeyOf(view, "n1", NOW_MS)(node.kid)).toEqual(node.publicKey);
});
