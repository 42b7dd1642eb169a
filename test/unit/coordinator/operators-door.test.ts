import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { getChannelzHandlers } from "@grpc/grpc-js";
import { expect, test, vi } from "vitest";
import { createGrpcClient } from "../../../adapters/grpc-client.ts";
import { RevokedCertificates } from "../../../adapters/grpc-revoked.ts";
import { type Handlers, served } from "../../../adapters/grpc-server.ts";
import { OperatorsDoor } from "../../../coordinator/operators-door.ts";
import { CoordinatorService } from "../../../proto/gen/altrace/v1/coordinator_service_pb.ts";
import { runHere } from "../../support/run-here.ts";
import { tempDir } from "../../support/temp-dir.ts";

const answering = {
  listKills: async () => ({ kills: [{ scope: "team/research", operator: "alice" }] }),
} as unknown as Handlers<typeof CoordinatorService>;

/** A coordinator's HOME without a certificate, and the door of it. */
function founded() {
  const home = tempDir();
  const at = (name: string) => join(home.path, name);
  const trust = { mesh: "demo", operator_public_key: "00".repeat(32) };
  writeFileSync(at("trust.json"), JSON.stringify(trust));
  mkdirSync(at("tls"));
  const told: string[] = [];
  const revoked = new RevokedCertificates();
  let port: unknown;
  const door = new OperatorsDoor({
    socketPath: at("coordinator.sock"),
    tls: {
      ...{ host: "127.0.0.1", port: 0, certificateFile: at("tls/cert.pem") },
      ...{ keyFile: at("tls/key.pem"), clientCaFile: at("tls/ca.pem") },
    },
    mesh: "demo",
    serve: {
      services: [served(CoordinatorService, answering)],
      ...{ requestBytesMax: 65_536, streamsMax: 16, connectionsMax: 8, revoked },
      onBug: (error) => {
        throw error;
      },
    },
    tell: (event, fields) => {
      told.push(event);
      port = fields?.port ?? port;
    },
  });
  const cli = (...words: string[]) => runHere("--home", home.path, ...words);
  const kills = async () => {
    const identity = ["--coordinator", `tls://127.0.0.1:${port}`, "--identity", at("alice")];
    return (await cli(...identity, "kills")).stdout;
  };
  return { home, at, told, door, revoked, cli, kills };
}

test("a door without a certificate waits for one, and is open to whoever has HOME meanwhile", async () => {
  const { home, at, told, door, cli, kills } = founded();
  using _ = home;
  await door.start();
  try {
    expect(told).toEqual(["grpc_tls_waits"]);
    const path = at("coordinator.sock");
    const client = createGrpcClient(CoordinatorService, { kind: "unix", path });
    expect((await client.calls.listKills({})).kills).toHaveLength(1);
    client.close();
    // A part of it is none.
    writeFileSync(at("tls/cert.pem"), "no certificate");
    await door.look();
    expect(told).toHaveLength(1);
    for (const name of ["key.pem", "ca.pem"]) writeFileSync(at(`tls/${name}`), "nor this");
    await door.look();
    await door.look();
    expect(told).toEqual(["grpc_tls_waits", "grpc_tls_failed"]);
    const made = await cli("certificate", "server", "127.0.0.1", "--out", at("made"));
    expect(made).toMatchObject({ code: 0, stderr: "" });
    await cli("certificate", "issue", "alice", "--role", "viewer", "--out", at("alice"));
    for (const name of ["cert.pem", "key.pem", "ca.pem"])
      cpSync(at(`made/${name}`), at(`tls/${name}`));
    await door.look();
    await door.look();
    expect(told).toEqual(["grpc_tls_waits", "grpc_tls_failed", "grpc_tls_opened"]);
    expect(await kills()).toContain("team/research");
  } finally {
    await door.close(0);
  }
});

test("a try that fails leaves nothing behind", async () => {
  const { home, at, door, revoked } = founded();
  using _ = home;
  await door.start();
  const heard = vi.spyOn(revoked, "onAdded");
  const before = await serverCount();
  for (const name of ["cert.pem", "key.pem", "ca.pem"]) writeFileSync(at(`tls/${name}`), "none");
  for (let i = 0; i < 3; i += 1) await door.look();
  expect(await serverCount()).toBe(before);
  expect(heard).not.toHaveBeenCalled();
  await door.close(0);
});

test("files that are there and are wrong, or not all of them, are an error at the start", async () => {
  const { home, at, door } = founded();
  using _ = home;
  writeFileSync(at("tls/cert.pem"), "no certificate");
  await expect(door.start()).rejects.toThrow("key.pem");
  for (const name of ["key.pem", "ca.pem"]) writeFileSync(at(`tls/${name}`), "nor this");
  await expect(door.start()).rejects.toThrow();
  await door.close(0);
});

/** Servers of this process that grpc-js knows of. */
function serverCount(): Promise<number> {
  const ask = getChannelzHandlers().GetServers as unknown as (
    call: object,
    answer: (error: unknown, all: { readonly server: readonly unknown[] }) => void,
  ) => void;
  return new Promise((resolve) => {
    const request = { start_server_id: "0", max_results: "1000" };
    ask({ request }, (_, { server }) => resolve(server.length));
  });
}
