import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import { describe, expect, test } from "vitest";
import { RELAY_LIMITS } from "../../../../node/dataplane/relay-limits.ts";
import { HELLO_TIMEOUT_MS, readHello } from "../../../../node/dataplane/tunnel/read-hello.ts";
import { twinClock } from "../../../../ports/twin-clock.ts";
import { dataFrame, EVENT_STREAM, relay } from "./relay-fixture.ts";

const { frameBytesMax, heldBytesMax, channelsMax, errorBytesMax } = RELAY_LIMITS;

const delta = (content: string, index = 0): Buffer =>
  Buffer.from(dataFrame({ choices: [{ index, delta: { content }, finish_reason: null }] }));

function streamed(frames: readonly Buffer[]) {
  const relayed = relay("openai");
  relayed.sink.onHead(200, EVENT_STREAM);
  for (const frame of frames) relayed.sink.onData(frame);
  return relayed;
}

const unscannable = [{ kind: "cut", reason: "response_unscannable" }];

describe("a stream is cut", () => {
  test("at an event that is longer than one may be", () => {
    expect(streamed([delta("x".repeat(frameBytesMax))]).outcomes).toMatchObject(unscannable);
  });

  test("when more would wait for a match than may be kept, and none of it is sent", () => {
    const size = frameBytesMax - 1_024;
    const behind = Array.from({ length: Math.ceil(heldBytesMax / size) }, () =>
      delta("x".repeat(size), 1),
    );
    const { exchange, outcomes } = streamed([delta("before "), delta("S-12"), ...behind]);
    expect(outcomes).toMatchObject(unscannable);
    expect(exchange.written).toBe(delta("before ").toString());
  });

  test("at one text more than may run side by side", () => {
    const texts = Array.from({ length: channelsMax }, (_, index) => delta("a", index));
    const relayed = streamed(texts);
    expect(relayed.outcomes).toEqual([]);
    relayed.sink.onData(delta("a", channelsMax));
    expect(relayed.outcomes).toMatchObject(unscannable);
  });
});

test("of a provider's error that is too long nothing is passed on", () => {
  const said = (bytes: number) => {
    const { exchange, sink } = relay("openai", { stream: false });
    sink.onHead(400, ["content-type", "application/json"]);
    sink.onData(Buffer.from(JSON.stringify({ error: { message: "e".repeat(bytes) } })));
    sink.onEnd();
    return exchange.answered?.body.toString() ?? "";
  };
  expect(said(100)).toContain("eeee");
  expect(said(errorBytesMax)).not.toContain("eeee");
  expect(said(errorBytesMax)).toContain("status 400");
});

test("a ClientHello that does not come whole in its time is hello_timeout", async () => {
  const clock = twinClock();
  const socket = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() });
  const first = Buffer.of(0x16, 0x03, 0x01, 0x00, 0x10);
  const reading = readHello(socket as Socket, { first, clock });
  clock.advance(HELLO_TIMEOUT_MS);
  expect(await reading).toEqual({ flaw: "hello_timeout" });
  expect(clock.pendingTimers).toBe(0);
});
