import { once } from "node:events";
import {
  createServer,
  type IncomingHttpHeaders,
  type RequestListener,
  type Server,
} from "node:http";
import type { AddressInfo } from "node:net";
import { Webhook as Verifier } from "standardwebhooks";
import { describe, expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../../../adapters/system-clock.ts";
import { webhookRequest } from "../../../../node/alerts/webhook-message.ts";
import { webhookPost } from "../../../../node/alerts/webhook-post.ts";
import type { NameResolver } from "../../../../ports/names.ts";

const SECRET = Buffer.alloc(32, 9);
const LOOPBACK = [["127.0.0.0", 8]] as const;
const NEVER = new AbortController().signal;

async function receiver(answer: RequestListener): Promise<string> {
  const server: Server = createServer(answer).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook?to=us`;
}

function at(address: string): NameResolver {
  const resolve = async () => [{ address, family: 4 as const }];
  return { resolve, lookup: () => undefined };
}

function post(url: string, ranges: readonly (readonly [string, number])[] = LOOPBACK) {
  const target = { url: new URL(url), secret: SECRET, ranges, reasons: new Set<string>() };
  return webhookPost(target, at("127.0.0.1"), systemClock);
}

function request() {
  const alert = {
    id: "msg_1",
    agent: "research/worker-1",
    reason: "killed_agent",
    stage: 3,
    count: 4,
    firstMs: 1_790_000_000_000,
    lastMs: 1_790_000_000_500,
    requestId: "01998f3e-7c1a-7b2c-9d3e-5f60718293a4",
  };
  return webhookRequest(alert, { mesh: "acme", node: "n1" }, { secret: SECRET, nowMs: Date.now() });
}

describe("an alert's delivery", () => {
  test("verifies by a library of Standard Webhooks, and not when one byte is another", async () => {
    const got: { headers: IncomingHttpHeaders; body: string; url: string | undefined }[] = [];
    const url = await receiver(async (incoming, answer) => {
      const parts = await incoming.toArray();
      const body = Buffer.concat(parts).toString("utf8");
      got.push({ headers: incoming.headers, body, url: incoming.url });
      answer.writeHead(204).end();
    });
    await post(url)(request(), NEVER);
    const [delivery] = got;
    expect(delivery?.url).toBe("/hook?to=us");
    const verifier = new Verifier(SECRET.toString("base64"));
    const headers = delivery?.headers as Record<string, string>;
    const body = delivery?.body ?? "";
    expect(verifier.verify(body, headers)).toMatchObject({
      type: "altrace.violation",
      data: { agent: "research/worker-1", reason: "killed_agent", count: 4 },
    });
    expect(() => verifier.verify(body.replace("4", "5"), headers)).toThrow();
    expect(() => verifier.verify(body, { ...headers, "webhook-id": "msg_2" })).toThrow();
  });

  test.each([199 + 101, 302, 404, 429, 500])("is a failure for an answer %i", async (status) => {
    let isElsewhere = false;
    const elsewhere = await receiver((_incoming, answer) => {
      isElsewhere = true;
      answer.end();
    });
    const url = await receiver((_incoming, answer) => {
      answer.writeHead(status, { location: elsewhere }).end("no");
    });
    await expect(post(url)(request(), NEVER)).rejects.toThrow(`answered ${status}`);
    expect(isElsewhere).toBe(false);
  });

  test("goes to no address that the file does not open", async () => {
    let calls = 0;
    const url = await receiver((_incoming, answer) => {
      calls++;
      answer.end();
    });
    await expect(post(url, [])(request(), NEVER)).rejects.toThrow(/127\.0\.0\.1, not in ranges/);
    const target = { secret: SECRET, reasons: new Set<string>(), url: new URL(url) };
    const open = { ...target, ranges: [["0.0.0.0", 0]] as const };
    const metadata = webhookPost(open, at("169.254.169.254"), systemClock);
    await expect(metadata(request(), NEVER)).rejects.toThrow(/not in ranges/);
    expect(calls).toBe(0);
  });

  test("ends when the node does", async () => {
    const url = await receiver(() => undefined);
    const stop = new AbortController();
    const sent = post(url)(request(), stop.signal);
    stop.abort();
    await expect(sent).rejects.toThrow();
  });
});
