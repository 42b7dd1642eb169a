import { existsSync } from "node:fs";
import { type GrpcServer, type GrpcServerOptions, serveGrpc } from "../adapters/grpc-server.ts";
import { type GrpcTlsConfig, grpcTlsListen } from "../adapters/grpc-tls-settings.ts";
import type { Tell } from "./events.ts";

export type OperatorsDoorDeps = {
  readonly socketPath: string;
  readonly tls: GrpcTlsConfig | undefined;
  readonly mesh: string;
  readonly serve: Omit<GrpcServerOptions, "listen">;
  readonly tell: Tell;
};

/**
 * Where operators call: a unix socket from the start, and TLS from when there is a certificate.
 *
 * The first certificate of a mesh is made with what the first coordinator has founded, so that one starts without: it waits
 * for the three files, which must come together. Files that are there and are wrong are an error.
 */
export class OperatorsDoor {
  readonly #deps: OperatorsDoorDeps;
  readonly #open: GrpcServer[] = [];
  readonly #serving = new Map<string, boolean>();
  #isWaiting = false;
  #isClosed = false;
  #toldWrong: string | undefined;

  constructor(deps: OperatorsDoorDeps) {
    this.#deps = deps;
  }

  /** @throws SocketFault, or what is wrong with a certificate that is there. */
  async start(): Promise<void> {
    const { socketPath, tls, mesh, serve, tell } = this.#deps;
    this.#isWaiting = tls !== undefined && filesOf(tls).every((file) => !existsSync(file));
    const now = this.#isWaiting ? [] : grpcTlsListen(tls, mesh);
    this.#open.push(
      await serveGrpc({ ...serve, listen: [{ kind: "unix", path: socketPath }, ...now] }),
    );
    if (this.#isWaiting) tell("grpc_tls_waits", { certificate: tls?.certificateFile });
  }

  /** Opens what waited, once its files are there. What is wrong with them is told, once for each word. */
  async look(): Promise<void> {
    const { tls, mesh, serve, tell } = this.#deps;
    if (!this.#isWaiting || tls === undefined || !filesOf(tls).every((file) => existsSync(file)))
      return;
    this.#isWaiting = false;
    try {
      const server = await serveGrpc({ ...serve, listen: grpcTlsListen(tls, mesh) });
      this.#open.push(server);
      if (this.#isClosed) return await server.close(0);
      for (const [service, isServing] of this.#serving) server.setServing(service, isServing);
      tell("grpc_tls_opened", { port: server.ports[0] });
    } catch (error) {
      this.#isWaiting = true;
      const wrong = String(error);
      if (wrong !== this.#toldWrong) tell("grpc_tls_failed", { error: wrong });
      this.#toldWrong = wrong;
    }
  }

  setServing(service: string, isServing: boolean): void {
    this.#serving.set(service, isServing);
    for (const server of this.#open) server.setServing(service, isServing);
  }

  async close(graceMs: number): Promise<void> {
    this.#isClosed = true;
    this.#isWaiting = false;
    await Promise.all(this.#open.map((server) => server.close(graceMs)));
  }
}

function filesOf({ certificateFile, keyFile, clientCaFile }: GrpcTlsConfig): readonly string[] {
  return [certificateFile, keyFile, clientCaFile];
}
