import { hash } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:tls";
import { Worker } from "node:worker_threads";
import { verifyEd25519 } from "../../adapters/ed25519.ts";
import { holderJwk } from "../../authority/holder-key.ts";
import { Possession } from "../../node/possession.ts";
import { createRowOwner } from "../../node/table/rows.ts";
import { createTable } from "../../node/table/table.ts";
import type { RowGrant } from "../../node/thread-messages.ts";
import { twinClock } from "../../ports/twin-clock.ts";
import { proofOf } from "../../test/support/agent-key.ts";
import { AUTHORITY, HOLDERS, root, testKey } from "../../test/support/contract-forge.ts";
import { selfSigned } from "../../test/unit/node/dataplane/self-signed.ts";
import { costOf } from "./cost-of.ts";

const URL_ASKED = "http://node-1:4000/v1/models";
const SENT = 150;

/**
 * The dearest token that somebody who holds nothing can send: all of its proof is right but the
 * signature, so that is looked at.
 */
export function badTokenCost(): number {
  const clock = twinClock();
  const table = createTable({ rows: 2, loops: 1, scopes: 4, writers: 1 });
  createRowOwner(table).allot({ team: 1, agent: 2, contract: 3 });
  const secret = new Uint8Array(32);
  const possession = new Possession({ table, clock, verify: verifyEd25519, secret });
  const key = HOLDERS[1];
  const { id } = root();
  const contract = { holder: holderJwk(key.publicKey), rate: AUTHORITY.rate };
  const row = { row: 0, contractId: id, contract } as unknown as RowGrant;
  const nonce = possession.headers(row)[1] as string;
  const of = { token: id, url: URL_ASKED, nowS: Math.floor(clock.nowMs() / 1_000), nonce };
  const proof = proofOf(key, of, { signedBy: testKey(66) });
  const presented = { id, tokenSha256: hash("sha256", id, "base64url"), proof };
  const rawHeaders = ["host", "node-1:4000"];
  const head = { method: "POST", target: "/v1/models", rawHeaders, peer: "::1" };
  return costOf(() => {
    const said = possession.objection(row, presented, head)?.missing;
    if (said !== "proof_signature") throw new Error(`the sample is ${said}`);
    return said.length;
  });
}

/** What sending it costs its sender: a connection each, since a refusal ends the one that it came on. */
export async function sendingOverTlsCost(): Promise<number> {
  const { key, cert } = selfSigned("node-1");
  const worker = new Worker(new URL("./tls-sink.ts", import.meta.url), {
    workerData: { key, cert },
  });
  const [port] = (await once(worker, "message")) as [number];
  const token = `POST / HTTP/1.1\r\nauthorization: DPoP ${"x".repeat(43)}\r\ndpop: ${"x".repeat(600)}\r\n\r\n`;
  const sendOne = async () => {
    const socket = connect({ host: "127.0.0.1", port, ca: cert, servername: "node-1" });
    socket.end(token);
    socket.resume();
    await once(socket, "close");
  };
  for (let no = 0; no < SENT / 5; no++) await sendOne();
  const before = process.threadCpuUsage();
  for (let no = 0; no < SENT; no++) await sendOne();
  const { user, system } = process.threadCpuUsage(before);
  await worker.terminate();
  return (user + system) / SENT;
}
