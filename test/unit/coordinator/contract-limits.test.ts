import { create, fromBinary } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import type { ContractAccount } from "../../../coordinator/contract-account.ts";
import {
  AccountLimitSchema,
  AccountLimitsSchema,
  LimitSchema,
  SignedRecordSchema,
  Unit,
} from "../../../proto/gen/altrace/v1/record_pb.ts";
import { CoordinatorWorld } from "./coordinator-world.ts";
import { amountsOf } from "./ledger-world.ts";

const ID = "c".repeat(43);
const OTHER = "d".repeat(43);
const BUCKET = { burst: 1, amount: 1, seconds: 1 };

type Said = { readonly unit: Unit; readonly window: string; readonly limit: bigint };

async function founded(): Promise<CoordinatorWorld> {
  const world = new CoordinatorWorld();
  await world.founded();
  const account: ContractAccount = {
    ...{ id: ID, parent: "", agent: "pay/bot", node: "n1", depth: 0, keySha256: "", chain: "" },
    limit: amountsOf({ usd_micros: 1_000, tokens: 50, calls: 7 }),
    rate: { req: BUCKET, tok: BUCKET, usd_u: BUCKET },
    expiresMs: world.clock.nowMs() + 3_600_000,
    state: "open",
  };
  await world.parts.ledger.contracts((contracts) => contracts.open(account));
  return world;
}

function recordOf(world: CoordinatorWorld, id: string, said: readonly Said[]): Uint8Array {
  const limits = said.map((one) => create(AccountLimitSchema, one));
  const value = create(AccountLimitsSchema, { limits });
  const op = create(LimitSchema, { of: { case: "accounts", value } });
  return world.sign(`budget/contract/${id}`, { case: "limit", value: op });
}

/** Why an operator's limits are refused; undefined: they were carried. */
async function refusal(world: CoordinatorWorld, id: string, said: readonly Said[]) {
  const record = fromBinary(SignedRecordSchema, recordOf(world, id, said));
  const calling = world.parts.service.setLimit({ record });
  return calling.then(
    () => undefined,
    ({ reason, message }: { reason: string; message: string }) => ({ reason, message }),
  );
}

const usd = (limit: bigint, window = "total"): Said => ({ unit: Unit.USD_MICROS, window, limit });

describe("an operator's limit of a contract", () => {
  test("is refused above what the contract was granted, and says what that is", async () => {
    const world = await founded();
    expect(await refusal(world, ID, [usd(1_001n)])).toEqual({
      reason: "limit_above_grant",
      message: `contract/${ID} was granted 1000 usd_micros: it can have less, and for more it takes another contract`,
    });
    const calls = { unit: Unit.CALLS, window: "total", limit: 8n };
    expect(await refusal(world, ID, [usd(1_000n), calls])).toMatchObject({
      reason: "limit_above_grant",
    });
    expect(await refusal(world, ID, [usd(1_000n), { ...calls, limit: 7n }])).toBeUndefined();
    expect(await refusal(world, ID, [usd(400n)])).toBeUndefined();
    // A window within its life bounds it further, whatever it says.
    expect(await refusal(world, ID, [usd(2_000n, "day:2026-11-22")])).toBeUndefined();
    await world.until(() => world.parts.replica.state.get(`budget/contract/${ID}`)?.v === 3);
    // What was said of one window was not said of another.
    expect(await refusal(world, ID, [usd(2_000n)])).toMatchObject({ reason: "limit_above_grant" });
  });

  test("is refused where no such contract is known", async () => {
    const world = await founded();
    expect(await refusal(world, OTHER, [usd(1n)])).toEqual({
      reason: "contract_unknown",
      message: `contract/${OTHER}`,
    });
  });

  test("may be said again as it stands, beside another and by another key", async () => {
    const world = await founded();
    // Signed for an earlier build, which carried it.
    await world.parts.commands.carry(recordOf(world, ID, [usd(9_000n)]), ["limit"]);
    await world.until(() => world.parts.replica.state.get(`budget/contract/${ID}`)?.v === 1);
    const less = { unit: Unit.CALLS, window: "total", limit: 3n };
    expect(await refusal(world, ID, [usd(9_000n), less])).toBeUndefined();
    expect(await refusal(world, ID, [usd(9_001n)])).toMatchObject({ reason: "limit_above_grant" });
    // The ledger does not go by it.
    const rows = await world.parts.ledger.rows(`contract/${ID}`);
    const limits = rows.map(({ unit, limit }) => [unit, limit]);
    expect(limits).toEqual([
      ["usd_micros", 1_000],
      ["tokens", 50],
      ["calls", 3],
    ]);
  });
});
