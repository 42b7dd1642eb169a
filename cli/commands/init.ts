import { existsSync } from "node:fs";
import { join } from "node:path";
import { cryptoRandom } from "../../adapters/crypto-random.ts";
import { replaceDurably } from "../../adapters/durable-file.ts";
import { fileKeys } from "../../adapters/file-keys.ts";
import { ownFolder } from "../../adapters/grpc-socket.ts";
import { openInspectionRoot, ROOT_CERTIFICATE } from "../../adapters/inspection-root.ts";
import { holdInstance } from "../../adapters/instance-lock.ts";
import { natsAuthorization } from "../../adapters/nats-permissions.ts";
import { natsUser } from "../../adapters/nats-user.ts";
import { systemClock } from "../../adapters/system-clock.ts";
import {
  foundMesh,
  identityPath,
  keysPath,
  trustPath,
  writeIdentity,
} from "../../coordinator/found-mesh.ts";
import { OPERATIONS_KEY } from "../../coordinator/operations/operations-log.ts";
import { isName } from "../../proto/ids.ts";
import { type CommandContext, CommandError } from "../command-context.ts";
import { natsMembers } from "./nats.ts";

/** What nats-server's configuration includes: whom it lets in, and to what. */
const PERMISSIONS_FILE = "nats-permissions.conf";
const COORDINATOR_KEYS = ["coordinator", "enrolment", "witness", OPERATIONS_KEY];

export type InitOptions = {
  readonly mesh?: string;
  readonly replicaId: string;
  readonly trust?: string;
};

/**
 * `altrace init [member...]`: makes in HOME all that a coordinator has before it first starts.
 *
 * What is there stays as it is, so it can be run again: only the permissions are written anew, when members
 * are given. No server is asked, and none may be running on this HOME.
 *
 * @param given Who else is in the mesh: `coordinator/<name>=U...` and `node/<id>=U...`, once each.
 * @param options.trust trust.json of the mesh to join; without it one is founded.
 */
export async function init(
  context: CommandContext,
  given: readonly string[],
  options: InitOptions,
): Promise<void> {
  const { home } = context;
  const { mesh, replicaId, trust: trustFile } = options;
  for (const [flag, name] of Object.entries({ "--replica-id": replicaId, "--mesh": mesh })) {
    if (name !== undefined && !isName(name)) {
      throw new CommandError(`${flag} ${name}: expected a name of [a-z0-9-]`, 2);
    }
  }
  // Whatever is wrong with the words is told before anything is made.
  const self = { role: "coordinator", name: replicaId, publicKey: "" } as const;
  natsMembers(given, self);
  ownFolder(home);
  // Of two at once, or beside a coordinator, one would overwrite what the other made.
  const lock = await holdInstance({ home, socketPaths: [], ports: [] });
  try {
    const isNew = !existsSync(trustPath(home));
    const operatorKeys = fileKeys(home);
    const { pin, operator } = foundMesh({
      ...{ home, mesh, trustFile, operatorKeys },
      random: cryptoRandom,
    });
    const { publicKey } = await makeKeys(home, pin.mesh, replicaId);
    const path = join(home, PERMISSIONS_FILE);
    if (given.length > 0 || !existsSync(path)) {
      const members = natsMembers(given, { ...self, publicKey });
      replaceDurably(path, natsAuthorization(members), 0o644);
    }
    const made = { mesh: pin.mesh, isNew, isOperators: operator !== undefined, publicKey };
    tell(context, { ...made, replicaId });
  } finally {
    await lock.release();
  }
}

/** This coordinator's keys, its identity for others to trust, and the root that agents are told to trust. */
async function makeKeys(home: string, mesh: string, replica: string) {
  const keys = fileKeys(keysPath(home));
  for (const name of COORDINATOR_KEYS) keys.loadOrCreate(name);
  writeIdentity(home, replica, keys);
  await openInspectionRoot({ home, mesh, nowMs: systemClock.nowMs() });
  return natsUser(keysPath(home));
}

type Made = {
  readonly mesh: string;
  readonly isNew: boolean;
  /** The operator's key lies in this HOME. */
  readonly isOperators: boolean;
  readonly publicKey: string;
  readonly replicaId: string;
};

function tell({ home, output }: CommandContext, made: Made): void {
  const { mesh, isNew, isOperators, publicKey, replicaId } = made;
  const files = {
    trust: trustPath(home),
    ...(isOperators && { operatorKey: join(home, "operator.key") }),
    identity: identityPath(home),
    inspectionRoot: join(home, ROOT_CERTIFICATE),
    natsPermissions: join(home, PERMISSIONS_FILE),
  };
  const about: Record<keyof typeof files, string> = {
    trust: "what every node and further coordinator is given",
    operatorKey: "signs policies, revivals and trust; may be kept elsewhere",
    identity: "for `altrace trust add`, where this one joins a mesh",
    inspectionRoot: "what agents trust, where TLS to providers is looked into",
    natsPermissions: "what the NATS server's configuration includes",
  };
  const value = { mesh, isNew, replica: replicaId, natsUser: publicKey, files };
  output.result(value, () => {
    output.line(`mesh ${mesh} ${isNew ? "is made" : "was there"}; this is ${replicaId} of it`);
    for (const [name, path] of Object.entries(files)) {
      output.line(`  ${path}  ${about[name as keyof typeof files]}`);
    }
  });
}
