/** How a body is sent: header lines that say where it ends, and what comes behind the head. A character a byte. */
export type Framing = (body: string) => readonly [lines: string, raw: string];

const hex = (body: string) => body.length.toString(16);
const chunked = (body: string, behindSize = "") =>
  `${hex(body)}${behindSize}\r\n${body}\r\n0\r\n\r\n`;
const TE = "Transfer-Encoding: chunked\r\n";
const length = (body: string) => `Content-Length: ${body.length}\r\n`;

/** Coding beside a length that covers all, and a length that covers the size line alone. */
const twice = (coding: string): readonly Framing[] => [
  (body) => [`${length(chunked(body))}${coding}`, chunked(body)],
  (body) => [`${coding}Content-Length: ${hex(body).length + 2}\r\n`, chunked(body)],
];
/** With nothing beside it. */
const coded =
  (coding: string): Framing =>
  (body) => [coding, chunked(body)];
const sized =
  (line: (bytes: number) => string): Framing =>
  (body) => [line(body.length), body];

/** What has one reading. */
export const PLAIN: readonly Framing[] = [
  (body) => [length(body), body],
  (body) => [TE, chunked(body)],
  (body) => [TE, chunked(body, ';a="b\\" c";d')],
  (body) => [`${TE}Trailer: x\r\n`, `${hex(body)}\r\n${body}\r\n0\r\nx: y\r\n\r\n`],
  (body) => [`Expect: 100-continue\r\n${length(body)}`, body],
  (body) => [`${length(body)}Connection: content-length\r\n`, body],
  (body) => [`${TE}Connection: transfer-encoding\r\n`, chunked(body)],
  (body) => [`${length(body)}Connection: close\r\n`, body],
];

const CODINGS: readonly Framing[] = [
  ...twice(TE),
  ...[" chunked", "\tchunked", "chunked\t", "\x0bchunked", "chunked\x0c", "\r\n chunked"]
    .concat("xchunked", "chunkedx", '"chunked"', "chunked, identity", "chunked;q=1", "\xa0chunked")
    .map((value) => `Transfer-Encoding:${value}\r\n`)
    .flatMap((coding) => [coded(coding), ...twice(coding)]),
  ...["Transfer-Encoding : chunked\r\n", " Transfer-Encoding: chunked\r\n", `${TE}${TE}`]
    .concat(`X: y\n${TE}`, `X: y\r${TE}`, `X: y\0\r\n${TE}`, `${TE}Transfer-Encoding: x\r\n`)
    .concat(`${TE}Transfer-Encoding:\r\n`, "Transfer_Encoding: chunked\r\n")
    .concat("transfer-encoding:CHUNKED\r\n", "Transfer-Encoding\r\n: chunked\r\n")
    .flatMap((coding) => [coded(coding), ...twice(coding)]),
];

const LENGTHS: readonly Framing[] = [
  ...[
    (bytes: number) => `Content-Length: ${bytes}\r\nContent-Length: ${bytes}\r\n`,
    (bytes: number) => `Content-Length: ${bytes}\r\nContent-Length: 0\r\n`,
    (bytes: number) => `Content-Length: 0\r\nContent-Length: ${bytes}\r\n`,
    (bytes: number) => `Content-Length: ${bytes}, ${bytes}\r\n`,
    (bytes: number) => `Content-Length: +${bytes}\r\n`,
    (bytes: number) => `Content-Length: -${bytes}\r\n`,
    (bytes: number) => `Content-Length: 0${bytes}\r\n`,
    (bytes: number) => `Content-Length: 0x${bytes.toString(16)}\r\n`,
    (bytes: number) => `Content-Length: ${bytes}.0\r\n`,
    (bytes: number) => `Content-Length: ${bytes} 0\r\n`,
    (bytes: number) => `Content-Length : ${bytes}\r\n`,
    (bytes: number) => `Content-Length: ${bytes}\r\n\t\r\n`,
    (bytes: number) => `Content-Length: ${bytes + 1}\r\n`,
    (bytes: number) => `Content-Length: ${bytes - 1}\r\n`,
    (bytes: number) => `Content-Length:\r\n ${bytes}\r\n`,
    () => "",
  ].map(sized),
];

const CHUNKS: readonly Framing[] = [
  ...[" ", "\t", ";", ";\n", "\n", ';a="\r\n', ";a\r", "g", "\0"].map(
    (behind): Framing =>
      (body) => [TE, chunked(body, behind)],
  ),
  ...["0x", "+", "-", " ", "000000000000000000", "ffffffff00000000"].map(
    (before): Framing =>
      (body) => [TE, `${before}${chunked(body)}`],
  ),
  ...["0\n\n", "0\r\n\n", "0\r\nContent-Length: 9\r\n\r\n", "0\r\n x: y\r\n\r\n", "0;\r\n\r\n"].map(
    (last): Framing =>
      (body) => [TE, `${hex(body)}\r\n${body}\r\n${last}`],
  ),
  ...["", "\n", "\r", "xx", "\r\n\r\n", " \r\n"].map(
    (end): Framing =>
      (body) => [TE, `${hex(body)}\r\n${body}${end}0\r\n\r\n`],
  ),
];

/** What somebody is known to read in another way than others do, by where it is said. */
export const ODD: readonly (readonly Framing[])[] = [CODINGS, LENGTHS, CHUNKS];
