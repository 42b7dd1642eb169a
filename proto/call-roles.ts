/**
 * Who may make which call over the network: one table of all methods, by the role in the caller's
 * certificate. What is not in it is refused to everybody.
 *
 * A role opens a door and nothing else: what widens authority must carry an operator's signature as
 * well, which nodes check.
 */

/**
 * Each may do what those before it may.
 *
 * - `viewer` sees what is: agents, nodes, kills, standing.
 * - `auditor` sees what was as well: decisions, records, money, and which logs must exist.
 * - `operator` takes away: kills, revokes, and undoes a kill of its own kind.
 * - `admin` gives: policy, limits, keys, nodes, contracts.
 */
export const CALL_ROLES = ["viewer", "auditor", "operator", "admin"] as const;
export type CallRole = (typeof CALL_ROLES)[number];

/** The least role of each method, by `<service>/<method>`. */
export const LEAST_ROLE: Readonly<Record<string, CallRole>> = {
  "altrace.v1.CoordinatorService/Kill": "operator",
  "altrace.v1.CoordinatorService/Revive": "operator",
  "altrace.v1.CoordinatorService/ListKills": "viewer",
  "altrace.v1.CoordinatorService/ListStaleRecords": "auditor",
  "altrace.v1.CoordinatorService/WatchCommand": "viewer",
  "altrace.v1.CoordinatorService/ApplyPolicy": "admin",
  "altrace.v1.CoordinatorService/PutPolicyPart": "admin",
  "altrace.v1.CoordinatorService/SetLimit": "admin",
  "altrace.v1.CoordinatorService/PutKey": "admin",
  "altrace.v1.CoordinatorService/RedactPerson": "admin",
  "altrace.v1.CoordinatorService/GetScope": "viewer",
  "altrace.v1.CoordinatorService/ListNodes": "viewer",
  "altrace.v1.CoordinatorService/ListStreams": "viewer",
  "altrace.v1.CoordinatorService/GetAgent": "viewer",
  "altrace.v1.CoordinatorService/ListAgents": "viewer",
  "altrace.v1.CoordinatorService/ListLogs": "auditor",
  "altrace.v1.CoordinatorService/GetLedger": "auditor",
  "altrace.v1.CoordinatorService/IssueContract": "admin",
  "altrace.v1.CoordinatorService/Delegate": "admin",
  "altrace.v1.CoordinatorService/RevokeContract": "operator",
  "altrace.v1.CoordinatorService/RevokeCertificate": "operator",
  "altrace.v1.CoordinatorService/ListContracts": "auditor",
  "altrace.v1.CoordinatorService/CreateEnrolmentToken": "admin",
  "altrace.v1.NodeService/ListAgents": "viewer",
  "altrace.v1.NodeService/GetAgent": "viewer",
  "altrace.v1.NodeService/WatchAgents": "viewer",
  "altrace.v1.NodeService/WatchDecisions": "auditor",
  "altrace.v1.NodeService/Explain": "auditor",
  "altrace.v1.NodeService/ListHolds": "viewer",
  "altrace.v1.NodeService/ListConnections": "viewer",
  "altrace.v1.NodeService/GetStanding": "viewer",
  "altrace.v1.NodeService/ListStrangers": "auditor",
  "altrace.v1.NodeService/GetNode": "viewer",
  "grpc.health.v1.Health/Check": "viewer",
  "grpc.health.v1.Health/List": "viewer",
  "grpc.health.v1.Health/Watch": "viewer",
  "grpc.reflection.v1.ServerReflection/ServerReflectionInfo": "viewer",
  "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": "viewer",
};

/** Whether a role includes another. */
export function reaches(role: CallRole, least: CallRole): boolean {
  return CALL_ROLES.indexOf(role) >= CALL_ROLES.indexOf(least);
}

/** How a caller stands in its certificate, as the one URI of its subject alternative names. */
export function callerUri(mesh: string, role: CallRole, name: string): string {
  return `spiffe://${mesh}/role/${role}/${name}`;
}

/** A method's name as records have it: `create_enrolment_token` of `CreateEnrolmentToken`. */
export function snakeCase(method: string): string {
  return method.replace(/(?<!^)[A-Z]/g, "_$&").toLowerCase();
}
