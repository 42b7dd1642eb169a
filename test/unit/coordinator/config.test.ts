import { describe, expect, test } from "vitest";
import { readCoordinatorConfig } from "../../../coordinator/config.ts";

const read = (
  env: Record<string, string> = {},
  flags: Record<string, string> = {},
): ReturnType<typeof readCoordinatorConfig> =>
  readCoordinatorConfig(env, flags, { home: "/home/of/mesh" });

describe("a coordinator's settings", () => {
  test("have defaults for everything but what only the operator knows", () => {
    const result = read();
    if (!("config" in result)) throw new Error(result.errors.join());
    expect(result.config).toMatchObject({
      home: "/home/of/mesh",
      replicaId: "c1",
      natsUrl: undefined,
      natsReplicas: 1,
      metricsPort: 4093,
      grpcTls: undefined,
      digestMs: 1_000,
      deadManMs: 12_000,
      autoKillsPerMinute: 10,
    });
    expect(Object.isFrozen(result.config)).toBe(true);
  });

  test("are read from the environment, and flags win", () => {
    const result = read(
      { ALTRACE_HOME: "/srv/a", ALTRACE_NATS_REPLICAS: "3", ALTRACE_PORT_BASE: "5000" },
      { home: "/srv/b" },
    );
    if (!("config" in result)) throw new Error(result.errors.join());
    expect(result.config).toMatchObject({ home: "/srv/b", natsReplicas: 3, metricsPort: 5093 });
  });

  test("are all looked at before any error is told", () => {
    const result = read({
      ALTRACE_REPLICA_ID: "Not A Name",
      ALTRACE_NATS_REPLICAS: "2",
      ALTRACE_DEAD_MAN_MS: "soon",
    });
    expect("errors" in result && result.errors).toEqual([
      expect.stringContaining("ALTRACE_REPLICA_ID"),
      expect.stringContaining("ALTRACE_NATS_REPLICAS"),
      expect.stringContaining("ALTRACE_DEAD_MAN_MS"),
    ]);
  });

  test("turn on gRPC over TLS by three files, all or none", () => {
    const files = {
      ALTRACE_GRPC_CERT: "/c.pem",
      ALTRACE_GRPC_KEY: "/k.pem",
      ALTRACE_GRPC_CLIENT_CA: "/ca.pem",
    };
    const all = read(files);
    expect("config" in all && all.config.grpcTls).toEqual({
      host: "127.0.0.1",
      port: 4092,
      certificateFile: "/c.pem",
      keyFile: "/k.pem",
      clientCaFile: "/ca.pem",
    });
    const { ALTRACE_GRPC_KEY: _key, ...some } = files;
    expect(read(some)).toEqual({ errors: [expect.stringContaining("all or none")] });
  });

  test("refuse a smallest slice above the largest", () => {
    const result = read({
      ALTRACE_LEASE_USD_MICROS_MIN: "500",
      ALTRACE_LEASE_USD_MICROS_MAX: "400",
    });
    expect("errors" in result && result.errors).toHaveLength(1);
  });

  test("remember requests for twice the longest lease, where there is room", () => {
    const result = read({ ALTRACE_LEASE_TTL_MS: "3600000" });
    if (!("config" in result)) throw new Error(result.errors.join());
    expect(result.config.ledger.memoMs).toEqual({ max: 7_200_000, min: 60_000 });
  });
});
