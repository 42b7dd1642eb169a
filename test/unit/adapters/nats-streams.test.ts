import { JetStreamApiError, type JetStreamManager, type StreamConfig } from "@nats-io/jetstream";
import { expect, test } from "vitest";
import type { NatsBus } from "../../../adapters/nats-bus.ts";
import { ensureStreams, StreamConfigFault, StreamsSilent } from "../../../adapters/nats-streams.ts";
import { CONTROL_STREAM, LEADER_STREAM } from "../../../proto/subjects.ts";

const NOT_FOUND = { code: 404, err_code: 10059, description: "stream not found" };

type Peer = { readonly name: string; readonly current: boolean; readonly offline?: boolean };

/** A server that keeps the streams it is told to make, and says of their copies what it is given. */
function servers() {
  const configs = new Map<string, StreamConfig>();
  const replicas = new Map<string, readonly Peer[]>();
  const silent = new Set<string>();
  const streams = {
    add: async (config: StreamConfig) => void configs.set(config.name, config),
    info: async (name: string) => {
      if (silent.has(name)) throw new Error(`${name} timed out`);
      const config = configs.get(name);
      if (!config) throw new JetStreamApiError(NOT_FOUND);
      return { config, cluster: { name: "alt", leader: "n1", replicas: replicas.get(name) } };
    },
  };
  const manager = () => ({ streams }) as unknown as JetStreamManager;
  return { configs, replicas, silent, bus: { manager } as NatsBus };
}

test("says whose copy of a stream is not current, and nothing of one that it has just made", async () => {
  const { configs, replicas, bus } = servers();
  expect((await ensureStreams(bus, { replicas: 3 })).size).toBe(0);
  expect(configs.size).toBe(5);
  expect((await ensureStreams(bus, { replicas: 3 })).size).toBe(0);
  replicas.set(CONTROL_STREAM, [
    { name: "n2", current: true },
    { name: "n3", current: false },
  ]);
  replicas.set(LEADER_STREAM, [
    { name: "n2", current: true, offline: true },
    { name: "n3", current: true, offline: false },
  ]);
  const behind = await ensureStreams(bus, { replicas: 3 });
  expect(behind).toEqual(
    new Map([
      [CONTROL_STREAM, ["n3"]],
      [LEADER_STREAM, ["n2"]],
    ]),
  );
});

test("one that nobody speaks for is told with its reason, and all others are looked at and made", async () => {
  const { configs, replicas, silent, bus } = servers();
  silent.add(CONTROL_STREAM);
  const first = await ensureStreams(bus, { replicas: 3 }).catch((error: unknown) => error);
  expect(first).toBeInstanceOf(StreamsSilent);
  expect((first as StreamsSilent).silent).toEqual(
    new Map([[CONTROL_STREAM, `${CONTROL_STREAM} timed out`]]),
  );
  expect(configs.size).toBe(4);
  expect(configs.has(CONTROL_STREAM)).toBe(false);
  replicas.set(LEADER_STREAM, [{ name: "n2", current: false }]);
  const second = await ensureStreams(bus, { replicas: 3 }).catch((error: unknown) => error);
  expect((second as StreamsSilent).behind).toEqual(new Map([[LEADER_STREAM, ["n2"]]]));
  // Once it speaks again it is as any other.
  silent.clear();
  expect((await ensureStreams(bus, { replicas: 3 })).size).toBe(1);
  expect(configs.size).toBe(5);
});

test("a stream that is configured otherwise is a fault, whoever else is silent", async () => {
  const { configs, silent, bus } = servers();
  await ensureStreams(bus, { replicas: 3 });
  configs.set(LEADER_STREAM, { ...configs.get(LEADER_STREAM), max_bytes: 1 } as StreamConfig);
  silent.add(CONTROL_STREAM);
  await expect(ensureStreams(bus, { replicas: 3 })).rejects.toThrow(StreamConfigFault);
});
