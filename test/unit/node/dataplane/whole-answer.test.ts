import { expect, test } from "vitest";
import { HOST, openDoor } from "./door.ts";

/** Every value of a byte, over and over: no encoding of text has all of them. */
const bytesOf = (length: number): Buffer => Buffer.from(Array.from({ length }, (_, i) => i % 256));

test.each([0, 1, 256, 4_096, 4_097, 100_000])(
  "an answer of %i bytes arrives as it is, and the connection goes on",
  async (length) => {
    const door = await openDoor((exchange) => {
      const headers = ["content-type", "application/octet-stream"];
      exchange.answer({ status: 200, headers, body: bytesOf(length) });
    });
    const url = `http://${HOST}:${door.port}/`;
    for (let no = 0; no < 2; no += 1) {
      const answer = await fetch(url);
      expect(Buffer.from(await answer.arrayBuffer())).toEqual(bytesOf(length));
      expect(answer.headers.get("content-length")).toBe(String(length));
      expect(answer.headers.get("connection")).toBe("keep-alive");
    }
    expect(door.faults).toEqual([]);
  },
);
