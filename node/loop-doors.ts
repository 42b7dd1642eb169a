import type { Socket } from "node:net";
import { errorMessage } from "../ports/error-message.ts";
import type { Random } from "../ports/random.ts";
import type { Connections } from "./dataplane/connections.ts";
import type { Exchange } from "./dataplane/exchange.ts";
import { type Gateway, startGateway } from "./dataplane/gateway.ts";
import { GATEWAY_LIMITS } from "./dataplane/gateway-limits.ts";
import { LingerPlaces } from "./dataplane/lingering-close.ts";
import { type DnsDoor, openDnsDoor } from "./dataplane/names/dns-door.ts";
import type { RefusedAtDoor } from "./dataplane/serve-exchange.ts";
import { openCaptureDoor } from "./dataplane/tunnel/capture-door.ts";
import { OwnConnections } from "./dataplane/tunnel/own-connections.ts";
import type { TunnelExchange } from "./dataplane/tunnel/tunnel-exchange.ts";
import { isProviders } from "./destination.ts";
import { enforce } from "./enforce.ts";
import { enforcePlain } from "./enforce-plain.ts";
import { enforceTunnel } from "./enforce-tunnel.ts";
import { judgeName } from "./judge-name.ts";
import { DNS_PORT } from "./kernel/kernel-view.ts";
import type { LoopContext } from "./loop-context.ts";
import type { LoopWorkerData } from "./loop-worker.ts";
import { noteQuestion } from "./note-stranger.ts";
import { policyVersion } from "./table/table.ts";

/** The doors of one data loop, as one: they share its connections and its descriptors. */
export type LoopDoors = Pick<Gateway, "serve" | "stopAccepting" | "close"> & {
  readonly gatewayPort: number;
  readonly forwardPort: number;
  /** Takes in what the kernel captures, from now on. Rejects with the descriptor that is no listener. */
  capture(): Promise<void>;
  /** Leaves it to the next process; all other doors stay open. */
  stopCapturing(): void;
};

/** Opens the doors of a loop but that for what is captured. Rejects, with none open, when a port cannot be had. */
export async function openDoors(of: {
  readonly data: Pick<
    LoopWorkerData,
    | "loop"
    | "host"
    | "gatewayPort"
    | "forwardPort"
    | "captureFds"
    | "dnsHosts"
    | "loops"
    | "connectionsMax"
  >;
  readonly loop: LoopContext;
  readonly connections: Connections;
  readonly random: Random;
  readonly onRefused: (refused: RefusedAtDoor) => void;
  readonly onCaptured?: ((socket: Socket) => void) | undefined;
  readonly onFault: (error: unknown) => void;
}): Promise<LoopDoors> {
  const { data, loop, connections } = of;
  const doors: Pick<Gateway, "connectionCount" | "stopAccepting" | "close">[] = [];
  const common = {
    host: data.host,
    reusePort: data.loops > 1,
    limits: GATEWAY_LIMITS,
    connectionsMax: data.connectionsMax,
    // One loop's descriptors are one lot, whichever door they came through.
    connectionsElsewhere: (door: object) =>
      doors.reduce((sum, one) => sum + (one === door ? 0 : one.connectionCount()), 0),
    clock: loop.clock,
    random: of.random,
    registry: connections,
    onExchange: (exchange: Exchange) => serve(exchange, loop),
    onRefused: of.onRefused,
    onFault: of.onFault,
  };
  const gateway = await startGateway({ ...common, port: data.gatewayPort });
  doors.push(gateway);
  const onTunnel = (tunnel: TunnelExchange) => enforceTunnel(tunnel, loop);
  const opening = startGateway({ ...common, port: data.forwardPort, onTunnel });
  const forward = await opening.catch(async (error: unknown) => {
    await gateway.close();
    throw error;
  });
  doors.push(forward);
  // Only where something is captured can what we dial be.
  const own = data.captureFds.length > 0 ? new OwnConnections() : undefined;
  const openCapture = (fd: number) => {
    const places = new LingerPlaces({ limits: GATEWAY_LIMITS, clock: loop.clock });
    // As the launcher opened it: a smaller one would be in force for whoever listens next, too.
    const { captureBacklog: backlog } = GATEWAY_LIMITS;
    const { onCaptured } = of;
    const listen = { fd };
    return openCaptureDoor({ ...common, own, listen, places, backlog, onCaptured, onTunnel });
  };
  const captures: (typeof doors)[number][] = [];
  let isEnding = false;
  const stopCapturing = (): void => {
    if (isEnding) return;
    isEnding = true;
    for (const door of captures) door.stopAccepting();
  };
  const names = await openNames(of).catch(async (error: unknown) => {
    await Promise.all(doors.map((door) => door.close()));
    throw error;
  });
  return {
    gatewayPort: gateway.port,
    forwardPort: forward.port,
    // What is within TLS is served as what comes to the gateway is.
    serve: (socket, via, protocol) => gateway.serve(socket, via, protocol),
    capture: async () => {
      for (const fd of data.captureFds) {
        if (isEnding) return;
        const door = await openCapture(fd).catch((cause: unknown) => {
          throw new Error(`descriptor ${fd}: ${errorMessage(cause)}`, { cause });
        });
        doors.push(door);
        captures.push(door);
        if (isEnding) door.stopAccepting();
      }
    },
    stopCapturing,
    stopAccepting: () => {
      stopCapturing();
      for (const door of doors) if (!captures.includes(door)) door.stopAccepting();
    },
    close: async () => {
      await Promise.all([...doors.map((door) => door.close()), names?.close()]);
      own?.[Symbol.dispose]();
    },
  };
}

/** What goes to a provider is read; what else names its host itself is passed on. */
export function serve(exchange: Exchange, loop: LoopContext): Promise<void> {
  const { proxied } = exchange;
  if (proxied === undefined) return enforce(exchange, loop);
  const policy = loop.policyOf(policyVersion(loop.table));
  return isProviders(proxied.host, policy)
    ? enforce(exchange, loop)
    : enforcePlain(exchange, proxied, loop);
}

/** One loop answers for all: a question costs some microseconds. */
async function openNames(of: {
  readonly data: Pick<LoopWorkerData, "loop" | "dnsHosts">;
  readonly loop: LoopContext;
  readonly onFault: (error: unknown) => void;
}): Promise<DnsDoor | undefined> {
  const { data, loop, onFault } = of;
  if (data.loop !== 0 || data.dnsHosts.length === 0) return undefined;
  const judge = (source: string, name: string) => {
    const verdict = judgeName(source, name, loop);
    if (verdict === "refused") noteQuestion(source, name, loop);
    return verdict;
  };
  return openDnsDoor({ hosts: data.dnsHosts, port: DNS_PORT, judge, onFault });
}
