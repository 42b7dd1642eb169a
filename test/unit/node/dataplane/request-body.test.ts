import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../../../adapters/system-clock.ts";
import { GATEWAY_LIMITS } from "../../../../node/dataplane/gateway-limits.ts";
import { ClientInput } from "../../../../node/dataplane/http1/client-input.ts";
import { RequestBody } from "../../../../node/dataplane/request-body.ts";
import type { Reason } from "../../../../proto/reasons.ts";

const LIMITS = { bytesMax: 1_000, timeoutMs: 60_000 };
const HEAD = "POST / HTTP/1.1\r\nhost: a\r\n\r\n";

/** A request of which these pieces have come, one by one, before anybody asks for its body. */
async function requestOf(pieces: readonly string[]) {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = connect((server.address() as AddressInfo).port, "127.0.0.1");
  client.setNoDelay(true);
  const [socket] = (await once(server, "connection")) as [Socket];
  onTestFinished(() => {
    client.destroy();
    socket.destroy();
    server.close();
  });
  const length = pieces.join("").length;
  let body: RequestBody | undefined;
  const faults: Reason[] = [];
  const input: ClientInput = new ClientInput(socket, GATEWAY_LIMITS, {
    onHead: () => {
      input.frame(length);
      body = new RequestBody(input, length);
    },
    onFault: ({ reason }) => void faults.push(reason),
    onHeadBegun: () => undefined,
    onEnd: () => undefined,
  });
  input.awaitHead();
  let sent = 0;
  for (const piece of [HEAD, ...pieces]) {
    client.write(piece);
    sent += piece.length;
    while (socket.bytesRead < sent) await nextTurn();
  }
  if (body === undefined) throw new Error(`no head was told: ${faults}`);
  return { body, client, input, socket };
}

test.each([[["whole"]], [["in ", "three ", "pieces"]]])(
  "a body that is there is taken whole and at once, however it came: %j",
  async (pieces) => {
    const { body } = await requestOf(pieces);
    const read = body.read(LIMITS, systemClock);
    expect(String(read)).toBe(pieces.join(""));
    expect([body.receivedBytes, body.isComplete()]).toEqual([pieces.join("").length, true]);
  },
);

test("a body of which nobody has asked yet is kept up to a bound, and then left with the kernel", async () => {
  const { waitingBytesMax } = GATEWAY_LIMITS;
  const { body, client, socket } = await requestOf([]);
  expect(body.isComplete()).toBe(true);
  client.write(Buffer.alloc(64 * waitingBytesMax));
  while (!socket.isPaused()) await nextTurn();
  await nextTurn();
  // What one read more brings is taken in.
  expect(socket.bytesRead).toBeLessThan(waitingBytesMax + 2 * 64 * 1024);
});
