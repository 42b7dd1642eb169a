import { HEADER_VALUE_FORM, TOKEN_FORM } from "../http1/header-lines.ts";
import type { OriginCall } from "./call.ts";

/** As HTTP/2 spells them. */
const NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
const PATH = /^\/[\x21-\x7e\x80-\xff]*$/;

/** Of a connection, or of where a message ends: said here and by nobody else. */
const OURS: ReadonlySet<string> = new Set([
  ...["host", "connection", "keep-alive", "proxy-connection", "upgrade"],
  ...["transfer-encoding", "te", "trailer", "expect"],
]);

/** Methods that say by themselves that something follows. */
const SENDS: ReadonlySet<string> = new Set(["POST", "PUT", "PATCH"]);

/**
 * The head of a request, a character a byte, with the empty line.
 *
 * Whatever a caller hands over, one request comes of it: what could end a line is a fault, thrown before anything
 * is opened or written for it.
 */
export function requestHead(
  { method, path, headers, body, upgrade }: OriginCall,
  of: { readonly host: string; readonly persists: boolean },
): string {
  if (!TOKEN_FORM.test(method)) throw new Error("invalid method");
  if (!PATH.test(path)) throw new Error("invalid path");
  let head = `${method} ${path} HTTP/1.1\r\nhost: ${of.host}\r\n`;
  if (upgrade !== undefined) head += `connection: upgrade\r\nupgrade: ${upgrade}\r\n`;
  else head += of.persists ? "connection: keep-alive\r\n" : "connection: close\r\n";
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] as string;
    const value = headers[i + 1] as string;
    if (!NAME.test(name) || OURS.has(name)) throw new Error(`invalid header: ${name}`);
    if (!HEADER_VALUE_FORM.test(value)) throw new Error(`invalid value of ${name}`);
    if (name !== "content-length") head += `${name}: ${value}\r\n`;
    else if (value !== String(body.length)) throw new Error("content-length is not the body's");
  }
  const hasLength = body.length > 0 || SENDS.has(method);
  return hasLength ? `${head}content-length: ${body.length}\r\n\r\n` : `${head}\r\n`;
}
