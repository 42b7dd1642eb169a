import { once } from "node:events";
import { connect, createServer } from "node:tls";
import { expect, onTestFinished, test } from "vitest";
import { createKeyPair } from "../../../adapters/signing-keys.ts";
import { certifyHost, certifyNode, createRoot } from "../../../adapters/x509-authority.ts";

const NOW_MS = Date.now();
const HOUR_MS = 3_600_000;

async function chainFor(hosts: readonly string[], host: string, notAfterMs = NOW_MS + HOUR_MS) {
  const root = await createRoot({ name: "root", nowMs: NOW_MS, validMs: 2 * HOUR_MS });
  const node = await createKeyPair();
  const certificate = await certifyNode({
    root,
    publicKey: node.publicKey,
    name: "node",
    hosts,
    nowMs: NOW_MS - 2 * HOUR_MS,
    notAfterMs,
  });
  const keys = await createKeyPair();
  const intermediate = { certificate, privateKey: node.privateKey };
  const leaf = await certifyHost({ intermediate, publicKey: keys.publicKey, host, nowMs: NOW_MS });
  return { ca: root.certificate, key: keys.privateKey, cert: `${leaf}\n${certificate}` };
}

/** What a client that trusts the root says to a server with that chain. */
async function shown(host: string, chain: Awaited<ReturnType<typeof chainFor>>): Promise<string> {
  const server = createServer({ key: chain.key, cert: chain.cert }).listen(0, "127.0.0.1");
  server.on("tlsClientError", () => undefined);
  onTestFinished(() => void server.close());
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  const client = connect({ port, host: "127.0.0.1", servername: host, ca: chain.ca });
  onTestFinished(() => void client.destroy());
  return new Promise((resolve) => {
    client.on("secureConnect", () => resolve("trusted"));
    client.on("error", (error) => resolve(error.message));
  });
}

test("a node's certificate is taken for the hosts that it was given", async () => {
  const hosts = ["api.example.com", "llm.example.org"];
  expect(await shown("api.example.com", await chainFor(hosts, "api.example.com"))).toBe("trusted");
});

test("clients themselves refuse it for any other host", async () => {
  const chain = await chainFor(["api.example.com"], "bank.example.com");
  expect(await shown("bank.example.com", chain)).toBe("permitted subtree violation");
});

test("clients refuse it once its time is over", async () => {
  const chain = await chainFor(["api.example.com"], "api.example.com", NOW_MS - HOUR_MS);
  expect(await shown("api.example.com", chain)).toBe("certificate has expired");
});
