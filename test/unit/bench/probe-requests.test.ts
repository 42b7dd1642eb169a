import { expect, onTestFinished, test } from "vitest";
import { probeRequests } from "../../../bench/harness/probe-requests.ts";
import { openDoor, refusalOf, sendAndDrain } from "../node/dataplane/door.ts";

test("the probe of the benches sees each request's head, then its answer, by its client's id", async () => {
  const seen: [string, string, bigint][] = [];
  onTestFinished(probeRequests((...one) => void seen.push(one)));
  const door = await openDoor((exchange) => {
    const isLast = exchange.head.target === "/last";
    if (isLast) exchange.answer(refusalOf(403, "killed_agent"));
    else exchange.answer({ status: 200, headers: [], body: Buffer.from("it") });
  });
  const get = (target: string, headers: string) =>
    `GET ${target} HTTP/1.1\r\nHost: a\r\n${headers}\r\n`;
  await sendAndDrain(
    door.port,
    get("/", "X-Request-Id: first\r\n") + get("/", "") + get("/last", "x-request-id: last\r\n"),
  );
  expect(seen.map(([what, id]) => `${what} ${id}`)).toEqual([
    "h first",
    "w first",
    "h last",
    "w last",
  ]);
  const times = seen.map(([, , atNs]) => atNs);
  expect(times).toEqual([...times].sort((a, b) => Number(a - b)));
});

test("a request that is refused for its head is answered in one go too", async () => {
  const seen: string[] = [];
  onTestFinished(probeRequests((what, id) => void seen.push(`${what} ${id}`)));
  const door = await openDoor(() => expect.fail("nothing is to be served"));
  await sendAndDrain(door.port, "GET / HTTP/1.1\r\nx-request-id: one\r\n\r\n");
  expect(seen).toEqual(["h one", "w one"]);
});
