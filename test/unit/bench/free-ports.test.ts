import { createServer, type Server } from "node:net";
import { afterEach, beforeEach, expect, type MockInstance, test, vi } from "vitest";
import { freePort, freePortBase } from "../../../bench/harness/free-ports.ts";

let drawn: MockInstance<typeof Math.random>;
let server: Server | undefined;

beforeEach(() => {
  // The same number again and again, which nobody else draws: what is refused here was given here.
  const number = Math.random();
  drawn = vi.spyOn(Math, "random").mockReturnValue(number);
});
afterEach(() => {
  drawn.mockRestore();
  server?.close();
});

test("a port is given once, though nobody listens there yet", async () => {
  await freePort();
  await expect(freePort()).rejects.toThrow("no free port among 50");
});

test("of a base each port is given", async () => {
  const base = await freePortBase();
  for (const offset of [0, 80, 99]) {
    drawn.mockReturnValue((base + offset + 0.5 - 10_000) / (32_768 - 10_000));
    await expect(freePort(), `${offset}`).rejects.toThrow("no free port");
  }
  drawn.mockReturnValue((base + 80 + 0.5 - 10_000) / (32_000 - 10_000));
  await expect(freePortBase()).rejects.toThrow("no free port base among 50");
  // What was claimed for a base that was not given is free again.
  drawn.mockReturnValue((base + 81 + 0.5 - 10_000) / (32_768 - 10_000));
  expect(await freePort()).toBe(base + 81);
});

test("where somebody listens none is given", async () => {
  server = createServer();
  await new Promise<void>((resolve) => server?.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  drawn.mockReturnValue((port + 0.5 - 10_000) / (32_768 - 10_000));
  await expect(freePort()).rejects.toThrow("no free port");
});
