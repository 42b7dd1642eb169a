import { connect, type Socket } from "node:net";
import { connect as connectTls, createSecureContext } from "node:tls";
import { onTestFinished } from "vitest";
import { cryptoRandom } from "../../../adapters/crypto-random.ts";
import { systemClock } from "../../../adapters/system-clock.ts";
import { type Connections, createConnections } from "../../../node/dataplane/connections.ts";
import { createPolicyScanners } from "../../../node/dataplane/content-scanners.ts";
import { createForwarder } from "../../../node/dataplane/forward.ts";
import { GATEWAY_LIMITS } from "../../../node/dataplane/gateway-limits.ts";
import { createInspector } from "../../../node/dataplane/inspect.ts";
import { LingerPlaces } from "../../../node/dataplane/lingering-close.ts";
import { createAddressRules } from "../../../node/dataplane/tunnel/address-rules.ts";
import { openCaptureDoor } from "../../../node/dataplane/tunnel/capture-door.ts";
import { createUpstreamPools } from "../../../node/dataplane/upstream-pools.ts";
import { enforceTunnel } from "../../../node/enforce-tunnel.ts";
import { LiveDecisions } from "../../../node/live-decisions.ts";
import type { LoopContext } from "../../../node/loop-context.ts";
import { type LoopDoors, openDoors } from "../../../node/loop-doors.ts";
import { OpenHolds } from "../../../node/open-holds.ts";
import { NO_PLACEMENT } from "../../../node/placement-file.ts";
import { inspectTls } from "../../../node/tls-inspection.ts";
import type { CompiledPolicy } from "../../../policy/compiled-policy.ts";
import { grant, model, price, provider } from "../../support/builders.ts";
import { HOST } from "./dataplane/door.ts";
import { selfSigned } from "./dataplane/self-signed.ts";
import { LoopWorld } from "./loop-world.ts";
import { RawFar } from "./raw-far.ts";
import { AGENT, connectHead, KEY, proxyAuthorization } from "./tunnel-world.ts";

/** Names of the far side: what goes to the one is passed on unread, to the other read within TLS. */
export const PLAIN_HOST = "plain.example.com";
export const INSIDE_HOST = "inside.example.com";
export const CAPTURED_HOST = "captured.example.com";
/** Where the far side of what is captured is: at the port of the door, which the client was going to. */
const ELSEWHERE = "127.0.0.2";
/** The model of a provider that the gateway leads to, and of one whose TLS ends at the node. */
const MODELS = { gateway: "gpt-5-mini", inside: "gpt-inside" } as const;
/** The same of those that are asked for sessions. */
export const SESSIONS = { gateway: "gpt-realtime", inside: "gpt-realtime-inside" } as const;
/** What may go unread has to be cleared for it. */
const HIGHEST_CLASS = 3;

/** A client's end of a connection on which HTTP/1.1 is spoken. */
export type Speaker = { readonly socket: Socket; readonly text: () => string };

/** A door at which HTTP/1.1 is spoken. */
export type HttpDoor = {
  readonly name: string;
  /** Absolute or a path, with this behind it. */
  target(path: string): string;
  /** Lines that name host and key. */
  readonly lines: string;
  /** A body that asks for something here; `word` is in it. */
  body(word: string): string;
  readonly path: string;
  /** Where its requests go. */
  readonly far: RawFar;
  connect(): Promise<Speaker>;
};

/** A loop's doors with a real table, chain and sockets, before far sides that note every byte. */
export async function doorsWorld() {
  const identity = selfSigned(INSIDE_HOST);
  const far = await RawFar.open();
  const inside = await RawFar.open(identity);
  const world = new LoopWorld();
  world.lend({ usdMicros: 1n << 50n, tokens: 1n << 50n, calls: 1n << 40n }, 1n << 40n);
  const faults: unknown[] = [];
  const onFault = (error: unknown) => void faults.push(error);
  const refused: string[] = [];
  const connections = createConnections({ clock: systemClock, onFault });
  const loop = loopOf(world, connections, { onFault, cert: identity.cert });
  let doors: LoopDoors | undefined;
  const inspection = inspectTls({
    clock: systemClock,
    certificates: {
      canShow: (host) => host === INSIDE_HOST,
      contextOf: async () => createSecureContext(identity),
    },
    serve: (...of) => doors?.serve(...of),
  });
  Object.assign(loop, { inspection });
  const ports = { gatewayPort: 0, forwardPort: 0, captureFds: [], dnsHosts: [] };
  doors = await openDoors({
    data: { loop: 0, host: HOST, loops: 1, connectionsMax: 10_000, ...ports },
    loop,
    connections,
    random: cryptoRandom,
    onRefused: ({ reason }) => void refused.push(reason),
    onFault,
  });
  const opened = doors;
  const capture = await openCaptureDoor({
    listen: { port: 0, host: HOST },
    backlog: 16,
    connectionsMax: 10_000,
    connectionsElsewhere: () => 0,
    ...{ clock: systemClock, random: cryptoRandom, registry: connections, own: undefined },
    places: new LingerPlaces({ limits: GATEWAY_LIMITS, clock: systemClock }),
    onCaptured: undefined,
    onTunnel: (tunnel) => enforceTunnel(tunnel, loop),
    onRefused: ({ reason }) => void refused.push(reason),
    onFault,
  });
  const captured = await RawFar.open(undefined, { port: capture.port, host: ELSEWHERE });
  world.policy = { ...world.policy, ...policyOf(far.port, inside.port, capture.port) };
  const close = async (): Promise<void> => {
    await Promise.all([opened.close(), capture.close(), loop.forwarder.close()]);
    for (const one of [far, inside, captured]) one.close();
  };
  onTestFinished(close);
  return {
    world,
    loop,
    connections,
    far,
    inside,
    captured,
    faults,
    refused,
    doors: opened,
    capture,
    close,
    cert: identity.cert,
  };
}

export type DoorsWorld = Awaited<ReturnType<typeof doorsWorld>>;

function policyOf(
  farPort: number,
  insidePort: number,
  capturePort: number,
): Partial<CompiledPolicy> {
  const clearance = HIGHEST_CLASS;
  const gateway = provider({ origin: `http://${HOST}:${farPort}`, clearance });
  const inside = provider({
    name: "inside",
    origin: `https://${INSIDE_HOST}:${insidePort}`,
    host: INSIDE_HOST,
    clearance,
  });
  const known = (id: string, served: typeof gateway) =>
    model({ id: `${served.name}/${id}`, upstreamName: id, provider: served, price: price() });
  const granted = grant({
    models: ["openai/*", "inside/*"],
    clearance,
    hosts: [
      `${PLAIN_HOST}:${farPort}`,
      `${CAPTURED_HOST}:${capturePort}`,
      INSIDE_HOST,
      gateway.host,
    ],
  });
  return {
    agents: new Map([[AGENT, granted]]),
    providers: new Map([
      ["openai", gateway],
      ["inside", inside],
    ]),
    models: new Map([
      [`openai:${MODELS.gateway}`, known(MODELS.gateway, gateway)],
      [`openai:${MODELS.inside}`, known(MODELS.inside, inside)],
      [`openai:${SESSIONS.gateway}`, { ...known(SESSIONS.gateway, gateway), sessions: "unread" }],
      [`openai:${SESSIONS.inside}`, { ...known(SESSIONS.inside, inside), sessions: "unread" }],
    ]),
  };
}

function loopOf(
  world: LoopWorld,
  connections: Connections,
  { onFault, cert }: { readonly onFault: (error: unknown) => void; readonly cert: string },
): LoopContext {
  const scanners = createPolicyScanners();
  const credentials = {
    secretOf: () => "sk-of-the-provider/0001",
    names: ["openai"],
    scrub: (words: string) => words,
    close: () => {},
  };
  const here = [{ address: HOST, family: 4 as const }];
  const resolver = {
    resolve: async (name: string) =>
      name === CAPTURED_HOST ? [{ address: ELSEWHERE, family: 4 as const }] : here,
    lookup: ((_name, { all }, found) =>
      all ? found(null, here) : found(null, HOST, 4)) as NonNullable<
      Parameters<typeof createUpstreamPools>[0]["resolver"]
    >["lookup"],
  };
  const pools = createUpstreamPools({ resolver, clock: systemClock, authorities: [cert] });
  const pool = { run: () => Promise.reject(new Error("nothing is large")), close: async () => {} };
  const row = { ...world.row, keyGeneration: 0, agentId: AGENT, keyId: "k1234567" };
  const whole = { ...row, contractId: undefined, notBeforeMs: 0, notAfterMs: 0 };
  return {
    ...world.loop,
    clock: systemClock,
    connections,
    scanners,
    credentials,
    inspector: createInspector({ clock: systemClock, scanners, pool, onFault }),
    forwarder: createForwarder({ pools, credentials, clock: systemClock, onFault }),
    meshLink: {
      resolveKey: () => whole,
      delegate: async () => ({ refused: "contract_unavailable" as const, detail: "" }),
      forget: () => undefined,
      close: () => undefined,
    },
    resolver,
    addressRules: createAddressRules([["127.0.0.0", 8]]),
    holds: new OpenHolds(systemClock),
    live: new LiveDecisions(),
    placement: { ...NO_PLACEMENT, agentAt: () => AGENT },
  };
}

/** The doors at which HTTP/1.1 is spoken. */
export function httpDoors(it: DoorsWorld): readonly HttpDoor[] {
  const chat = (name: string) => (word: string) =>
    JSON.stringify({ model: name, messages: [{ role: "user", content: word }] });
  const path = "/v1/chat/completions";
  const plain = `${PLAIN_HOST}:${it.far.port}`;
  const inside = `${INSIDE_HOST}:${it.inside.port}`;
  const bearer = `Authorization: Bearer ${KEY}\r\n`;
  return [
    {
      name: "gateway",
      target: (asked) => asked,
      lines: `Host: gateway\r\n${bearer}`,
      body: chat(MODELS.gateway),
      path,
      far: it.far,
      connect: () => speaker(dial(it.doors.gatewayPort)),
    },
    {
      name: "forward proxy",
      target: (asked) => `http://${plain}${asked}`,
      lines: `Host: ${plain}\r\nProxy-Authorization: ${proxyAuthorization()}\r\n`,
      body: chat(MODELS.gateway),
      path,
      far: it.far,
      connect: () => speaker(dial(it.doors.forwardPort)),
    },
    {
      name: "inspected host",
      target: (asked) => asked,
      lines: `Host: ${inside}\r\n${bearer}`,
      body: chat(MODELS.inside),
      path,
      far: it.inside,
      connect: () => insideTls(it, inside),
    },
  ];
}

async function insideTls({ doors, cert }: DoorsWorld, target: string): Promise<Speaker> {
  const raw = dial(doors.forwardPort);
  raw.on("error", () => undefined);
  raw.write(connectHead(target));
  await new Promise<void>((resolve, reject) => {
    raw.once("data", (answer) =>
      /^HTTP\/1.1 200 /.test(String(answer)) ? resolve() : reject(new Error(String(answer))),
    );
  });
  const tls = connectTls({ socket: raw, servername: INSIDE_HOST, ca: cert });
  return speaker(tls, "secureConnect");
}

/** What is written in pieces comes in pieces. */
export function dial(port: number): Socket {
  return connect({ port, host: HOST, noDelay: true });
}

function speaker(socket: Socket, opened = "connect"): Promise<Speaker> {
  let received = "";
  socket.on("data", (chunk) => {
    received += chunk.toString("latin1");
  });
  return new Promise((resolve, reject) => {
    socket.on("error", reject);
    socket.once(opened, () => resolve({ socket, text: () => received }));
  });
}
