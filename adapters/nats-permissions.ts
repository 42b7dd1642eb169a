import {
  ACK_PATTERN,
  ackSubject,
  CALL_PATTERN,
  COMMITTED_PATTERN,
  COMMITTED_TO_NODES,
  callSubject,
  DIGEST_SUBJECT,
  FAST_PATTERN,
  HEAL_PATTERN,
  HEARTBEAT_PATTERN,
  healSubject,
  heartbeatSubject,
  OWN_LOG_PATTERN,
  ownLogSubject,
  PART_PREFIX,
  PART_STREAM,
  REQUEST_PATTERN,
  REVIVE_PATTERN,
  requestsOf,
} from "../proto/subjects.ts";
import { STREAMS } from "./bus-subject.ts";

/** Whom the server is to let in, and as what. */
export type NatsMember = {
  readonly role: "coordinator" | "node";
  /** The node's id, or the coordinator's name among the replicas. */
  readonly name: string;
  /** Public nkey, `U...`. */
  readonly publicKey: string;
};

/** What one user may say and hear. Everything else is refused. */
export type NatsPermissions = {
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
  /** Whether it may answer what it was asked on a subject of its own, wherever the answer is to go. */
  readonly answers: boolean;
};

/** How long after a question its answer is let through: longer than anybody waits for one. */
const ANSWER_WITHIN_S = 10;

/** Where a member's answers come back: nobody else may listen there. */
export function inboxPrefix(member: Pick<NatsMember, "role" | "name">): string {
  return `${member.role === "node" ? "_INBOX" : "_INBOX_COORDINATOR"}.${member.name}`;
}

/**
 * The least that a member needs.
 *
 * A node speaks under its own name alone and writes to no stream. A coordinator writes to streams and
 * deletes, purges and reconfigures none. Nobody publishes committed copies: only the server makes them.
 */
export function permissionsOf(member: Pick<NatsMember, "role" | "name">): NatsPermissions {
  const inbox = `${inboxPrefix(member)}.>`;
  if (member.role === "node") {
    const { name } = member;
    const own = [ackSubject(name), heartbeatSubject(name), healSubject(name), requestsOf(name)];
    const read = STREAMS.filter(({ republished }) => republished).flatMap(({ name: stream }) => [
      `$JS.API.DIRECT.GET.${stream}`,
      `$JS.API.DIRECT.GET.${stream}.>`,
      `$JS.API.STREAM.MSG.GET.${stream}`,
    ]);
    // One part at a time, by its hash: from any server's copy, or from the leader where that one lags.
    read.push(`$JS.API.DIRECT.GET.${PART_STREAM}.${PART_PREFIX}*`);
    read.push(`$JS.API.STREAM.MSG.GET.${PART_STREAM}`);
    return {
      publish: [...own, ...read],
      subscribe: [
        ...COMMITTED_TO_NODES,
        FAST_PATTERN,
        REVIVE_PATTERN,
        DIGEST_SUBJECT,
        callSubject(name),
        inbox,
      ],
      answers: true,
    };
  }
  const streams = STREAMS.flatMap(({ name, prefix }) => [
    `${prefix}>`,
    `$JS.API.STREAM.CREATE.${name}`,
    `$JS.API.STREAM.INFO.${name}`,
    `$JS.API.STREAM.MSG.GET.${name}`,
    `$JS.API.DIRECT.GET.${name}`,
    `$JS.API.DIRECT.GET.${name}.>`,
  ]);
  return {
    // Answers go to the inboxes of nodes.
    publish: [
      FAST_PATTERN,
      REVIVE_PATTERN,
      DIGEST_SUBJECT,
      CALL_PATTERN,
      ownLogSubject(member.name),
      "_INBOX.>",
      ...streams,
    ],
    subscribe: [
      COMMITTED_PATTERN,
      FAST_PATTERN,
      DIGEST_SUBJECT,
      ACK_PATTERN,
      HEARTBEAT_PATTERN,
      HEAL_PATTERN,
      REQUEST_PATTERN,
      OWN_LOG_PATTERN,
      inbox,
    ],
    answers: false,
  };
}

/** The `authorization` block of a nats-server's configuration that lets in these and nobody else. */
export function natsAuthorization(members: readonly NatsMember[]): string {
  const users = members.map((member) => {
    const { publish, subscribe, answers } = permissionsOf(member);
    return [
      `    # ${member.role} ${member.name}`,
      `    { nkey: ${member.publicKey}, permissions: {`,
      `      publish: { allow: ${list(publish)} }`,
      `      subscribe: { allow: ${list(subscribe)} }`,
      ...(answers ? [`      allow_responses: { max: 1, expires: "${ANSWER_WITHIN_S}s" }`] : []),
      "    } }",
    ].join("\n");
  });
  return ["authorization {", "  users = [", ...users, "  ]", "}", ""].join("\n");
}

function list(subjects: readonly string[]): string {
  return `[${subjects.map((subject) => JSON.stringify(subject)).join(", ")}]`;
}
