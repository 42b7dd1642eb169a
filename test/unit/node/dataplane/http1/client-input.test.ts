import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { GATEWAY_LIMITS } from "../../../../../node/dataplane/gateway-limits.ts";
import { ClientInput } from "../../../../../node/dataplane/http1/client-input.ts";

const REQUEST = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const { waitingBytesMax } = GATEWAY_LIMITS;
/** What one read of a socket brings at most, and what Node's stream keeps of it while it is paused, bytes. */
const READ_BYTES = 64 * 1024;

/** A client that sends as many requests ahead, none of which has a body. */
async function inputOf(requests: number, onHead: (input: ClientInput) => void) {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = connect((server.address() as AddressInfo).port, "127.0.0.1");
  const [socket] = (await once(server, "connection")) as [Socket];
  onTestFinished(() => {
    client.destroy();
    socket.destroy();
    server.close();
  });
  const input: ClientInput = new ClientInput(socket, GATEWAY_LIMITS, {
    onHead: () => onHead(input),
    onFault: ({ detail }) => expect.fail(detail),
    onHeadBegun: () => undefined,
    onEnd: () => undefined,
  });
  client.write(REQUEST.repeat(requests));
  return { input, socket };
}

test("what a client sends ahead is kept up to a bound, however many of its requests are served", async () => {
  const requests = 60_000;
  let served = 0;
  const { input, socket } = await inputOf(requests, () => {
    input.frame(0);
    served += 1;
  });
  let mostAhead = 0;
  for (let asked = 0; asked < requests; asked += 1) {
    input.awaitHead();
    while (served === asked) await nextTurn();
    // So that what may be read is read.
    if (asked < 100) await nextTurn();
    mostAhead = Math.max(mostAhead, socket.bytesRead - served * REQUEST.length);
  }
  expect(mostAhead).toBeGreaterThanOrEqual(waitingBytesMax);
  expect(mostAhead).toBeLessThan(waitingBytesMax + 4 * READ_BYTES);
});

test("a connection that was handed over is not read on by whoever read it before", async () => {
  const heads: Buffer[] = [];
  const { input, socket } = await inputOf(2 * (waitingBytesMax / REQUEST.length + 1), () => {
    heads.push(input.detach());
  });
  while (!socket.isPaused()) await nextTurn();
  input.awaitHead();
  expect(heads).toHaveLength(1);
  expect(socket.isPaused()).toBe(true);
});
