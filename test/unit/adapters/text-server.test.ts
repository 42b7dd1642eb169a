import { once } from "node:events";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { expect, onTestFinished, test } from "vitest";
import { startAdminServer } from "../../../adapters/admin-server.ts";
import {
  CONNECTIONS_MAX,
  startTextServer,
  type TextAnswer,
} from "../../../adapters/text-server.ts";

async function setUp(answer: () => Promise<TextAnswer | undefined>) {
  const asked: string[] = [];
  const bugs: unknown[] = [];
  const server = await startTextServer({
    host: "127.0.0.1",
    port: 0,
    answer: async ({ url = "" }) => {
      asked.push(url);
      return answer();
    },
    onBug: (error) => bugs.push(error),
  });
  onTestFinished(() => server.close());
  const dial = async () => {
    const socket = connect(server.port, "127.0.0.1");
    onTestFinished(() => void socket.destroy());
    socket.on("error", () => undefined);
    await once(socket, "connect");
    return socket;
  };
  return { asked, bugs, dial, url: `http://127.0.0.1:${server.port}/` };
}

const GET = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

test("a connection that asks again before it was answered is cut, and asked for nothing more", async () => {
  const { asked, dial, url } = await setUp(async () => ({ status: 200, text: "ok\n" }));
  const greedy = await dial();
  greedy.write(GET.repeat(1_000));
  await text(greedy).catch(() => undefined);
  expect(asked).toHaveLength(1);

  const patient = await dial();
  for (let turn = 0; turn < 3; turn++) {
    patient.write(GET);
    const [answer] = await once(patient, "data");
    expect(String(answer)).toContain("200 OK");
  }
  expect(await (await fetch(url)).text()).toBe("ok\n");
});

test("idle connections keep nobody out: the oldest gives way", async () => {
  const { dial, url } = await setUp(async () => ({ status: 200, text: "ok\n" }));
  const idle = [];
  for (let i = 0; i < CONNECTIONS_MAX; i++) idle.push(await dial());
  for (const socket of idle) socket.resume();
  // Its end is here when answers that left later are.
  for (let i = 0; i < 3; i++) expect(await (await fetch(url)).text()).toBe("ok\n");
  expect([idle[0]?.closed, idle.at(-1)?.closed]).toEqual([true, false]);
});

test("what cannot be answered is told to whoever asked, and to us", async () => {
  const { bugs, url } = await setUp(() => Promise.reject(new Error("no")));
  expect((await fetch(url, { method: "POST", body: "x" })).status).toBe(500);
  expect(bugs).toEqual([new Error("no")]);
});

test("metrics that many ask for together are made once, and a failure ends nothing", async () => {
  let made = 0;
  let isBroken = false;
  const waiting = Promise.withResolvers<void>();
  const bugs: unknown[] = [];
  const server = await startAdminServer({
    host: "127.0.0.1",
    port: 0,
    metrics: async () => {
      made++;
      if (isBroken) throw new Error("no metrics");
      await waiting.promise;
      return { contentType: "text/plain", text: `made ${made}\n` };
    },
    notReady: () => [],
    onBug: (error) => bugs.push(error),
  });
  onTestFinished(() => server.close());
  const url = `http://127.0.0.1:${server.port}`;
  const asked = [];
  for (let i = 0; i < 3; i++) {
    const socket = connect(server.port, "127.0.0.1");
    onTestFinished(() => void socket.destroy());
    await once(socket, "connect");
    const question = "GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    await new Promise((resolve) => socket.write(question, resolve));
    asked.push(text(socket));
  }
  // What lay there when the first of these was answered has been read when the second one is.
  for (let i = 0; i < 2; i++) await fetch(`${url}/healthz`);
  waiting.resolve();
  for (const answer of await Promise.all(asked)) expect(answer).toMatch(/\r\n\r\n.*made 1\n/s);

  isBroken = true;
  expect((await fetch(`${url}/metrics`)).status).toBe(500);
  expect(bugs).toEqual([new Error("no metrics")]);
});
