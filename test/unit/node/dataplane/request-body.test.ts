import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../../../adapters/system-clock.ts";
import { Http1Wire } from "../../../../node/dataplane/http1-wire.ts";
import { RequestBody } from "../../../../node/dataplane/request-body.ts";

const LIMITS = { bytesMax: 1_000, timeoutMs: 60_000 };

/** A request of which these pieces have come, one by one, before anybody asks for its body. */
async function requestOf(pieces: readonly string[]): Promise<RequestBody> {
  const server = createServer({ keepAliveTimeout: 0 });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = connect((server.address() as AddressInfo).port, "127.0.0.1");
  client.setNoDelay(true);
  onTestFinished(() => {
    client.destroy();
    server.close();
  });
  const length = pieces.join("").length;
  client.write(`POST / HTTP/1.1\r\nhost: a\r\ncontent-length: ${length}\r\n\r\n`);
  const [request, response] = (await once(server, "request")) as [IncomingMessage, ServerResponse];
  let sent = 0;
  for (const piece of pieces) {
    client.write(piece);
    sent += piece.length;
    while (request.readableLength < sent) await nextTurn();
  }
  while (!request.complete) await nextTurn();
  return new RequestBody(new Http1Wire(request, response, request.socket), length);
}

test.each([[["whole"]], [["in ", "three ", "pieces"]]])(
  "a body that is there is taken whole, however it came: %j",
  async (pieces) => {
    const body = await requestOf(pieces);
    expect(String(await body.read(LIMITS, systemClock))).toBe(pieces.join(""));
    expect(body.receivedBytes).toBe(pieces.join("").length);
  },
);

test("a body that came with its head is taken in the same turn, one request after another", async () => {
  const atOnce: boolean[] = [];
  let ended = 0;
  const server = createServer(async (request, response) => {
    const wire = new Http1Wire(request, response, request.socket);
    const body = new RequestBody(wire, Number(request.headers["content-length"]));
    // What whoever serves it does as well: the parser goes on to the body meanwhile.
    await undefined;
    const read = body.read(LIMITS, systemClock);
    atOnce.push(Buffer.isBuffer(read) && body.isComplete());
    // An end that nobody reads is not told, and node:http waits for it to let go of the request.
    request.on("end", () => {
      ended += 1;
    });
    response.on("close", () => body.forget());
    const said = await read;
    setImmediate(() => response.end(said));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = connect((server.address() as AddressInfo).port, "127.0.0.1");
  onTestFinished(() => {
    client.destroy();
    server.close();
  });
  for (const said of ["first", "second", "third"]) {
    client.write(`POST / HTTP/1.1\r\nhost: a\r\ncontent-length: ${said.length}\r\n\r\n${said}`);
    const [answer] = (await once(client, "data")) as [Buffer];
    expect(String(answer)).toContain(said);
  }
  expect(atOnce).toEqual([true, true, true]);
  while (ended < 3) await nextTurn();
});
