import { createHash } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { operatorUri, writeClaims } from "../../../authority/claims.ts";
import { holderJwk } from "../../../authority/holder-key.ts";
import { signingInputOf, tokenOf } from "../../../authority/token.ts";
import { Contracts } from "../../../coordinator/contracts.ts";
import { PLACED_EVERYWHERE } from "../../../coordinator/placement.ts";
import type { RecordOp } from "../../../mesh/record-op.ts";
import type { Signer } from "../../../ports/keys.ts";
import { LeaseRequestSchema } from "../../../proto/gen/altrace/v1/mesh_pb.ts";
import { KillSchema, PolicySchema, ReviveSchema } from "../../../proto/gen/altrace/v1/record_pb.ts";
import { AUTHORITY, root } from "../../support/contract-forge.ts";
import { CoordinatorWorld, LIMITS, MESH } from "./coordinator-world.ts";

const BOT = "agent/pay/bot";

/** A root that the world's operator has signed for an agent of that node. */
function rootIn(world: CoordinatorWorld, holder: Signer): string {
  const { operator } = world;
  const nowS = Math.floor(world.clock.nowMs() / 1_000);
  const validity = { ...AUTHORITY.validity, notBefore: nowS, expires: nowS + 3_600 };
  const payload = writeClaims({
    ...root().claims,
    mesh: MESH,
    agent: "pay/bot",
    holder: holderJwk(holder.publicKey),
    issuer: operatorUri(operator.kid),
    issuedAt: nowS,
    authority: { ...AUTHORITY, validity },
  });
  const input = signingInputOf(operator.kid, payload);
  return tokenOf(input, operator.sign(Buffer.from(input)));
}

test("Q4: a node is lent nothing for a contract while its agent is killed, and its money stays whole", async () => {
  const world = new CoordinatorWorld();
  const { replica, ledger, commands } = await world.founded();
  const node = await world.addNode("n1");
  const order = async (scope: string, op: RecordOp) => {
    const command = await commands.carry(world.sign(scope, op), [op.case ?? "policy"]);
    await world.until(() => command.committed);
  };
  const body = Buffer.from(JSON.stringify(LIMITS));
  const sha256 = createHash("sha256").update(body).digest();
  await order("policy", {
    case: "policy",
    value: create(PolicySchema, { sha256, size: BigInt(body.length), body }),
  });
  const contracts = new Contracts({
    clock: world.clock,
    mesh: MESH,
    replica,
    ledger,
    verify: world.keys.verify,
    placement: PLACED_EVERYWHERE,
  });
  const view = await contracts.issue(rootIn(world, node.signer), { node: "" });
  if ("refused" in view) throw new Error(view.refused);
  const account = `contract/${view.account.id}`;
  const borrow = async () => {
    const amount = { usdMicros: 10n };
    const value = create(LeaseRequestSchema, { account, need: amount, want: amount });
    const { case: said, value: answer } = await node.ask({ case: "lease", value });
    return said === "refused" ? (answer as { reason: string; message: string }) : said;
  };
  const left = async () =>
    (await ledger.rows(account)).map(({ unit, available }) => [unit, available]);
  const whole = await left();

  await order(BOT, { case: "kill", value: create(KillSchema, { reason: "why" }) });
  expect(await borrow()).toMatchObject({ reason: "killed_contract", message: BOT });
  expect(await left()).toEqual(whole);

  await order(BOT, { case: "revive", value: create(ReviveSchema, { reason: "why" }) });
  expect(await borrow()).toBe("lease");
  expect(await left()).not.toEqual(whole);

  await order(account, { case: "kill", value: create(KillSchema, { reason: "why" }) });
  expect(await borrow()).toMatchObject({ reason: "killed_contract", message: account });
});
