import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { readWordTimes } from "../../../bench/harness/word-times.ts";

const WORDS = [" one", " two", " three"];

/** Reads WORDS from a server that answers so. */
async function read(answer: (response: ServerResponse) => void) {
  const server = createServer((request, response) => {
    request.resume().on("end", () => answer(response));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  return readWordTimes({ origin: `http://127.0.0.1:${port}`, key: "k", name: "n", words: WORDS });
}

function frame(content: string): string {
  return `data: ${JSON.stringify({ choices: [{ delta: { content } }] })}\n\n`;
}

test("a word counts when its last letter came, in whatever pieces", async () => {
  const times = await read((response) => {
    const whole = `${frame(" one t")}${frame("wo thre")}${frame("e")}data: [DONE]\n\n`;
    response.write(whole.slice(0, 20));
    setImmediate(() => response.end(whole.slice(20)));
  });
  expect(times).toHaveLength(3);
  expect(times.toSorted((one, other) => Number(one - other))).toEqual(times);
});

test.each([
  ["a word too few", frame(" one two"), 200, "not the words"],
  ["other words", frame(" one two tree"), 200, "not the words"],
  ["a refusal", "", 403, "not 403"],
])("%s is no measurement", async (_, body, status, message) => {
  await expect(read((response) => response.writeHead(status).end(body))).rejects.toThrow(message);
});
