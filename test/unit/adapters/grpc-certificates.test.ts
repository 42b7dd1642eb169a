import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createGrpcClient } from "../../../adapters/grpc-client.ts";
import { RpcError } from "../../../adapters/grpc-error.ts";
import {
  type GrpcServer,
  type Handlers,
  served,
  serveGrpc,
} from "../../../adapters/grpc-server.ts";
import { grpcTlsListen } from "../../../adapters/grpc-tls-settings.ts";
import { type Authority, createRoot, issueCertificate } from "../../../adapters/x509-authority.ts";
import { callerUri } from "../../../proto/call-roles.ts";
import { CoordinatorService } from "../../../proto/gen/altrace/v1/coordinator_service_pb.ts";
import { tempDir } from "../../support/temp-dir.ts";

const nowMs = Date.now();
const validMs = 3_600_000;
const answering = {
  kill: async () => {
    heard += 1;
    return { command: { accepted: true } };
  },
} as unknown as Handlers<typeof CoordinatorService>;

let home: ReturnType<typeof tempDir>;
let server: GrpcServer;
let told: (string | undefined)[];
let heard: number;
let closings: (() => void)[];

/** An authority, a server's certificate of it, and an operator's. */
async function issued() {
  const root = await createRoot({ name: "root", nowMs, validMs });
  const of = { root, nowMs, notAfterMs: nowMs + validMs };
  const names = [{ type: "ip", value: "127.0.0.1" }] as const;
  const door = await issueCertificate({ ...of, subject: { name: "door", names, use: "server" } });
  const uri = [{ type: "url", value: callerUri("demo", "operator", "alice") }] as const;
  const subject = { name: "alice", names: uri, use: "client" } as const;
  return { root, door, alice: await issueCertificate({ ...of, subject }) };
}

const at = (name: string): string => join(home.path, name);

function write({ root, door }: { readonly root: Authority; readonly door: Authority }): void {
  writeFileSync(at("key.pem"), door.privateKey);
  writeFileSync(at("cert.pem"), door.certificate);
  writeFileSync(at("ca.pem"), root.certificate);
}

function client({ root, alice }: { readonly root: Authority; readonly alice: Authority }) {
  const { calls, close } = createGrpcClient(CoordinatorService, {
    ...{ kind: "tls", host: "127.0.0.1", port: server.ports[0] as number },
    ...{ serverCaPem: root.certificate, certificatePem: alice.certificate },
    keyPem: alice.privateKey,
  });
  closings.push(close);
  const kill = async (): Promise<boolean | string> => {
    try {
      return (await calls.kill({}, { timeoutMs: 2_000 })).command?.accepted ?? false;
    } catch (error) {
      if (error instanceof RpcError) return error.code;
      throw error;
    }
  };
  return { kill };
}

beforeEach(async () => {
  home = tempDir();
  told = [];
  heard = 0;
  closings = [];
});

afterEach(async () => {
  for (const close of closings) close();
  await server.close(0);
  home[Symbol.dispose]();
});

async function serve(): Promise<void> {
  const files = { certificateFile: at("cert.pem"), keyFile: at("key.pem") };
  const config = { host: "127.0.0.1", port: 0, ...files, clientCaFile: at("ca.pem") };
  server = await serveGrpc({
    services: [served(CoordinatorService, answering)],
    listen: grpcTlsListen(config, "demo"),
    ...{ requestBytesMax: 65_536, streamsMax: 16, connectionsMax: 8 },
    onRenewed: (error) => told.push(error === undefined ? undefined : String(error)),
    onBug: (error) => {
      throw error;
    },
  });
}

test("a renewed certificate counts from the next connection on, and those before keep theirs", async () => {
  const [old, other] = await Promise.all([issued(), issued()]);
  const { root } = old;
  write(old);
  await serve();
  const before = client(old);
  expect(await before.kill()).toBe(true);
  // By another authority's certificate it can be told who was greeted with which.
  write({ root, door: other.door });
  expect(await client(old).kill()).not.toBe(true);
  expect(await client({ root: other.root, alice: old.alice }).kill()).toBe(true);
  expect(await before.kill()).toBe(true);
  expect(told).toEqual([undefined]);
});

test("whom a replaced authority let in is let in no more, nor heard", async () => {
  const [old, renewed] = await Promise.all([issued(), issued()]);
  write(old);
  await serve();
  const [calling, waiting] = [client(old), client(old)];
  expect([await calling.kill(), await waiting.kill()]).toEqual([true, true]);
  write(renewed);
  // On the connection that it stands on, though nobody else has connected since, and at once.
  expect(await Promise.all([calling.kill(), calling.kill()])).not.toContain(true);
  expect(told).toEqual([undefined]);
  expect(await waiting.kill()).not.toBe(true);
  expect(heard).toBe(2);
  expect(await client(renewed).kill()).toBe(true);
});

test("renewed files count from the next connection on", async () => {
  const [old, renewed] = await Promise.all([issued(), issued()]);
  write(old);
  await serve();
  expect(await client(old).kill()).toBe(true);
  expect(told).toEqual([]);
  write(renewed);
  expect(await client(renewed).kill()).toBe(true);
  expect(told).toEqual([undefined]);
  // Whom the authority before had signed for is nobody now, and finds another server.
  expect(await client(old).kill()).not.toBe(true);
  expect(await client({ root: renewed.root, alice: old.alice }).kill()).not.toBe(true);
  expect(told).toEqual([undefined]);
});

test.each([
  ["whose key is of another", (other: Authority) => writeFileSync(at("key.pem"), other.privateKey)],
  ["that are none", () => writeFileSync(at("cert.pem"), "no certificate")],
  ["of which one is empty", () => writeFileSync(at("cert.pem"), "")],
  ["whose key is empty", () => writeFileSync(at("key.pem"), "")],
  // Node would take all authorities that this machine trusts.
  ["whose authority is empty", () => writeFileSync(at("ca.pem"), "")],
  ["whose authority is none", () => writeFileSync(at("ca.pem"), "no certificate")],
  ["of which one is gone", () => rmSync(at("ca.pem"))],
])("files %s change nothing, and are told once", async (_what, spoil) => {
  const [old, renewed] = await Promise.all([issued(), issued()]);
  write(old);
  await serve();
  spoil(renewed.door);
  expect(await client(old).kill()).toBe(true);
  expect(await client(old).kill()).toBe(true);
  expect(told).toEqual([expect.stringContaining("rror")]);
  write(renewed);
  expect(await client(renewed).kill()).toBe(true);
  expect(told).toHaveLength(2);
});

test.each(["", "no certificate"])("a door with %j for an authority is not opened", async (ca) => {
  const { root, door } = await issued();
  write({ root, door });
  await serve();
  await server.close(0);
  writeFileSync(at("ca.pem"), ca);
  await expect(serve()).rejects.toThrow(/PEM/);
});
