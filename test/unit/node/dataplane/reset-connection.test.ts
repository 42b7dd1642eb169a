import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { connect as connectTls, TLSSocket } from "node:tls";
import { expect, onTestFinished, test } from "vitest";
import { resetConnection } from "../../../../node/dataplane/reset-connection.ts";
import { carriesTls } from "../../../../node/dataplane/tls/wire-under.ts";
import { selfSigned } from "./self-signed.ts";

async function connectedPair(): Promise<{ ours: Socket; theirs: Socket }> {
  const server = createServer({ allowHalfOpen: true });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const theirs = connect((server.address() as { port: number }).port, "127.0.0.1");
  theirs.on("error", () => {});
  const [[ours]] = (await Promise.all([once(server, "connection"), once(theirs, "connect")])) as [
    [Socket],
    unknown,
  ];
  onTestFinished(() => {
    theirs.destroy();
    server.close();
  });
  return { ours, theirs };
}

test("an open connection is reset", async () => {
  const { ours, theirs } = await connectedPair();
  const failed = new Promise<NodeJS.ErrnoException>((resolve) => theirs.on("error", resolve));
  resetConnection(ours);
  expect((await failed).code).toBe("ECONNRESET");
});

test("a connection whose FIN is on its way out closes", async () => {
  const { ours } = await connectedPair();
  ours.end();
  resetConnection(ours);
  await once(ours, "close");
});

test("a connection whose TLS has sent a FIN by itself closes", async () => {
  const { ours, theirs } = await connectedPair();
  const { key, cert } = selfSigned("localhost");
  const server = new TLSSocket(ours, { isServer: true, key, cert });
  const client = connectTls({ socket: theirs, rejectUnauthorized: false });
  carriesTls(ours, server);
  for (const one of [server, client]) one.on("error", () => {});
  await once(client, "secureConnect");
  server.end();
  resetConnection(ours);
  await once(ours, "close");
});

test("a connection that ended with bytes unsent is reset", async () => {
  const { ours, theirs } = await connectedPair();
  theirs.pause();
  const failed = new Promise<NodeJS.ErrnoException>((resolve) => theirs.on("error", resolve));
  ours.end(Buffer.alloc(64_000_000));
  resetConnection(ours);
  theirs.resume();
  expect((await failed).code).toBe("ECONNRESET");
});

test("a closed connection stays closed", async () => {
  const { ours } = await connectedPair();
  ours.destroy();
  resetConnection(ours);
  expect(ours.destroyed).toBe(true);
});
