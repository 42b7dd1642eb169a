import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { onTestFinished } from "vitest";
import { cryptoRandom } from "../../../../adapters/crypto-random.ts";
import { systemClock } from "../../../../adapters/system-clock.ts";
import { type Connections, createConnections } from "../../../../node/dataplane/connections.ts";
import type { Exchange } from "../../../../node/dataplane/exchange.ts";
import {
  type Gateway,
  type GatewayOptions,
  startGateway,
} from "../../../../node/dataplane/gateway.ts";
import { GATEWAY_LIMITS, type GatewayLimits } from "../../../../node/dataplane/gateway-limits.ts";
import type { RefusedAtDoor } from "../../../../node/dataplane/serve-exchange.ts";

export const HOST = "127.0.0.1";

export type Door = {
  readonly gateway: Gateway;
  readonly registry: Connections;
  readonly port: number;
  readonly url: string;
  readonly refused: RefusedAtDoor[];
  readonly faults: unknown[];
};

type DoorOptions = {
  readonly limits?: Partial<GatewayLimits>;
  readonly connectionsMax?: number;
  readonly clock?: GatewayOptions["clock"];
};

/** A gateway on a free port, closed when the test ends. */
export async function openDoor(
  onExchange: (exchange: Exchange) => void | Promise<void>,
  options: DoorOptions = {},
): Promise<Door> {
  const faults: unknown[] = [];
  const refused: RefusedAtDoor[] = [];
  const onFault = (error: unknown) => void faults.push(error);
  const clock = options.clock ?? systemClock;
  const registry = createConnections({ clock, onFault });
  const gateway = await startGateway({
    port: 0,
    host: HOST,
    reusePort: false,
    limits: { ...GATEWAY_LIMITS, ...options.limits },
    connectionsMax: options.connectionsMax ?? 10_000,
    clock,
    random: cryptoRandom,
    registry,
    onExchange,
    onRefused: (refusal) => void refused.push(refusal),
    onFault,
  });
  onTestFinished(() => gateway.close());
  const { port } = gateway;
  return { gateway, registry, port, url: `http://${HOST}:${port}`, refused, faults };
}

/** A refusal as the chain words it, short. */
export function refusalOf(status: number, code: string) {
  return {
    status,
    headers: ["content-type", "application/json", "x-should-retry", "false"],
    body: Buffer.from(JSON.stringify({ error: { message: code, type: "t", code } })),
  };
}

export type RawClient = {
  readonly socket: Socket;
  /** Everything received so far, latin1. */
  text(): string;
  /** Resolves when `pattern` was received; rejects when the connection closed before. */
  until(pattern: RegExp): Promise<string>;
  /** How the connection ended, as seen from here. */
  readonly closed: Promise<"fin" | "rst">;
};

/** A bare TCP client that never sends what it is not told to. */
export async function rawClient(port: number): Promise<RawClient> {
  const socket = connect({ port, host: HOST });
  let received = "";
  let failed = false;
  socket.on("data", (chunk) => {
    received += chunk.toString("latin1");
  });
  socket.on("error", () => {
    failed = true;
  });
  const closed = new Promise<"fin" | "rst">((resolve) => {
    socket.on("close", () => resolve(failed ? "rst" : "fin"));
  });
  await once(socket, "connect");
  const until = async (pattern: RegExp): Promise<string> => {
    while (!pattern.test(received)) {
      if (socket.destroyed) throw new Error(`closed after ${JSON.stringify(received)}`);
      await Promise.race([once(socket, "data").catch(() => {}), closed]);
    }
    return received;
  };
  onTestFinished(() => void socket.destroy());
  return { socket, text: () => received, until, closed };
}

/** Sends `request` whole and gives what came back until the connection closed. */
export async function sendAndDrain(port: number, request: string | Uint8Array): Promise<string> {
  const client = await rawClient(port);
  client.socket.write(request);
  await client.closed;
  return client.text();
}

/** Waits for a condition that other turns of the loop bring about. */
export async function eventually(holds: () => boolean, what: string): Promise<void> {
  for (let waitedMs = 0; waitedMs < 10_000; waitedMs += 5) {
    if (holds()) return;
    await sleep(5);
  }
  throw new Error(`never came true: ${what}`);
}

/** Status codes of the answers in a received text, in their order. */
export function statusesOf(text: string): number[] {
  return [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map((match) => Number(match[1]));
}

export function codeOf(text: string): string | undefined {
  return /"code":"([a-z_0-9]+)"/.exec(text)?.[1];
}
