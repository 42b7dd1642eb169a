import assert from "node:assert/strict";
import { hash } from "node:crypto";
import {
  agreedHeaders,
  handshakeObjection,
} from "../../node/dataplane/tunnel/web-socket-handshake.ts";
import type { Target } from "./target.ts";

const KEY = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const asked = `sec-websocket-version\n13\nsec-websocket-key\n${KEY}\nsec-websocket-protocol\nrealtime`;
const answered = `upgrade\nwebsocket\nsec-websocket-accept\n${ACCEPT}`;

/** A line for each name and each value: of what is asked, then behind an empty line of the answer. */
export const HANDSHAKE: Target = {
  name: "handshake",
  seeds: [
    `${asked}\n\n${answered}`,
    `${asked}\n\n${answered}\nsec-websocket-protocol\nrealtime`,
  ].map((text) => new Uint8Array(Buffer.from(text))),
  words: [
    "\nsec-websocket-version\n13",
    "\nsec-websocket-key\n",
    KEY,
    ACCEPT,
    "\nsec-websocket-extensions\npermessage-deflate",
    "\nsec-websocket-protocol\nrealtime, x",
    "Sec-WebSocket-",
    "websocket",
    "\n\n",
    " ",
    "\t",
  ],
  run: (bytes) => {
    const [left = "", right = ""] = Buffer.from(bytes).toString("latin1").split("\n\n", 2);
    const rawHeaders = flat(left);
    if (handshakeObjection(rawHeaders) !== undefined) return;
    const said = (name: string) =>
      rawHeaders.flatMap((one, i) =>
        i % 2 === 0 && one.toLowerCase() === name ? [(rawHeaders[i + 1] as string).trim()] : [],
      );
    assert.deepEqual(said("sec-websocket-version"), ["13"]);
    const [key = ""] = said("sec-websocket-key");
    assert.equal(Buffer.from(key, "base64").length, 16);
    const protocols = said("sec-websocket-protocol");
    assert.ok(protocols.length === 0 || protocols.join() === "realtime");
    const answer: Record<string, string> = {};
    const fields = flat(right);
    for (let i = 0; i + 1 < fields.length; i += 2) {
      answer[(fields[i] as string).toLowerCase()] = fields[i + 1] as string;
    }
    const headers = agreedHeaders(rawHeaders, answer);
    if (headers === undefined) return;
    assert.equal(answer["sec-websocket-accept"], hash("sha1", `${key}${GUID}`, "base64"));
    assert.equal(answer["sec-websocket-extensions"], undefined, "nothing was asked to be packed");
    assert.ok(headers.every((one) => /^[\x20-\x7e]*$/.test(one)));
    if (headers.includes("sec-websocket-protocol")) assert.deepEqual(protocols, ["realtime"]);
  },
};

function flat(text: string): readonly string[] {
  const fields = text.split("\n");
  return fields.length % 2 === 0 ? fields : fields.slice(0, -1);
}
