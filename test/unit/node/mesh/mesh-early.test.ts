import { mkdirSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { natsUser } from "../../../../adapters/nats-user.ts";
import type { MeshRehearsal, MeshWorkerData } from "../../../../node/mesh/mesh-worker.ts";
import { createTable } from "../../../../node/table/table.ts";
import { prepareThread } from "../../../../ports/prepared-thread.ts";
import { meshWal } from "../../../support/mesh-wal.ts";
import { tempDir } from "../../../support/temp-dir.ts";
import { eventually } from "../dataplane/door.ts";
import { MESH, signers } from "./mesh-world.ts";

const INFO = { server_id: "S", version: "2.12.0", proto: 1, headers: true, max_payload: 1 << 20 };

/** As much of a server as a client needs in order to be connected, and all that clients say to it. */
async function natsTwin() {
  const said: string[] = [];
  const server = createServer((socket) => {
    const no = said.push("") - 1;
    socket.on("error", () => socket.destroy());
    socket.write(`INFO ${JSON.stringify({ ...INFO, nonce: "n", auth_required: true })}\r\n`);
    socket.setEncoding("utf8").on("data", (text: string) => {
      said[no] += text;
      if (text.includes("PING\r\n")) socket.write("PONG\r\n");
    });
    onTestFinished(() => void socket.destroy());
  });
  onTestFinished(() => void server.close());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return { said, url: `nats://127.0.0.1:${port}` };
}

async function prepared(isKnown: boolean) {
  const folder = tempDir();
  onTestFinished(() => folder[Symbol.dispose]());
  const homeDir = join(folder.path, "node");
  mkdirSync(join(homeDir, "keys"), { recursive: true, mode: 0o700 });
  const user = isKnown ? natsUser(join(homeDir, "keys")) : undefined;
  const { said, url } = await natsTwin();
  const rehearsal: MeshRehearsal = { nodeId: "node-1", homeDir, bus: { kind: "nats", url } };
  const program = new URL("../../../../node/mesh/mesh-worker.ts", import.meta.url);
  const thread = prepareThread({ name: "mesh", program, youngMibMax: 6, rehearsal });
  onTestFinished(() => thread[Symbol.asyncDispose]());
  await thread.loaded;
  const begin = () => {
    const trustFile = join(folder.path, "trust.json");
    const operatorKey = Buffer.from(signers.operator.publicKey).toString("hex");
    writeFileSync(trustFile, JSON.stringify({ mesh: MESH, operator_public_key: operatorKey }));
    const data: MeshWorkerData = {
      tableBuffer: createTable({ rows: 8, loops: 1, scopes: 32, writers: 3, proofs: 64 }).buffer,
      nodeId: "node-1",
      bootId: "boot-1",
      homeDir,
      trustFile,
      bus: rehearsal.bus,
      timing: { deadManMs: 5_000, digestMs: 50, heartbeatMs: 200 },
      wal: meshWal(folder.path),
    };
    thread.begin(data);
  };
  return { said, user, begin };
}

test("a node that is to take another one's place is connected by then, as that one, and says nothing", async () => {
  const { said, user, begin } = await prepared(true);
  expect(said).toHaveLength(1);
  expect(said[0]).toContain(`"nkey":"${user?.publicKey}"`);
  expect(said[0]).not.toMatch(/^(SUB|PUB|HPUB) /m);
  begin();
  await eventually(() => /^SUB /m.test(said[0] ?? ""), "it listens");
  expect(said).toHaveLength(1);
});

test("one whose HOME has no key yet is not: it would make one beside its owner", async () => {
  const { said, begin } = await prepared(false);
  expect(said).toEqual([]);
  begin();
  await eventually(() => /^SUB /m.test(said[0] ?? ""), "it listens");
});
