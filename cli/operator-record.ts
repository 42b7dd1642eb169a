import { existsSync } from "node:fs";
import { join } from "node:path";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { cryptoRandom } from "../adapters/crypto-random.ts";
import { RpcError } from "../adapters/grpc-error.ts";
import { systemClock } from "../adapters/system-clock.ts";
import { readTrustFile } from "../adapters/trust-file.ts";
import {
  COORDINATOR_VERSION_MAX,
  type MeshRecord,
  type OpenContext,
  type OpenedRecord,
  openRecord,
  restoreRecord,
  signRecord,
} from "../mesh/record.ts";
import type { OpName, RecordOp } from "../mesh/record-op.ts";
import { TrustView } from "../mesh/trust.ts";
import type { Signer } from "../ports/keys.ts";
import { uuidV7 } from "../ports/random.ts";
import type { GetScopeResponse } from "../proto/gen/altrace/v1/coordinator_service_pb.ts";
import {
  type SignedRecord,
  SignedRecordSchema,
  type Trust,
} from "../proto/gen/altrace/v1/record_pb.ts";
import { type CommandContext, CommandError } from "./command-context.ts";

/** Another operator may write the same scope in between; then it is read and signed again. */
const ATTEMPTS_MAX = 5;

/**
 * Signs the next record of a scope with the operator's key and has the coordinator carry it.
 *
 * @param op What it says; or what follows from the scope's record of now, where it builds on that.
 *
 * The coordinator cannot make such a record itself: nodes check the operator's signature. So what is built on must
 * be signed by keys that count, by the bundle of the key that is pinned: a coordinator that was taken over would
 * have its own words signed with the operator's.
 *
 * @param mayFollow Throws when the record must not replace one of this op. Asked before each signature,
 * because another may have come in between.
 */
export async function carrySigned<Answer>(
  context: CommandContext,
  scope: string,
  op: RecordOp | ((current: MeshRecord | undefined) => RecordOp),
  carry: (record: SignedRecord) => Promise<Answer>,
  mayFollow: (current: OpName | undefined) => void = () => undefined,
): Promise<Answer> {
  const signer = context.operatorKeys().load("operator");
  if (signer === undefined) throw noKey(context);
  const { calls } = context.coordinator();
  for (let attempt = 1; ; attempt++) {
    const current = await calls.getScope({ scope });
    mayFollow(opOf(scope, current));
    await mustBeNumbered(context, scope, current, signer);
    const bytes = signRecord(
      {
        mesh: current.mesh,
        scope,
        v: Number(current.v) + 1,
        prev: current.hash,
        cmdId: uuidV7(systemClock.nowMs(), cryptoRandom),
        issuedAtMs: systemClock.nowMs(),
        operator: context.operatorName,
        op: typeof op === "function" ? op(await counted(context, scope, current, signer)) : op,
      },
      signer,
    );
    try {
      return await carry(fromBinary(SignedRecordSchema, bytes));
    } catch (error) {
      const conflict = error instanceof RpcError && error.reason === "conflict";
      if (!conflict || attempt >= ATTEMPTS_MAX) throw error;
    }
  }
}

/**
 * What the scope's current record does; undefined where there is none. It must be the one that the next follows: an
 * older one, shown beside the newest number, would be built on once more.
 */
function opOf(scope: string, { mesh, v, hash, record }: GetScopeResponse): OpName | undefined {
  if (record === undefined) return undefined;
  const read = restoreRecord(toBinary(SignedRecordSchema, record), { mesh });
  if (!read.ok) throw new CommandError(`the scope's record cannot be read: ${read.detail}`);
  const isNumbered = BigInt(read.record.v) === v && Buffer.compare(read.record.hash, hash) === 0;
  if (isNumbered && read.record.scope === scope) return read.record.op.case;
  throw new CommandError("the coordinator shows another record than the one it numbers");
}

/**
 * A coordinator that was taken over could show any number, and have the operator sign the last one that there is: nobody
 * could kill or revive the scope any more. By itself it may number up to `COORDINATOR_VERSION_MAX`; so what is beyond that must be
 * an operator's.
 *
 * @throws CommandError
 */
async function mustBeNumbered(
  context: CommandContext,
  scope: string,
  current: GetScopeResponse,
  signer: Signer,
): Promise<void> {
  if (current.record === undefined && current.v !== 0n) {
    throw new CommandError(
      `${scope}: the coordinator shows no record of the version that it names`,
    );
  }
  if (current.record === undefined || current.v <= BigInt(COORDINATOR_VERSION_MAX)) return;
  // A listed key will do, in force or not: who renews a record finds one whose key counts no more.
  const reading = pinned(context, current.mesh, signer, "once");
  await learnBundle(context, reading);
  const opened = reading.open(current.record);
  if (opened.ok) return;
  throw new CommandError(
    `${scope}: version ${current.v} is beyond what a coordinator may give, and no operator's key that is ` +
      `listed has signed it (${opened.reason})`,
  );
}

/** @throws CommandError No key that counts has signed it. */
async function counted(
  context: CommandContext,
  scope: string,
  { mesh, record }: GetScopeResponse,
  signer: Signer,
): Promise<MeshRecord | undefined> {
  if (record === undefined) return undefined;
  const { trust, open } = pinned(context, mesh, signer);
  if (scope !== "trust") await learnBundle(context, { trust, open });
  const opened = open(record);
  if (opened.ok) return opened.record;
  throw new CommandError(
    `${scope}: what the coordinator shows is not signed by a key that counts (${opened.reason}); ` +
      "altrace trust renew signs again what listed keys signed, and names what they did not",
  );
}

/** How this operator reads what a coordinator shows. */
type Reading = { readonly trust: TrustView; readonly open: (signed: SignedRecord) => OpenedRecord };

/** By the pinned key alone. With `once` a key counts that is not in force. */
function pinned(
  context: CommandContext,
  mesh: string,
  signer: Signer,
  taken?: OpenContext["signed"],
): Reading {
  const pin = pinIn(context.home) ?? { mesh, operatorPublicKey: signer.publicKey };
  const trust = new TrustView(pin);
  const { verify } = context.operatorKeys();
  const open = (signed: SignedRecord): OpenedRecord =>
    openRecord(toBinary(SignedRecordSchema, signed), {
      ...{ mesh: pin.mesh, trust, verify },
      nowMs: systemClock.nowMs(),
      ...(taken && { signed: taken }),
    });
  return { trust, open };
}

/** By the bundle too, if the pinned key has signed the one that is shown. */
async function learnBundle(context: CommandContext, { trust, open }: Reading): Promise<void> {
  const bundle = await context.coordinator().calls.getScope({ scope: "trust" });
  const opened = bundle.record && open(bundle.record);
  if (opened?.ok && opened.record.scope === "trust") trust.learn(opened.record);
}

/**
 * Names the keys that signed a record, in force or not: of the bundle that the pinned key has signed, or of
 * `keys`, which was that before.
 */
export async function signersOf(
  context: CommandContext,
  keys?: Trust,
): Promise<(record: MeshRecord) => readonly string[]> {
  const signer = context.operatorKeys().load("operator");
  if (signer === undefined) throw noKey(context);
  const { mesh } = await context.coordinator().calls.getScope({ scope: "trust" });
  const reading = pinned(context, mesh, signer);
  const { trust } = reading;
  if (keys === undefined) await learnBundle(context, reading);
  else trust.learn({ parsed: { kind: "trust" }, op: { case: "trust", value: keys } });
  const { verify } = context.operatorKeys();
  return ({ bytes }) => {
    const nowMs = systemClock.nowMs();
    const opened = openRecord(bytes, { mesh, trust, verify, nowMs, signed: "once" });
    return opened.ok ? opened.record.kids : [];
  };
}

function noKey({ home }: CommandContext): CommandError {
  return new CommandError(`${home}/operator.key: not there; this needs an operator's key`);
}

/** The key that this HOME was given as its mesh's; an operator's own HOME may have none but the key itself. */
function pinIn(home: string): { mesh: string; operatorPublicKey: Uint8Array } | undefined {
  const path = join(home, "trust.json");
  return existsSync(path) ? readTrustFile(path) : undefined;
}
