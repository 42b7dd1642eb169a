// What the machine itself took for three things that nothing of ours is in, over and over while a bench
// runs: a process of its own, told by its parent to end, which then says all that it saw. Its argument is
// how far its looks are apart, milliseconds.

import { createHash } from "node:crypto";
import { once } from "node:events";
import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { MachineSample } from "./machine-meanwhile.ts";

const HASHED_BYTES = 65_536;
const WRITTEN_BYTES = 4_096;

const folder = mkdtempSync(join(tmpdir(), "altrace-machine-"));
const file = openSync(join(folder, "written"), "w");
const hashed = Buffer.alloc(HASHED_BYTES, 1);
const written = Buffer.alloc(WRITTEN_BYTES, 1);
const socket = await connectToEcho();
const samples: MachineSample[] = [];

// The first of each is compiled, and finds nothing in a cache.
await sample();
const timer = setInterval(async () => samples.push(await sample()), Number(process.argv[2]));
process.send?.("ready");
process.once("message", () => end());
process.once("disconnect", () => end());

async function sample(): Promise<MachineSample> {
  const hashUs = await micros(() => createHash("sha256").update(hashed).digest());
  const roundTripUs = await micros(async () => {
    socket.write("x");
    await once(socket, "data");
  });
  const syncUs = await micros(() => {
    writeSync(file, written, 0, WRITTEN_BYTES, 0);
    fdatasyncSync(file);
  });
  return { hashUs, roundTripUs, syncUs };
}

async function micros(work: () => unknown): Promise<number> {
  const startedNs = process.hrtime.bigint();
  await work();
  return Number(process.hrtime.bigint() - startedNs) / 1_000;
}

async function connectToEcho(): Promise<Socket> {
  const server = createServer({ noDelay: true }, (client) => client.pipe(client));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const client = connect({ port, host: "127.0.0.1", noDelay: true });
  await once(client, "connect");
  return client;
}

function end(): void {
  clearInterval(timer);
  closeSync(file);
  rmSync(folder, { recursive: true, force: true });
  if (process.connected) process.send?.(samples, () => process.exit(0));
  else process.exit(0);
}
