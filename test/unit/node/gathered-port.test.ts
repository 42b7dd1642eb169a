import { once } from "node:events";
import { setImmediate as nextTurn } from "node:timers/promises";
import { MessageChannel, type MessagePort } from "node:worker_threads";
import { afterEach, expect, test } from "vitest";
import { gatheredPort, MESSAGES_GATHERED_MAX } from "../../../node/gathered-port.ts";

let open: MessagePort | undefined;
afterEach(() => open?.close());

/** What crosses, as it crosses, and what whoever listens at the other end hears. */
function way(urgent?: (message: string) => boolean) {
  const { port1, port2 } = new MessageChannel();
  open = port1;
  const crossed: unknown[] = [];
  const heard: unknown[] = [];
  port2.on("message", (message) => crossed.push(message));
  gatheredPort(port2).on("message", (message) => heard.push(message));
  return { port: gatheredPort(port1, urgent as never), port1, port2, crossed, heard };
}

test("what is posted in one turn crosses as one message and is heard as many, in order", async () => {
  const { port, crossed, heard } = way();
  for (const word of ["a", "b", "c"]) port.postMessage(word);
  await expect.poll(() => heard).toEqual(["a", "b", "c"]);
  expect(crossed).toHaveLength(1);
});

test("one that is alone crosses as itself, at the end of its turn", async () => {
  const { port, crossed, heard } = way();
  port.postMessage("a");
  await nextTurn();
  port.postMessage("b");
  await expect.poll(() => heard).toEqual(["a", "b"]);
  expect(crossed).toEqual(["a", "b"]);
});

test("what is urgent goes at once and takes along what waits", async () => {
  const { port, port2, crossed, heard } = way((message) => message === "now");
  port.postMessage("a");
  port.postMessage("now");
  port.postMessage("b");
  // Before any turn has ended: it is there already.
  await once(port2, "message");
  expect(crossed[0]).toMatchObject({ messages: ["a", "now"] });
  await expect.poll(() => heard).toEqual(["a", "now", "b"]);
});

test("a handed-over port comes after what was posted before it", async () => {
  const { port, heard } = way();
  const other = new MessageChannel();
  port.postMessage("a");
  port.postMessage({ given: other.port1 }, [other.port1]);
  await expect.poll(() => heard.length).toBe(2);
  expect(heard[0]).toBe("a");
  other.port2.close();
});

test("no message stands for more than the most, and the rest follows", async () => {
  const { port, crossed, heard } = way();
  for (let no = 0; no <= MESSAGES_GATHERED_MAX; no += 1) port.postMessage(no);
  await expect.poll(() => heard.length).toBe(MESSAGES_GATHERED_MAX + 1);
  expect(crossed).toHaveLength(2);
  expect(crossed[1]).toBe(MESSAGES_GATHERED_MAX);
});

test("closing sends what waits first", async () => {
  const { port, port2, heard } = way();
  const closed = once(port2, "close");
  port.postMessage("last");
  port.close();
  await closed;
  expect(heard).toEqual(["last"]);
});
