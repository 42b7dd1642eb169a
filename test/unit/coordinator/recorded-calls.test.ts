import { expect, test } from "vitest";
import { Denials } from "../../../adapters/grpc-denials.ts";
import { RpcError } from "../../../adapters/grpc-error.ts";
import { encodeLeaf } from "../../../audit/leaf.ts";
import { CallRefused } from "../../../coordinator/call-refusal.ts";
import { type NotedCall, recordedCalls } from "../../../coordinator/operations/recorded-calls.ts";
import { twinClock } from "../../../ports/twin-clock.ts";
import { LEAST_ROLE, snakeCase } from "../../../proto/call-roles.ts";
import { CoordinatorService } from "../../../proto/gen/altrace/v1/coordinator_service_pb.ts";
import { NodeService } from "../../../proto/gen/altrace/v1/node_service_pb.ts";

const alice = { name: "alice", role: "operator", fingerprint: "ab".repeat(32) } as const;
const command = { scope: "team/pay", cmdId: "01998f3e-7c1a-7b2c-9d3e-5f60718293a4" };
const refusal = { code: "UNAVAILABLE", reason: "not_leader", message: "ask c2" } as const;

/** A service that answers every call with a command, and what is written of its calls. */
function world(fault?: string) {
  const noted: NotedCall[] = [];
  const answer = async () => ({ command });
  const service = Object.fromEntries(
    CoordinatorService.methods.map(({ localName }) => [localName, answer]),
  ) as Record<string, (request: object, call: object) => Promise<unknown>>;
  service.putPolicyPart = async () => ({});
  service.createEnrolmentToken = async ({ node }: { node?: string }) => {
    if (node === "") throw new CallRefused(refusal);
    return { token: "secret" };
  };
  const calls = recordedCalls(service, async (call) => {
    noted.push(call);
    // What no leaf could hold would be missing from the log.
    encodeLeaf({ v: 1, k: "call", t: 1, node: "c1", ...call });
    return fault;
  });
  return { noted, calls };
}

test("every call that changes something is a record, and none that looks", async () => {
  const { noted, calls } = world();
  for (const { localName } of CoordinatorService.methods) {
    const part = Buffer.from("a part");
    await calls[localName]?.({ scope: "team/pay", node: "edge-1", contract: "c", part }, {});
  }
  const methods = Object.entries(LEAST_ROLE).flatMap(([path, role]) => {
    const [service, method = ""] = path.split("/");
    return service === CoordinatorService.typeName ? [{ method, role }] : [];
  });
  // By its role or by its name: whoever adds a call says in one of them that it changes something.
  const changing = methods.filter(
    ({ method, role }) => /operator|admin/.test(role) || !/^(Get|List|Watch)/.test(method),
  );
  expect(noted.map(({ op }) => op).sort()).toEqual(
    changing.map(({ method }) => snakeCase(method)).sort(),
  );
  expect(noted.find(({ op }) => op === "put_policy_part")?.scope).toMatch(
    /^policy-part\/[0-9a-f]{64}$/,
  );
});

test("a node's door changes nothing, so it has nothing to write down", () => {
  const others = NodeService.methods.filter(({ name }) => !/^(Get|List|Watch|Explain)/.test(name));
  expect(others).toEqual([]);
});

test("a record says who did what to whom, and why", async () => {
  const { noted, calls } = world();
  await calls.kill?.(
    { scope: "team/pay", reason: 'a "drill"', operator: "bob" },
    { caller: alice },
  );
  await calls.kill?.({ scope: "team/pay", reason: "", operator: "bob\n" }, {});
  await calls.createEnrolmentToken?.({ node: "edge-1" }, {});
  expect(noted).toEqual([
    {
      op: "kill",
      rc: "ok",
      via: "tls",
      who: "alice",
      role: "operator",
      crt: alice.fingerprint,
      scope: "team/pay",
      cmd: command.cmdId,
      why: "a ?drill?",
    },
    { op: "kill", rc: "ok", via: "socket", who: "bob?", scope: "team/pay", cmd: command.cmdId },
    { op: "create_enrolment_token", rc: "ok", via: "socket", scope: "node/edge-1" },
  ]);
});

test("a refused call is a record with its reason", async () => {
  const { noted, calls } = world();
  await expect(calls.createEnrolmentToken?.({ node: "" }, {})).rejects.toThrow("ask c2");
  expect(noted).toMatchObject([{ op: "create_enrolment_token", rc: "not_leader" }]);
});

test("no token leaves without its record, and no kill waits for one", async () => {
  const { calls } = world("the disk is full");
  await expect(calls.createEnrolmentToken?.({ node: "edge-1" }, {})).rejects.toMatchObject({
    fields: { reason: "audit_unavailable" },
  });
  await expect(calls.kill?.({ scope: "team/pay" }, {})).resolves.toEqual({ command });
});

test("a scope of any length and letters is a record", async () => {
  const { noted, calls } = world();
  await calls.kill?.({ scope: "x\n".repeat(10_000), reason: "é".repeat(999) }, {});
  expect(noted).toHaveLength(1);
});

test("denied calls are told once, and then counted", () => {
  const clock = twinClock();
  const told: unknown[] = [];
  const denials = new Denials(clock, (denial) => told.push(denial));
  const why = new RpcError({ code: "PERMISSION_DENIED", reason: "role_too_low", message: "" });
  for (let no = 0; no < 5; no++) {
    denials.note(why, "/altrace.v1.CoordinatorService/ApplyPolicy", alice);
    denials.note(why, `/made.up/${"A".repeat(no)}`, undefined);
  }
  const { name: who, role, fingerprint: crt } = alice;
  const policy = { op: "apply_policy", rc: "role_too_low", via: "tls", who, role, crt };
  const unlisted = { op: "unlisted", rc: "role_too_low", via: "tls" };
  expect(told).toEqual([policy, unlisted]);
  clock.advance(1_000);
  expect(told.slice(2)).toEqual([
    { ...policy, n: 4 },
    { ...unlisted, n: 4 },
  ]);
  clock.advance(1_000);
  denials.note(why, "/altrace.v1.CoordinatorService/ApplyPolicy", alice);
  expect(told.slice(4)).toEqual([policy]);
});
