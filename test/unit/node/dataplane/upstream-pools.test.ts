import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { createNameResolver } from "../../../../adapters/name-resolution.ts";
import { systemClock } from "../../../../adapters/system-clock.ts";
import {
  createUpstreamPools,
  type UpstreamPools,
} from "../../../../node/dataplane/upstream-pools.ts";
import { comesTrue } from "../../../support/comes-true.ts";
import { askOrigin } from "./ask-origin.ts";
import { type FakeProvider, startFakeProvider } from "./fake-provider.ts";
import { selfSigned } from "./self-signed.ts";

const OURS = selfSigned("localhost");

let provider: FakeProvider;
let pools: UpstreamPools | undefined;

async function get(origin: string, authorities?: readonly string[]): Promise<string> {
  const resolver = createNameResolver({ clock: systemClock });
  pools = createUpstreamPools({
    resolver,
    clock: systemClock,
    ...(authorities && { authorities }),
  });
  return askOrigin(pools.poolFor(origin)).whole;
}

afterEach(async () => {
  await pools?.close();
  await provider.close();
});

describe("a provider over TLS", () => {
  beforeEach(async () => {
    provider = await startFakeProvider((response) => response.end("secret"), OURS);
  });

  afterEach(() => {
    vi.unstubAllEnvs();
  });

  const named = () => provider.origin.replace("127.0.0.1", "localhost");

  test("is talked to when an authority that is trusted says who it is", async () => {
    expect(await get(named(), [OURS.cert])).toBe("200 secret");
  });

  test("is not, when nobody does", async () => {
    await expect(get(named())).rejects.toThrow(/self.signed/);
    expect(provider.received).toEqual([]);
  });

  test("is not, whatever the environment says", async () => {
    vi.stubEnv("NODE_TLS_REJECT_UNAUTHORIZED", "0");
    await expect(get(named())).rejects.toThrow(/self.signed/);
    expect(provider.received).toEqual([]);
  });

  test("is not, under another name", async () => {
    await expect(get(provider.origin, [OURS.cert])).rejects.toThrow(/does not match/);
    expect(provider.received).toEqual([]);
  });
});

describe("the pools", () => {
  beforeEach(async () => {
    provider = await startFakeProvider((response) => response.end("ok"));
  });

  test("are one for each origin, until policy no longer names it", async () => {
    await get(provider.origin);
    const made = pools as UpstreamPools;
    const first = made.poolFor(provider.origin);
    expect(made.poolFor(provider.origin)).toBe(first);
    made.retain(new Set([provider.origin]));
    expect(made.poolFor(provider.origin)).toBe(first);
    expect(provider.sockets.size).toBe(1);
    made.retain(new Set());
    await comesTrue(() => expect(provider.sockets.size).toBe(0));
    expect(made.poolFor(provider.origin)).not.toBe(first);
  });
});
