import assert from "node:assert/strict";
import { readByUs } from "../unit/node/dataplane/http1/conversation.ts";
import type { Target } from "./target.ts";

const POST = "POST /v1/x HTTP/1.1\r\nHost: a\r\n";

/** What a client sends on one connection. */
export const REQUEST: Target = {
  name: "request",
  seeds: [
    `${POST}Content-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: a\r\n\r\n`,
    `${POST}Transfer-Encoding: chunked\r\n\r\n3;a=b;c="d"\r\nabc\r\n0\r\nx: y\r\n\r\n`,
    `\r\n${POST}Expect: 100-continue\r\nConnection: close\r\n\r\n`,
  ].map((text) => new Uint8Array(Buffer.from(text))),
  words: [
    "\r\n",
    "\n",
    "\r",
    " ",
    "\t",
    ":",
    "Host: b\r\n",
    "Content-Length: 3\r\n",
    "Content-Length: 5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "0\r\n\r\n",
    "GET / HTTP/1.1\r\n",
    "HTTP/1.0",
    ';a="',
    "\\",
    "\x00",
  ],
  run: (bytes, cut) => {
    const whole = readByUs([bytes]);
    const pieces = readByUs([bytes.subarray(0, cut), bytes.subarray(cut)]);
    assert.deepEqual(pieces, whole, "where it is cut must not matter");
    for (const { method, target, rawHeaders, body, isWhole } of whole.told) {
      assert.match(method, /^[A-Z-]+$/);
      assert.match(target, /^\/[!-~]*$/);
      assert.ok(
        rawHeaders.every((one) => !/[\r\n\0]/.test(one)),
        "nothing could end a line",
      );
      const names = rawHeaders.filter((_, i) => i % 2 === 0).map((name) => name.toLowerCase());
      assert.equal(names.filter((name) => name === "host").length, 1);
      const at = names.indexOf("content-length");
      const isChunked = names.includes("transfer-encoding");
      assert.ok(at < 0 || !isChunked, "a body with two framings is refused");
      const length = at < 0 ? 0 : Number(rawHeaders[2 * at + 1]);
      if (isWhole && !isChunked) assert.equal(body.length, length, "a body is what was declared");
    }
  },
};
