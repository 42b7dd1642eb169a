import assert from "node:assert/strict";
import { headOfConnection } from "../../node/dataplane/head-of-connection.ts";
import { readHttp2Head } from "../../node/dataplane/http2/http2-head.ts";
import { VIA } from "../unit/node/dataplane/http2/via.ts";
import type { Target } from "./target.ts";

const HEAD_BYTES_MAX = 2_048;
const FRAMING = /^(content-length|transfer-encoding)$/;

/** A line for each name and each value of a head. */
export const HTTP2_HEAD: Target = {
  name: "http2-head",
  seeds: [
    ":method\nPOST\n:scheme\nhttps\n:authority\na\n:path\n/v1/x\ncontent-length\n3",
    ":method\nGET\n:scheme\nhttps\n:path\n/\nhost\na:443\nexpect\n100-continue",
  ].map((text) => new Uint8Array(Buffer.from(text))),
  words: [
    "\n:authority\nb",
    "\nhost\nb",
    "\nhost\na",
    "\n:scheme\nhttp",
    "\ncontent-length\n3",
    "\ntransfer-encoding\nchunked",
    "\n:protocol\nwebsocket",
    "CONNECT",
    "A:443",
    "\n",
    ":path",
  ],
  run: (bytes, cut) => {
    const fields = Buffer.from(bytes).toString("latin1").split("\n");
    const rawHeaders = fields.length % 2 === 0 ? fields : fields.slice(1);
    const read = readHttp2Head(rawHeaders, {
      hasBody: cut % 2 === 0,
      headBytesMax: HEAD_BYTES_MAX,
    });
    assert.ok(read.rawHeaders.every((name, i) => i % 2 === 1 || !name.startsWith(":")));
    if ("reason" in read) return;
    const framing = headOfConnection(
      { httpVersion: "1.1", ...read },
      { via: VIA, headersMax: 128 },
    );
    if ("reason" in framing) return;
    assert.ok(bytes.length <= HEAD_BYTES_MAX + fields.length, "a head has a bound");
    const named = (name: string) =>
      rawHeaders.flatMap((one, i) => (i % 2 === 0 && one === name ? [rawHeaders[i + 1]] : []));
    for (const host of [...named(":authority"), ...named("host")]) {
      assert.match(host ?? "", /^a(:443)?$/i, "no word of a request names another host");
    }
    assert.deepEqual(named(":scheme"), ["https"]);
    const framings = read.rawHeaders.filter((one, i) => i % 2 === 0 && FRAMING.test(one));
    assert.ok(framings.length <= 1, "a body with two framings is refused");
    assert.match(read.target, /^\/[\x21-\x7e]*$/);
  },
};
