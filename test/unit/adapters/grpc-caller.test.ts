import { describe, expect, test } from "vitest";
import { callerOf, callObjection, fingerprintOf } from "../../../adapters/grpc-caller.ts";
import { RevokedCertificates } from "../../../adapters/grpc-revoked.ts";
import { CALL_ROLES, type CallRole, callerUri, LEAST_ROLE } from "../../../proto/call-roles.ts";
import { CoordinatorService } from "../../../proto/gen/altrace/v1/coordinator_service_pb.ts";
import { NodeService } from "../../../proto/gen/altrace/v1/node_service_pb.ts";

const nowMs = Date.UTC(2026, 10, 29);
const valid_to = "Nov 30 00:00:00 2026 GMT";
const fingerprint256 = `${"AB:".repeat(31)}CD`;
const uri = (role: (typeof CALL_ROLES)[number]) => `URI:${callerUri("demo", role, "alice")}`;

describe("the table of calls", () => {
  test("names every method of our services, and none that there is not", () => {
    const methods = [CoordinatorService, NodeService].flatMap((service) =>
      service.methods.map(({ name }) => `${service.typeName}/${name}`),
    );
    const named = Object.keys(LEAST_ROLE).filter((method) => method.startsWith("altrace."));
    expect(named.toSorted()).toEqual(methods.toSorted());
  });

  test.each(["Kill", "Revive", "RevokeContract", "RevokeCertificate"])(
    "lets nobody below operator %s",
    (method) => {
      expect(LEAST_ROLE[`altrace.v1.CoordinatorService/${method}`]).toBe("operator");
    },
  );

  test.each([
    "ApplyPolicy",
    "PutPolicyPart",
    "SetLimit",
    "PutKey",
    "IssueContract",
    "Delegate",
    "CreateEnrolmentToken",
  ])("lets nobody below admin %s", (method) => {
    expect(LEAST_ROLE[`altrace.v1.CoordinatorService/${method}`]).toBe("admin");
  });
});

describe("a caller", () => {
  test.each(CALL_ROLES)("C1: is the one URI of its certificate: %s", (role) => {
    const subjectaltname = `DNS:alice.example.com, ${uri(role)}`;
    expect(callerOf({ subjectaltname }, "demo")).toEqual({ role, name: "alice" });
    expect(callerOf({ subjectaltname }, "other")).toBeUndefined();
  });

  test.each([
    ["nothing", undefined],
    ["no URI", "DNS:alice.example.com"],
    ["two URIs", `${uri("admin")}, ${uri("viewer")}`],
    ["a URI beside ours", `${uri("admin")}, URI:https://example.com/`],
    ["an unknown role", "URI:spiffe://demo/role/root/alice"],
    ["a role that every object has", "URI:spiffe://demo/role/constructor/alice"],
    ["more behind the name", "URI:spiffe://demo/role/admin/alice/x"],
    ["another case", "URI:spiffe://demo/role/Admin/alice"],
    ["a name that is none", "URI:spiffe://demo/role/admin/Alice"],
    ["an agent's URI", "URI:spiffe://demo/agent/research/worker"],
    // As Node writes a value that holds what would look like another name.
    ["a URI inside another name", `DNS:"a, ${uri("admin")}"`],
    ["a URI in the middle of another name", `DNS:"a, ${uri("admin")}, b"`],
  ])("C1: is nobody with %s", (_what, subjectaltname) => {
    expect(callerOf({ subjectaltname }, "demo")).toBeUndefined();
  });
});

describe("a call", () => {
  const path = "/altrace.v1.CoordinatorService/Kill";
  const reasonOf = (of: Partial<Parameters<typeof callObjection>[0]>) =>
    callObjection({
      path,
      mesh: "demo",
      certificate: { subjectaltname: uri("operator"), valid_to, fingerprint256 },
      nowMs,
      ...of,
    })?.reason;

  test("is made by whoever has its role or one above", () => {
    expect(reasonOf({})).toBeUndefined();
    const admin = { subjectaltname: uri("admin"), valid_to, fingerprint256 };
    expect(reasonOf({ certificate: admin })).toBeUndefined();
    const auditor = { subjectaltname: uri("auditor"), valid_to, fingerprint256 };
    expect(reasonOf({ certificate: auditor })).toBe("role_too_low");
  });

  // Written out once more: whoever moves a call to another role moves it here too.
  const REFUSED_TO: Readonly<Record<CallRole, RegExp>> = {
    viewer:
      /^(Kill|Revive|ListStaleRecords|ApplyPolicy|PutPolicyPart|SetLimit|PutKey|RedactPerson|ListLogs|GetLedger|IssueContract|Delegate|Revoke\w+|ListContracts|CreateEnrolmentToken|WatchDecisions|Explain|ListStrangers)$/,
    auditor:
      /^(Kill|Revive|ApplyPolicy|PutPolicyPart|SetLimit|PutKey|RedactPerson|IssueContract|Delegate|Revoke\w+|CreateEnrolmentToken)$/,
    operator:
      /^(ApplyPolicy|PutPolicyPart|SetLimit|PutKey|RedactPerson|IssueContract|Delegate|CreateEnrolmentToken)$/,
    admin: /^$/,
  };
  const METHODS = Object.keys(LEAST_ROLE);

  test.each(CALL_ROLES.flatMap((role) => METHODS.map((method) => [role, method] as const)))(
    "C2: by the role %s: %s",
    (role, method) => {
      const certificate = { subjectaltname: uri(role), valid_to, fingerprint256 };
      const isRefused = REFUSED_TO[role].test(method.split("/")[1] ?? "");
      expect(reasonOf({ path: `/${method}`, certificate })).toBe(
        isRefused ? "role_too_low" : undefined,
      );
    },
  );

  test.each(["/altrace.v1.CoordinatorService/Nothing", "/toString", "/", path.slice(1)])(
    "C2: that the table does not name is nobody's: %s",
    (unlisted) => expect(reasonOf({ path: unlisted })).toBe("method_unlisted"),
  );

  test("C4: is refused once its certificate was revoked, whatever its role", () => {
    const revoked = new RevokedCertificates();
    expect(reasonOf({ revoked })).toBeUndefined();
    revoked.add(fingerprintOf({ fingerprint256 }));
    expect(reasonOf({ revoked })).toBe("certificate_revoked");
  });

  test("C3: is refused once its certificate has ended, though the connection has not", () => {
    expect(reasonOf({ nowMs: nowMs + 2 * 86_400_000 })).toBe("certificate_expired");
    expect(reasonOf({ certificate: undefined })).toBe("certificate_expired");
    const undated = { subjectaltname: uri("admin"), valid_to: "", fingerprint256 };
    expect(reasonOf({ certificate: undated })).toBe("certificate_expired");
  });
});
