import { createHash } from "node:crypto";
import { once } from "node:events";
import type { Socket } from "node:net";
import {
  type ConnectionOptions,
  connect as connectTls,
  createServer,
  type TLSSocket,
} from "node:tls";
import { onTestFinished } from "vitest";
import { cryptoRandom } from "../../../adapters/crypto-random.ts";
import { systemClock } from "../../../adapters/system-clock.ts";
import { type Connections, createConnections } from "../../../node/dataplane/connections.ts";
import { type Gateway, startGateway } from "../../../node/dataplane/gateway.ts";
import { GATEWAY_LIMITS } from "../../../node/dataplane/gateway-limits.ts";
import type { RefusedAtDoor } from "../../../node/dataplane/serve-exchange.ts";
import { createAddressRules } from "../../../node/dataplane/tunnel/address-rules.ts";
import { enforceTunnel } from "../../../node/enforce-tunnel.ts";
import { LiveDecisions } from "../../../node/live-decisions.ts";
import type { LoopContext } from "../../../node/loop-context.ts";
import { serve } from "../../../node/loop-doors.ts";
import { NO_PLACEMENT } from "../../../node/placement-file.ts";
import { NO_INSPECTION } from "../../../node/tls-inspection.ts";
import type { CompiledPolicy } from "../../../policy/compiled-policy.ts";
import { grant } from "../../support/builders.ts";
import { HOST, type RawClient, rawClient } from "./dataplane/door.ts";
import { selfSigned } from "./dataplane/self-signed.ts";
import { LoopWorld } from "./loop-world.ts";

export const KEY = `altk_k1234567_${"a".repeat(43)}`;
export const AGENT = grant().agentId;
export const FAR = "far.example.com";

/** What the other end of a tunnel saw. */
export class FarSide {
  readonly sockets: Socket[] = [];
  readonly text: string[] = [];
  readonly cert: string;
  port = 0;
  /** Answers with what it got, in capitals. */
  readonly #server;

  constructor(name: string) {
    const { key, cert } = selfSigned(name);
    this.cert = cert;
    this.#server = createServer({ key, cert }, (tls) => {
      tls.on("error", () => undefined);
      tls.on("data", (chunk: Buffer) => {
        this.text.push(chunk.toString());
        tls.write(chunk.toString().toUpperCase());
      });
    });
    this.#server.on("connection", (socket: Socket) => {
      this.sockets.push(socket);
      socket.on("error", () => undefined);
    });
    this.#server.on("tlsClientError", () => undefined);
  }

  async open(port = 0, host = HOST): Promise<void> {
    this.#server.listen(port, host);
    await once(this.#server, "listening");
    this.port = (this.#server.address() as { port: number }).port;
    onTestFinished(() => {
      for (const socket of this.sockets) socket.destroy();
      this.#server.close();
    });
  }
}

export type TunnelWorld = {
  readonly world: LoopWorld;
  readonly loop: LoopContext;
  readonly door: Gateway;
  readonly connections: Connections;
  readonly far: FarSide;
  readonly refused: RefusedAtDoor[];
  readonly faults: unknown[];
  /** Names and their addresses; anything else is not found. */
  readonly names: Map<string, readonly string[]>;
  readonly lookedUp: string[];
  /** What names the keys that there are. */
  readonly keys: Set<string>;
};

/** A forward proxy with a real table, chain and sockets; one agent may reach the far side. */
export async function tunnelWorld(
  over: Partial<CompiledPolicy> = {},
  part: Partial<LoopContext> = {},
): Promise<TunnelWorld> {
  const far = new FarSide(FAR);
  await far.open();
  const world = new LoopWorld();
  const granted = grant({ hosts: [`${FAR}:${far.port}`, `other.example.com:${far.port}`] });
  world.policy = { ...world.policy, agents: new Map([[AGENT, granted]]), ...over };
  const faults: unknown[] = [];
  const refused: RefusedAtDoor[] = [];
  const onFault = (error: unknown) => void faults.push(error);
  const connections = createConnections({ clock: systemClock, onFault });
  const names = new Map<string, readonly string[]>([
    [FAR, [HOST]],
    ["other.example.com", [HOST]],
  ]);
  const lookedUp: string[] = [];
  const known = createHash("sha256").update(KEY).digest("hex");
  const keys = new Set([known, `agent:${AGENT}`]);
  const loop: LoopContext = {
    ...world.loop,
    clock: systemClock,
    connections,
    meshLink: meshLink(world, keys),
    resolver: {
      resolve: async (name) => {
        lookedUp.push(name);
        const found = names.get(name);
        if (found === undefined) throw new Error("ENOTFOUND");
        return found.map((address) => ({ address, family: address.includes(":") ? 6 : 4 }));
      },
    },
    addressRules: createAddressRules([["127.0.0.0", 8]]),
    inspection: NO_INSPECTION,
    live: new LiveDecisions(),
    placement: NO_PLACEMENT,
    ...part,
  };
  const door = await startGateway({
    port: 0,
    host: HOST,
    reusePort: false,
    limits: GATEWAY_LIMITS,
    connectionsMax: 10_000,
    clock: systemClock,
    random: cryptoRandom,
    registry: connections,
    // Without a way out a request is left waiting.
    onExchange: (exchange) => (part.forwarder === undefined ? undefined : serve(exchange, loop)),
    onTunnel: (tunnel) => enforceTunnel(tunnel, loop),
    onRefused: (one) => void refused.push(one),
    onFault,
  });
  onTestFinished(() => door.close());
  return { world, loop, door, connections, far, refused, faults, names, lookedUp, keys };
}

function meshLink(world: LoopWorld, keys: ReadonlySet<string>): LoopContext["meshLink"] {
  const row = { ...world.row, keyGeneration: 0, agentId: AGENT, keyId: "k1234567" };
  const whole = { ...row, contractId: undefined, notBeforeMs: 0, notAfterMs: 0 };
  return {
    resolveKey: (handle) => (keys.has(handle) ? whole : "key_unknown"),
    delegate: async () => ({ refused: "contract_unavailable" as const, detail: "" }),
    forget: () => undefined,
    close: () => undefined,
  };
}

export function proxyAuthorization(user = AGENT, key = KEY): string {
  return `Basic ${Buffer.from(`${user}:${key}`).toString("base64")}`;
}

export function connectHead(target: string, authorization = proxyAuthorization()): string {
  return `CONNECT ${target} HTTP/1.1\r\nhost: ${target}\r\nproxy-authorization: ${authorization}\r\n\r\n`;
}

/** Asks for a tunnel, and gives the client once there is an answer. */
export async function askTunnel(port: number, target: string): Promise<RawClient> {
  const client = await rawClient(port);
  client.socket.write(connectHead(target));
  await client.until(/\r\n\r\n/);
  return client;
}

/** TLS within a tunnel. Rejects when the handshake fails. */
export async function tlsOver(client: RawClient, options: ConnectionOptions): Promise<TLSSocket> {
  client.socket.removeAllListeners("data");
  const tls = connectTls({ socket: client.socket, ...options });
  onTestFinished(() => void tls.destroy());
  await once(tls, "secureConnect");
  return tls;
}
