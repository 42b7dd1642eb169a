import { http } from "../../../ports/http-module.ts";
import { isNamed } from "../head-rules.ts";
import { HEADER_VALUE_FORM, TOKEN_FORM } from "./header-lines.ts";

/**
 * Status line and headers of an answer, each with its end, a character a byte.
 *
 * @param date Said of an answer that does not say itself when it was made.
 * @throws Error on what could be read as more than it is: a name or a value that could end its line.
 */
export function answerHead(status: number, headers: readonly string[], date = ""): string {
  let isDated = false;
  let text = statusLine(status);
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] as string;
    const value = headers[i + 1] as string;
    if (!TOKEN_FORM.test(name)) throw new Error(`invalid header: ${name}`);
    if (!HEADER_VALUE_FORM.test(value)) throw new Error(`invalid value of ${name}`);
    text += `${name}: ${value}\r\n`;
    isDated ||= name.length === 4 && isNamed(name, "date");
  }
  return isDated ? text : text + date;
}

function statusLine(status: number): string {
  if (status === 200) return "HTTP/1.1 200 OK\r\n";
  return `HTTP/1.1 ${status} ${http.STATUS_CODES[status] ?? "unknown"}\r\n`;
}

let lastDate = { second: -1, text: "" };

/** The header that says when an answer was made. */
export function dateLine(nowMs: number): string {
  const second = Math.floor(nowMs / 1_000);
  if (second !== lastDate.second) {
    lastDate = { second, text: `Date: ${new Date(nowMs).toUTCString()}\r\n` };
  }
  return lastDate.text;
}
