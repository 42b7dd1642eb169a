import { join } from "node:path";
import { type NatsMember, natsAuthorization } from "../../adapters/nats-permissions.ts";
import { natsUser } from "../../adapters/nats-user.ts";
import { keysPath } from "../../coordinator/found-mesh.ts";
import { isName } from "../../proto/ids.ts";
import { type CommandContext, CommandError } from "../command-context.ts";

const MEMBER_PATTERN = /^(coordinator|node)\/([^=]+)=(U[A-Z2-7]{55})$/;

/** `altrace nats user coordinator|node`: the public key by which the NATS server is to know this HOME. */
export function natsUserOf(context: CommandContext, role: string): void {
  if (role !== "coordinator" && role !== "node") {
    throw new CommandError(`${role}: expected coordinator or node`, 2);
  }
  const folder = role === "node" ? join(context.home, "node", "keys") : keysPath(context.home);
  const { publicKey } = natsUser(folder);
  context.output.result({ role, publicKey }, () => context.output.line(publicKey));
}

/**
 * `altrace nats permissions <member...>`: what of a nats-server's configuration lets in these alone.
 *
 * @param given `coordinator/<name>=U...` and `node/<id>=U...`, once each.
 */
export function natsPermissions(context: CommandContext, given: readonly string[]): void {
  const config = natsAuthorization(natsMembers(given));
  context.output.result({ config }, () => context.output.line(config.trimEnd()));
}

/**
 * Reads `coordinator/<name>=U...` and `node/<id>=U...`, behind those that are known.
 *
 * @throws CommandError One is neither, or two are of one name or key.
 */
export function natsMembers(given: readonly string[], ...known: NatsMember[]): NatsMember[] {
  const members = [...known, ...given.map(memberOf)];
  mustDiffer(members);
  return members;
}

function memberOf(text: string): NatsMember {
  const [, role, name = "", publicKey = ""] = MEMBER_PATTERN.exec(text) ?? [];
  if (!isName(name)) {
    const expected = "coordinator/NAME=U... or node/ID=U..., as `altrace nats user` says";
    throw new CommandError(`${text}: expected ${expected}`, 2);
  }
  return { role: role as NatsMember["role"], name, publicKey };
}

/** Two that share a key, or a name in one role, would be one member that may do what both may. */
function mustDiffer(members: readonly NatsMember[]): void {
  const seen = new Set<string>();
  for (const { role, name, publicKey } of members) {
    for (const mark of [`${role} ${name}`, publicKey]) {
      if (seen.has(mark)) throw new CommandError(`${mark} is given twice`, 2);
      seen.add(mark);
    }
  }
}
