import { readFileSync } from "node:fs";
import { create, toBinary } from "@bufbuild/protobuf";
import { readIdentity } from "../../coordinator/found-mesh.ts";
import { kidOf } from "../../mesh/kid-of.ts";
import { type MeshRecord, restoreRecord } from "../../mesh/record.ts";
import type { RecordOp } from "../../mesh/record-op.ts";
import { TAKEN_OUT_MS } from "../../mesh/trust.ts";
import { errorMessage } from "../../ports/error-message.ts";
import {
  KillSchema,
  SignedRecordSchema,
  type Trust,
  TrustedKeySchema,
  TrustRole,
  TrustSchema,
} from "../../proto/gen/altrace/v1/record_pb.ts";
import { parseScope } from "../../proto/ids.ts";
import { type CommandContext, CommandError } from "../command-context.ts";
import { carrySigned, signersOf } from "../operator-record.ts";
import { table } from "../output.ts";
import { type GivenKey, givenKey, nameNode } from "./member-keys.ts";
import { type RenewedRecord, renewedLine, renewRecords, shownOf } from "./renew-records.ts";

/** Nodes follow no more coordinators than these. */
const COORDINATORS_MAX = 3;
const NO_BUNDLE = "the mesh has no trust bundle yet: is its first coordinator up?";
const ROLES: { readonly [R in TrustRole]: string } = {
  [TrustRole.UNSPECIFIED]: "none",
  [TrustRole.OPERATOR]: "operator",
  [TrustRole.COORDINATOR]: "coordinator",
  [TrustRole.ENROLMENT]: "enrolment",
  [TrustRole.NODE]: "node",
};

/** `altrace trust list`: whose signatures count. */
export async function listTrust(context: CommandContext): Promise<void> {
  const { keys } = await currentTrust(context);
  const shown = keys.map(({ kid, role, publicKey, notAfterMs }) => ({
    kid,
    role: isTakenOut({ notAfterMs }) ? `${ROLES[role]} (removed)` : (ROLES[role] ?? "unknown"),
    publicKey: Buffer.from(publicKey).toString("hex"),
  }));
  context.output.result(shown, () => {
    const rows = shown.map(({ kid, role, publicKey }) => [kid, role, publicKey]);
    context.output.line(table([["KEY", "ROLE", "PUBLIC KEY"], ...rows]));
  });
}

/**
 * `altrace trust add <file|key>`: has the mesh trust the coordinator that wrote the file, an operator's key, or the key
 * that a node is to have.
 */
export async function addTrust(context: CommandContext, words: string): Promise<void> {
  const given = givenKey(words);
  if (given === undefined) return addCoordinator(context, words);
  return given.whose === "operator" ? addOperator(context, given) : nameNode(context, given);
}

/** What it signs counts beside what the pinned key signs; but that one alone says who is trusted. */
async function addOperator(context: CommandContext, { publicKey }: GivenKey): Promise<void> {
  const kid = kidOf(publicKey);
  await changeTrust(context, (keys) => {
    if (keys.some((key) => key.kid === kid)) throw new CommandError(`${kid} is trusted already`);
    return [...keys, create(TrustedKeySchema, { kid, publicKey, role: TrustRole.OPERATOR })];
  });
  context.output.result({ kid, trusted: true, role: "operator" }, () =>
    context.output.line(`${kid} is an operator's`),
  );
}

async function addCoordinator(context: CommandContext, file: string): Promise<void> {
  const identity = readIdentity(readText(file));
  if (identity === undefined) {
    throw new CommandError(
      `${file}: not a coordinator.json, as a coordinator writes in its HOME`,
      2,
    );
  }
  const { replica, coordinator, enrolment } = identity;
  const added = [
    { publicKey: coordinator, role: TrustRole.COORDINATOR },
    { publicKey: enrolment, role: TrustRole.ENROLMENT },
  ].map((key) => ({ ...key, kid: kidOf(key.publicKey) }));
  const count = await changeTrust(context, (keys) => {
    const listed = keys.filter((key) => !isTakenOut(key));
    const known = new Set(listed.map(({ kid }) => kid));
    if (added.every(({ kid }) => known.has(kid))) {
      throw new CommandError(`${replica} is trusted already`);
    }
    const fresh = added.filter(({ kid }) => !known.has(kid));
    const kept = keys.filter(({ kid }) => !fresh.some((key) => key.kid === kid));
    const next = [...kept, ...fresh.map((key) => create(TrustedKeySchema, key))];
    if (coordinatorsIn(next) > COORDINATORS_MAX) {
      throw new CommandError(`a mesh has ${COORDINATORS_MAX} coordinators at most`);
    }
    return next;
  });
  context.output.result({ replica, trusted: true, coordinators: count }, () => {
    context.output.line(`${replica} is trusted; the mesh has ${count} coordinators`);
    if (count === 2) context.output.line("two tolerate no more failures than one: add a third");
  });
}

/**
 * `altrace trust remove <key|node/id>`: nothing that this key, or that node, signs counts any more.
 *
 * A coordinator's key stays listed as taken out of use: what it has lent is told by its signature until
 * another leads, and a kill that a node alone has heard until another has said it again. Removing it once more
 * takes it off the list.
 */
export async function removeTrust(context: CommandContext, kid: string): Promise<void> {
  if (kid.includes("/")) return removeNode(context, kid);
  let wasTakenOut: boolean | undefined;
  let before: readonly Key[] = [];
  const count = await changeTrust(context, (keys) => {
    const removed = keys.find((key) => key.kid === kid);
    if (removed === undefined) throw new CommandError(`${kid}: the mesh trusts no such key`);
    // It alone signs bundles, and whatever a bundle lists it counts.
    if (context.operatorKeys().load("operator")?.kid === kid) {
      throw new CommandError(`${kid} is the key that every node pins: it cannot be removed`);
    }
    before = keys;
    wasTakenOut ??= isTakenOut(removed);
    // Another operator has just done the same: once more would be more than was asked for.
    if (wasTakenOut !== isTakenOut(removed)) throw new CommandError(`${kid} is taken out already`);
    const left = keys.filter((key) => key.kid !== kid);
    if (removed.role !== TrustRole.COORDINATOR || isTakenOut(removed)) return left;
    if (coordinatorsIn(left) === 0) {
      throw new CommandError("the last coordinator cannot be removed: every node would close");
    }
    return [...left, { ...removed, notBeforeMs: 0n, notAfterMs: BigInt(TAKEN_OUT_MS) }];
  });
  // What it has signed stands; a node that is yet to come could not check that.
  const records: RenewedRecord[] = [];
  const left: RenewedRecord[] = [];
  const signers = await signersOf(context, create(TrustSchema, { keys: [...before] }));
  const renewed = await renewRecords(context, {
    may: (record) => signers(record).includes(kid),
    tell: (record, isRenewed) => (isRenewed ? records : left).push(shownOf(record)),
  });
  context.output.result({ kid, removed: true, coordinators: count, renewed, records, left }, () => {
    context.output.line(`${kid} is trusted no more; the mesh has ${count} coordinators`);
    // Where the key was stolen some of it is not its owner's, and is in force until somebody says otherwise.
    for (const { scope, says } of records) context.output.line(`${scope}: ${says}`);
    if (renewed > 0) context.output.line(renewedLine(renewed));
    for (const { scope, says } of left) {
      context.output.line(`not renewed, as this key did not sign it: ${scope}: ${says}`);
    }
    if (left.length > 0) context.output.line("altrace trust renew looks at these too");
  });
}

/** The node borrows nothing from then on, and cannot come back under its name by a token. */
async function removeNode(context: CommandContext, scope: string): Promise<void> {
  if (parseScope(scope)?.kind !== "node") {
    throw new CommandError(`${scope}: expected a key's id, or node/<id>`, 2);
  }
  const value = create(KillSchema, { reason: "removed" });
  const { calls } = context.coordinator();
  await carrySigned(
    context,
    scope,
    { case: "kill", value },
    (record) => calls.putKey({ record }),
    (current) => {
      if (current !== "trust") throw new CommandError(`${scope} is not enrolled`);
    },
  );
  context.output.result({ node: scope, removed: true }, () =>
    context.output.line(
      `${scope} is removed; altrace trust add ${scope}=<key> gives the name to another key`,
    ),
  );
}

type Key = Trust["keys"][number];

function isTakenOut({ notAfterMs }: Pick<Key, "notAfterMs">): boolean {
  return notAfterMs === BigInt(TAKEN_OUT_MS);
}

/** Signs a bundle of the keys that `change` makes of the current ones. @returns Coordinators in it. */
async function changeTrust(
  context: CommandContext,
  change: (keys: readonly Key[]) => readonly Key[],
): Promise<number> {
  let count = 0;
  const next = (current: MeshRecord | undefined): RecordOp => {
    if (current?.op.case !== "trust") throw new CommandError(NO_BUNDLE);
    const keys = [...change(current.op.value.keys)];
    count = coordinatorsIn(keys);
    return { case: "trust", value: create(TrustSchema, { keys }) };
  };
  const { calls } = context.coordinator();
  await carrySigned(context, "trust", next, (record) => calls.putKey({ record }));
  return count;
}

async function currentTrust(context: CommandContext): Promise<Trust> {
  const { mesh, record } = await context.coordinator().calls.getScope({ scope: "trust" });
  const read = record && restoreRecord(toBinary(SignedRecordSchema, record), { mesh });
  const op = read?.ok ? read.record.op : undefined;
  if (op?.case === "trust") return op.value;
  throw new CommandError(NO_BUNDLE);
}

function coordinatorsIn(keys: readonly Key[]): number {
  return keys.filter((key) => key.role === TrustRole.COORDINATOR && !isTakenOut(key)).length;
}

function readText(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new CommandError(`${file}: ${errorMessage(error)}`, 2);
  }
}
