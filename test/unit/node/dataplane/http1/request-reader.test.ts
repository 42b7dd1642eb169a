import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { RequestReader } from "../../../../../node/dataplane/http1/request-reader.ts";
import type { Reason } from "../../../../../proto/reasons.ts";
import { proofCount } from "../../../../support/proof.ts";
import { bodyText as body, bytesOf, cutAt, headerField, shares, spoilt } from "../http-text.ts";
import { type Conversation, READER_LIMITS, readByUs, type Told } from "./conversation.ts";
import { readByNode } from "./oracle.ts";

const { count: RUNS, seed } = proofCount("requests that are read twice", {
  small: 300,
  full: 20_000,
});

const GET = "GET / HTTP/1.1\r\n";
const HOST = "Host: a\r\n";
const POST = `POST / HTTP/1.1\r\n${HOST}`;
const CHUNKED = `${POST}Transfer-Encoding: chunked\r\n\r\n`;

/** What is read of it, in one piece and a byte at a time. */
function read(text: string): Conversation {
  const bytes = bytesOf(text);
  const whole = readByUs([bytes]);
  const each = Array.from(bytes, (_, at) => bytes.subarray(at, at + 1));
  expect(readByUs(each)).toEqual(whole);
  return whole;
}

describe("a request", () => {
  test.each<[string, string, string]>([
    ["without a body", `${GET}${HOST}\r\n`, ""],
    ["of a declared length", `${POST}Content-Length: 5\r\n\r\nhello`, "hello"],
    ["of no length", `${POST}Content-Length: 0\r\n\r\n`, ""],
    ["in chunks", `${CHUNKED}2\r\nhe\r\n03\r\nllo\r\n0\r\n\r\n`, "hello"],
    ["in chunks with extensions", `${CHUNKED}5;a;b=c;d="e \\" f"\r\nhello\r\n0;z\r\n\r\n`, "hello"],
    ["with trailers", `${CHUNKED}5\r\nhello\r\n0\r\na: b\r\nc:\r\n\r\n`, "hello"],
    ["behind empty lines", `\r\n\r\n${POST}Content-Length: 2\r\n\r\nok`, "ok"],
  ])("%s is read", (_name, text, body) => {
    const { told, fault } = read(text);
    expect(fault).toBeUndefined();
    expect(told).toMatchObject([{ body, isWhole: true }]);
  });

  test("is told with its headers as they came, without the space around values", () => {
    const text = `GET /a?b=%20 HTTP/1.1\r\nHOST:a\r\nX-Twice: a\r\nx-twice:\t b c \t\r\nEmpty:\r\nhigh: \xe9\r\n\r\n`;
    const rawHeaders = ["HOST", "a", "X-Twice", "a", "x-twice", "b c", "Empty", "", "high", "\xe9"];
    const head = { method: "GET", target: "/a?b=%20", httpVersion: "1.1", rawHeaders };
    expect(read(text).told).toMatchObject([head]);
  });

  test("that follows another is read behind its last byte", () => {
    const second = `${CHUNKED}1\r\nb\r\n0\r\n\r\n`;
    const text = `${POST}Content-Length: 1\r\n\r\na${second}${GET}${HOST}\r\n`;
    expect(read(text).told.map(({ body }) => body)).toEqual(["a", "b", ""]);
  });
});

describe("no request is", () => {
  const header = (line: string) => `${GET}${HOST}${line}\r\n\r\n`;
  const line = (text: string) => `${text}\r\n${HOST}\r\n`;
  test.each<[string, string]>([
    ["a head of another protocol", "\x16\x03\x01\x02\x00\x01\x00"],
    ["a first line that ends with LF", `GET / HTTP/1.1\nHost: a\r\n\r\n`],
    ["a header that ends with LF", header("a: b\nc: d")],
    ["a head that ends with LF", `${GET}Host: a\n\n`],
    ["an empty line of LF before it", `\n${GET}${HOST}\r\n`],
    ["a CR alone", header("a: b\rc: d")],
    ["a line that goes on in the next", header("a: b\r\n c")],
    ["a first line that goes on", `${GET} a: b\r\n${HOST}\r\n`],
    ["no colon", header("a")],
    ["no name", header(": b")],
    ["space before the colon", header("a : b")],
    ["a tab before the colon", header("a\t: b")],
    ["space before the name", `${GET} Host: a\r\n\r\n`],
    ["space in a name", header("a b: c")],
    ["a NUL in a name", header("a\0: c")],
    ["a NUL in a value", header("a: b\0")],
    ["a DEL in a value", header("a: b\x7f")],
    ["a vertical tab in a value", header("a: b\x0bc")],
    ["two spaces behind the method", line("GET  / HTTP/1.1")],
    ["two spaces behind the target", line("GET /  HTTP/1.1")],
    ["space behind the version", line("GET / HTTP/1.1 ")],
    ["space before the method", line(" GET / HTTP/1.1")],
    ["a tab behind the method", line("GET\t/ HTTP/1.1")],
    ["no target", line("GET HTTP/1.1")],
    ["no version", line("GET /")],
    ["a version of another form", line("GET / HTTP/1.10")],
    ["another protocol's version", line("GET / ICE/1.0")],
    ["lower case", line("GET / http/1.1")],
    ["a method in lower case", line("get / HTTP/1.1")],
    ["a method that nobody knows", line("BREW / HTTP/1.1")],
    ["a target with a NUL", line("GET /\0 HTTP/1.1")],
    ["a target with a byte above ASCII", line("GET /\xe9 HTTP/1.1")],
    ["a chunk without a size", `${CHUNKED}\r\nhello\r\n`],
    ["a size with a sign", `${CHUNKED}+5\r\nhello\r\n0\r\n\r\n`],
    ["a size with a prefix", `${CHUNKED}0x5\r\nhello\r\n0\r\n\r\n`],
    ["a coding with a tab behind it", `${POST}Transfer-Encoding: chunked\t\r\n\r\n0\r\n\r\n`],
    ["a length with a tab before it", `${POST}Content-Length:\t2\r\n\r\nok`],
    ["space before a size", `${CHUNKED} 5\r\nhello\r\n0\r\n\r\n`],
    ["space behind a size", `${CHUNKED}5 \r\nhello\r\n0\r\n\r\n`],
    ["a size that ends with LF", `${CHUNKED}5\nhello\r\n0\r\n\r\n`],
    ["a size beyond all numbers", `${CHUNKED}fffffffffffffff\r\nhello\r\n`],
    ["a chunk that ends with LF", `${CHUNKED}5\r\nhello\n0\r\n\r\n`],
    ["a chunk longer than its size", `${CHUNKED}4\r\nhello\r\n0\r\n\r\n`],
    ["an extension that ends with LF", `${CHUNKED}5;a\nhello\r\n0\r\n\r\n`],
    ["an extension with a CR in quotes", `${CHUNKED}5;a="\r\nhello\r\n0\r\n\r\n`],
    ["an extension without a name", `${CHUNKED}5;\r\nhello\r\n0\r\n\r\n`],
    ["an extension without a value", `${CHUNKED}5;a=\r\nhello\r\n0\r\n\r\n`],
    ["space in an extension", `${CHUNKED}5; a\r\nhello\r\n0\r\n\r\n`],
    ["a last chunk that ends with LF", `${CHUNKED}5\r\nhello\r\n0\n\n`],
    ["a trailer that goes on", `${CHUNKED}0\r\na: b\r\n c\r\n\r\n`],
    ["a trailer that ends with LF", `${CHUNKED}0\r\na: b\n\r\n`],
    ["a trailer without a colon", `${CHUNKED}0\r\na\r\n\r\n`],
    ["a NUL in a trailer", `${CHUNKED}0\r\na: \0\r\n\r\n`],
    ["a length in a trailer", `${CHUNKED}0\r\na: b\r\nContent-Length: 0\r\n\r\n`],
    ["a coding in a trailer", `${CHUNKED}0\r\ntransfer-encoding: chunked\r\n\r\n`],
    ["an end of the connection in a trailer", `${CHUNKED}0\r\nConnection: close\r\n\r\n`],
    ["the same as proxies say it", `${CHUNKED}0\r\nproxy-connection: close\r\n\r\n`],
  ])("%s", (_name, text) => {
    const { told, fault } = read(text);
    expect(fault).toBe("malformed_http");
    expect(told.some(({ isWhole }) => isWhole)).toBe(false);
  });

  const { headBytesMax, chunkExtensionBytesMax } = READER_LIMITS;
  const { chunkExtensionsBytesMax, trailerBytesMax } = READER_LIMITS;
  const sized = (bytes: number) => {
    const begun = `${GET}${HOST}a: `;
    return `${begun}${"x".repeat(bytes - begun.length - 4)}\r\n\r\n`;
  };
  const emptyLines = (bytes: number) => {
    const lines = "\r\n".repeat(Math.floor(bytes / 4));
    return lines + sized(bytes - lines.length);
  };
  const extensions = (bytes: number) => {
    const each = `1;${"x".repeat(chunkExtensionBytesMax)}\r\na\r\n`;
    const full = Math.floor(bytes / chunkExtensionBytesMax);
    const rest = bytes - full * chunkExtensionBytesMax;
    const last = rest === 0 ? "" : `;${"x".repeat(rest)}`;
    return `${CHUNKED}${each.repeat(full)}0${last}\r\n\r\n`;
  };
  test.each<[string, number, (count: number) => string, Reason]>([
    ["headBytesMax", headBytesMax, sized, "head_too_large"],
    ["headBytesMax, empty lines before it included", headBytesMax, emptyLines, "head_too_large"],
    [
      "chunkExtensionBytesMax",
      chunkExtensionBytesMax,
      (count) => `${CHUNKED}1;${"x".repeat(count)}\r\na\r\n0\r\n\r\n`,
      "malformed_http",
    ],
    ["chunkExtensionsBytesMax", chunkExtensionsBytesMax, extensions, "malformed_http"],
    [
      "trailerBytesMax",
      trailerBytesMax,
      (count) => `${CHUNKED}0\r\na:${"x".repeat(count - 6)}\r\n\r\n`,
      "malformed_http",
    ],
  ])("one that has one more than %s", (_name, max, made, reason) => {
    expect(read(made(max))).toMatchObject({ told: [{ isWhole: true }], fault: undefined });
    expect(read(made(max + 1)).fault).toBe(reason);
  });

  test("what is too large and spoilt as well, which is said in whatever pieces it comes", () => {
    const long = "x".repeat(headBytesMax);
    expect(read(`${GET}a: \0${long}\r\n\r\n`).fault).toBe("malformed_http");
    expect(read(`${GET}a: ${long}\0\r\n\r\n`).fault).toBe("head_too_large");
  });

  test("anything behind a fault", () => {
    const reader = new RequestReader(READER_LIMITS);
    reader.push(Buffer.from("\0"));
    expect(reader.next()).toBe("fault");
    reader.push(Buffer.from(`${GET}${HOST}\r\n`));
    expect(reader.next()).toBe("fault");
  });
});

test("a head that comes a byte at a time is kept in memory that is taken a few times, and not at each byte", () => {
  const reader = new RequestReader(READER_LIMITS);
  const taken = vi.spyOn(Buffer, "allocUnsafeSlow");
  const bytes = bytesOf(`${GET}${HOST}a: ${"x".repeat(READER_LIMITS.headBytesMax / 2)}\r\n\r\n`);
  const readings = Array.from(bytes, (byte) => {
    reader.push(Buffer.of(byte));
    return reader.next();
  });
  const times = taken.mock.calls.length;
  taken.mockRestore();
  expect(readings.at(-1)).toBe("head");
  expect(times).toBeLessThan(32);
});

test("what waits takes no more memory for what was read before it, however much that was", () => {
  const reader = new RequestReader(READER_LIMITS);
  const taken = vi.spyOn(Buffer, "allocUnsafeSlow");
  const request = `${GET}${HOST}\r\n`;
  // The first bytes of the next request are there each time, so the reader never has read all.
  const piece = bytesOf((request.slice(10) + request.slice(0, 10)).repeat(1_000));
  reader.push(Buffer.from(request.slice(0, 10)));
  let heads = 0;
  for (let pushed = 0; pushed < 50; pushed += 1) {
    reader.push(Buffer.from(piece));
    for (let reading = reader.next(); reading !== "more"; reading = reader.next()) {
      if (reading !== "head") continue;
      reader.frame(0);
      heads += 1;
    }
  }
  const most = Math.max(...taken.mock.calls.map(([bytes]) => bytes));
  taken.mockRestore();
  expect([heads, reader.unreadBytes]).toEqual([50_000, 10]);
  expect(most).toBeLessThan(2 * piece.length);
});

test("no two pieces share memory, and what comes alone is not copied", () => {
  const reader = new RequestReader(READER_LIMITS);
  const one = `${POST}Content-Length: 2\r\n\r\nab`;
  reader.push(Buffer.from(`${one}${CHUNKED}1\r\nc\r\n1\r\nd\r\n0\r\n\r\n${one}`));
  const pieces: Buffer[] = [];
  const framings = [2, undefined, 2];
  for (let reading = reader.next(); reading !== "more"; reading = reader.next()) {
    if (reading === "head") reader.frame(framings.shift());
    if (reading === "body") pieces.push(reader.body);
  }
  expect(pieces.map(String)).toEqual(["ab", "cd", "ab"]);
  expect(new Set(pieces.map(({ buffer }) => buffer)).size).toBe(3);
  const alone = Buffer.from(one);
  reader.push(alone);
  reader.next();
  reader.frame(2);
  expect(reader.takeBody(2)?.buffer).toBe(alone.buffer);
});

test("a body that is there whole is taken at once, and the next request is read behind it", () => {
  const reader = new RequestReader(READER_LIMITS);
  const head = `${POST}Content-Length: 2\r\n\r\n`;
  reader.push(Buffer.from(`${head}a`));
  expect(reader.next()).toBe("head");
  reader.frame(2);
  expect(reader.takeBody(2)).toBeUndefined();
  reader.push(Buffer.from(`b${head}`));
  expect(String(reader.takeBody(2))).toBe("ab");
  expect([reader.hasBegunHead, reader.next()]).toEqual([true, "head"]);
});

test("an empty line behind a body is no beginning of the next request, and the first of its bytes is", () => {
  const reader = new RequestReader(READER_LIMITS);
  const begun = ["\r", "\n", "\r\n", "G"].map((bytes) => {
    reader.push(Buffer.from(bytes));
    return [reader.next(), reader.hasBegunHead];
  });
  expect(begun).toEqual([true, false, false, true].map((isBegun) => ["more", isBegun]));
});

test("a reader that is asked for more holds on to nothing that it has told", () => {
  const reader = new RequestReader(READER_LIMITS);
  reader.push(Buffer.from(`${GET}${HOST}\r\n`));
  expect([reader.next(), reader.head?.target]).toEqual(["head", "/"]);
  reader.frame(0);
  expect([reader.next(), reader.next(), reader.head]).toEqual(["whole", "more", undefined]);
});

/** Of what comes in the same read behind an offer of another protocol `node:http` reads nothing. */
function upToAnOffer(told: Conversation["told"]): Conversation["told"] {
  const offers = (one: Told) => one.rawHeaders.some((name) => /^upgrade$/i.test(name));
  const at = told.findIndex(offers);
  return at < 0 ? told : told.slice(0, at + 1);
}

describe("property:", () => {
  const field = headerField(
    /^(content-length|transfer-encoding|connection|upgrade|host|expect|proxy-connection)$/i,
  );
  const extension = fc.constantFrom("", "", ";a", ';a=b;c="d\\" e"');
  const chunked = fc
    .tuple(
      fc.array(fc.tuple(body, extension), { maxLength: 5 }),
      fc.constantFrom("", "", "a: b\r\n"),
    )
    .map(([chunks, trailer]) => {
      const sent = chunks
        .filter(([one]) => one !== "")
        .map(([one, said]) => `${one.length.toString(16)}${said}\r\n${one}\r\n`);
      return ["transfer-encoding: chunked\r\n", `${sent.join("")}0\r\n${trailer}\r\n`] as const;
    });
  const framed = fc.oneof(
    fc.constant(["", ""] as const),
    body.map((one) => [`Content-Length: ${one.length}\r\n`, one] as const),
    chunked,
  );
  const request = fc
    .record({
      method: fc.constantFrom("GET", "POST", "PUT", "DELETE", "M-SEARCH", "QUERY"),
      target: fc.stringMatching(/^\/[!"$-~]{0,12}$/),
      fields: fc.array(field, { maxLength: 4 }),
      framed,
    })
    .map((of) => {
      const lines = of.fields.map(([name, value]) => `${name}: ${value}\r\n`).join("");
      return `${of.method} ${of.target} HTTP/1.1\r\nHost: a\r\n${lines}${of.framed[0]}\r\n${of.framed[1]}`;
    });
  const requests = fc.array(request, { minLength: 1, maxLength: 3 }).map((all) => all.join(""));

  test("how requests are cut changes nothing, and node:http reads the same", async () => {
    await fc.assert(
      fc.asyncProperty(requests, shares, async (text, at) => {
        const bytes = bytesOf(text);
        const read = readByUs([bytes]);
        expect(read.fault).toBeUndefined();
        expect(readByUs(cutAt(bytes, at))).toEqual(read);
        expect(await readByNode(cutAt(bytes, at))).toEqual(read);
      }),
      { numRuns: RUNS / 2, seed: seed | 0 },
    );
  });

  const spoiltRequests = spoilt(requests, [
    ...['"', "\\", "=", "\x80", "\x7f", "0\r\n\r\n", "HTTP/1.0", "HTTP/1.1", "HTTP/2.0", "/"],
    ...["http://a/", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "Host: b\r\n"],
    ...["Connection: close\r\n", "Connection: keep-alive\r\n", "Expect: 100-continue\r\n"],
    ...["Upgrade: h2c\r\nConnection: upgrade\r\n"],
  ]);

  test("what is read of bytes that may be anything, node:http reads as well, and the same", async () => {
    await fc.assert(
      fc.asyncProperty(spoiltRequests, shares, async (text, at) => {
        const bytes = bytesOf(text);
        const read = readByUs([bytes]);
        expect(readByUs(cutAt(bytes, at))).toEqual(read);
        const theirs = await readByNode([bytes]);
        // Of what we refuse nothing is read behind it, whatever they make of it.
        const told = upToAnOffer(read.told);
        const whole = told.filter(({ isWhole }) => isWhole).length;
        expect(theirs.told.slice(0, whole)).toEqual(told.slice(0, whole));
        // A head that is not whole yet they may give up on before we do.
        const isAll = told.length === read.told.length;
        const compared = isAll ? theirs.told : theirs.told.slice(0, told.length);
        if (read.fault === undefined) expect(compared).toEqual(told);
      }),
      { numRuns: RUNS, seed: seed | 0 },
    );
  });
});
