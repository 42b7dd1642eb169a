import { statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type GrpcServer,
  type Handlers,
  served,
  serveGrpc,
} from "../../../adapters/grpc-server.ts";
import { grpcTlsListen } from "../../../adapters/grpc-tls-settings.ts";
import { CoordinatorService } from "../../../proto/gen/altrace/v1/coordinator_service_pb.ts";
import { runHere } from "../../support/run-here.ts";
import { tempDir } from "../../support/temp-dir.ts";

const home = tempDir();
let server: GrpcServer;
let coordinator: string;

const at = (name: string) => join(home.path, name);
const cli = (...words: string[]) => runHere("--home", home.path, ...words);
const issue = (name: string, ...words: string[]) =>
  cli("certificate", "issue", name, "--out", at(name), ...words);

beforeAll(async () => {
  const trust = { mesh: "demo", operator_public_key: "00".repeat(32) };
  writeFileSync(at("trust.json"), JSON.stringify(trust));
  const made = await cli("certificate", "server", "127.0.0.1", "::1", "--out", at("server"));
  expect(made).toMatchObject({ code: 0, stderr: "" });
  const files = {
    certificateFile: at("server/cert.pem"),
    keyFile: at("server/key.pem"),
    clientCaFile: at("server/ca.pem"),
  };
  server = await serveGrpc({
    services: [served(CoordinatorService, answering)],
    listen: grpcTlsListen({ host: "127.0.0.1", port: 0, ...files }, "demo"),
    requestBytesMax: 65_536,
    streamsMax: 16,
    connectionsMax: 8,
    onBug: (error) => {
      throw error;
    },
  });
  coordinator = `tls://127.0.0.1:${server.ports[0]}`;
});
afterAll(async () => {
  await server?.close(0);
  home[Symbol.dispose]();
});

const answering = {
  listKills: async () => ({ kills: [{ scope: "team/research", operator: "alice" }] }),
  kill: async () => ({ command: { scope: "team/research", accepted: true } }),
} as unknown as Handlers<typeof CoordinatorService>;

describe("certificates of a coordinator's HOME", () => {
  test("open its door over TLS to the CLI, as far as their role goes", async () => {
    expect((await issue("alice", "--role", "viewer")).code).toBe(0);
    const as = (name: string) => ["--coordinator", coordinator, "--identity", at(name)] as const;
    const seen = await cli(...as("alice"), "kills");
    expect(seen).toMatchObject({ code: 0, stdout: expect.stringContaining("team/research") });
    const refused = await cli(...as("alice"), "kill", "team/research");
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain("alice is viewer; this call needs operator");
    expect((await issue("bob", "--role", "operator")).code).toBe(0);
    expect((await cli(...as("bob"), "kill", "team/research")).code).toBe(0);
  });

  test("have keys that nobody else can read, and that are never written over", async () => {
    expect(statSync(at("server/key.pem")).mode & 0o777).toBe(0o600);
    expect(statSync(at("grpc-root.key")).mode & 0o777).toBe(0o600);
    expect((await issue("server", "--role", "admin")).stderr).toContain("exists");
  });

  test.each([
    [["certificate", "issue", "carol", "--role", "root"], "--role"],
    [["certificate", "issue", "Not/A/Name", "--role", "admin"], "expected a name"],
    [["certificate", "issue", "carol", "--role", "admin", "--days", "0"], "--days"],
    [["certificate", "server", "not a host"], "expected a host"],
  ])("are refused for %j", async (words, why) => {
    const { code, stderr } = await cli(...words, "--out", at("none"));
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining(why) });
  });

  test.each([
    [["--coordinator", "tcp://127.0.0.1:1"], "expected unix:<path> or tls://"],
    [["--coordinator", "tls://127.0.0.1"], "expected unix:<path> or tls://"],
    [["--coordinator", "tls://127.0.0.1:4092"], "needs --identity"],
    [["--coordinator", "tls://127.0.0.1:4092", "--identity", "/nowhere"], "/nowhere"],
  ])("are needed and looked at before anything is asked: %j", async (words, why) => {
    const { code, stderr } = await cli(...words, "kills");
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining(why) });
  });
});
