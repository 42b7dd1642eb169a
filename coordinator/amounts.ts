import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Amounts, ShortfallSchema } from "../proto/gen/altrace/v1/mesh_pb.ts";
import { Unit } from "../proto/gen/altrace/v1/record_pb.ts";
import type { Shortfall } from "./ledger.ts";
import { type LedgerAmounts, type LedgerUnit, NO_AMOUNTS } from "./ledger-window.ts";

const COUNT_MAX = BigInt(Number.MAX_SAFE_INTEGER);

/** Amounts off the wire; absent means none of anything. `undefined`: one is beyond 2^53-1. */
export function readAmounts(message: Amounts | undefined): LedgerAmounts | undefined {
  if (!message) return NO_AMOUNTS;
  const { usdMicros, tokens, calls } = message;
  if (usdMicros > COUNT_MAX || tokens > COUNT_MAX || calls > COUNT_MAX) return undefined;
  return { usd_micros: Number(usdMicros), tokens: Number(tokens), calls: Number(calls) };
}

/** Made whole: the library takes longer to make a message than to write it, and each lease has several. */
export function writeAmounts(amounts: LedgerAmounts): Amounts {
  return {
    $typeName: "altrace.v1.Amounts",
    usdMicros: BigInt(amounts.usd_micros),
    tokens: BigInt(amounts.tokens),
    calls: BigInt(amounts.calls),
  };
}

const UNITS: { readonly [U in LedgerUnit]: Unit } = {
  usd_micros: Unit.USD_MICROS,
  tokens: Unit.TOKENS,
  calls: Unit.CALLS,
};

export function writeShortfall(shortfall: Shortfall): MessageInitShape<typeof ShortfallSchema> {
  const { account, window, unit, endsAtMs } = shortfall;
  const ends = Number.isFinite(endsAtMs) ? BigInt(endsAtMs) : 0n;
  return { account, window, unit: writeUnit(unit), endsAtMs: ends };
}

export function writeUnit(unit: LedgerUnit): Unit {
  return UNITS[unit];
}

export function readUnit(unit: Unit): LedgerUnit | undefined {
  return (Object.keys(UNITS) as LedgerUnit[]).find((each) => UNITS[each] === unit);
}
