import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Webhook } from "standardwebhooks";

const SECRET = Buffer.alloc(32, 7).toString("base64");

export type ReceivedAlert = {
  readonly id: string;
  readonly atMs: number;
  readonly agent: string;
  readonly reason: string;
  readonly count: number;
};

type Message = { readonly data: Pick<ReceivedAlert, "agent" | "reason" | "count"> };

/** A receiver of webhooks that verifies each as any other would, takes it, and notes when it was whole. */
export class AlertReceiver implements AsyncDisposable {
  readonly alerts: ReceivedAlert[] = [];
  readonly #folder = mkdtempSync(join(tmpdir(), "altrace-alerts-"));
  readonly #server: Server;

  static async start(): Promise<AlertReceiver> {
    const receiver = new AlertReceiver();
    receiver.#server.listen(0, "127.0.0.1");
    await once(receiver.#server, "listening");
    writeFileSync(receiver.file, JSON.stringify(receiver.#settings()), { mode: 0o600 });
    return receiver;
  }

  private constructor() {
    const verifier = new Webhook(SECRET);
    this.#server = createServer(async (request, response) => {
      const body = Buffer.concat(await request.toArray()).toString("utf8");
      const atMs = Date.now();
      const headers = request.headers as Record<string, string>;
      const { data } = verifier.verify(body, headers) as Message;
      this.alerts.push({ id: headers["webhook-id"] as string, atMs, ...data });
      response.writeHead(204).end();
    });
  }

  /** What `ALTRACE_WEBHOOK_FILE` is to name. */
  get file(): string {
    return join(this.#folder, "webhook.json");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, "close");
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #settings() {
    const { port } = this.#server.address() as AddressInfo;
    const url = `http://127.0.0.1:${port}/alerts`;
    return { url, secret: `whsec_${SECRET}`, ranges: ["127.0.0.0/8"] };
  }
}
