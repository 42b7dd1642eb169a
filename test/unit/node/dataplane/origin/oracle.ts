import { Duplex } from "node:stream";
import { Client } from "undici";
import { AnswerReader } from "../../../../../node/dataplane/origin/answer-reader.ts";

/** What was made of an answer. */
export type Told = {
  readonly status: number;
  readonly rawHeaders: readonly string[];
  /** A character a byte. */
  readonly body: string;
};

/** What a reader makes of an answer: these bytes, and then the end of the connection. A string: its fault. */
export function toldByReader(method: string, pieces: readonly Uint8Array[]): Told | string {
  const reader = new AnswerReader();
  reader.begin({ method });
  let body = "";
  for (const piece of pieces) {
    // As a connection does: into a buffer that the next read overwrites, with something behind what was read.
    const into = Buffer.alloc(piece.length + 8, "\r\n");
    into.set(piece);
    reader.push(into, piece.length);
    let reading = reader.next();
    for (; reading !== "more"; reading = reader.next()) {
      if (reading === "body") body += Buffer.from(reader.body).toString("latin1");
      else if (reading !== "head") break;
    }
    if (reading === "whole") return toldBy(reader, body);
    if (reading !== "more") return reader.fault || reading;
  }
  return reader.finish() === "whole" ? toldBy(reader, body) : reader.fault;
}

function toldBy({ head }: AnswerReader, body: string): Told {
  if (head === undefined) throw new Error("an answer has a head");
  return { status: head.status, rawHeaders: head.rawHeaders, body };
}

/** What undici, whose parser is llhttp, makes of the same. Undefined: it is a fault. */
export async function toldByUndici(
  method: string,
  pieces: readonly Uint8Array[],
): Promise<Told | undefined> {
  const client = new Client("http://origin.invalid", {
    pipelining: 1,
    allowH2: false,
    connect: (_options, done) => queueMicrotask(() => done(null, farSide(pieces) as never)),
  });
  try {
    return await new Promise<Told>((resolve, reject) => {
      const told = { status: 0, rawHeaders: [] as string[], body: "" };
      client.dispatch(
        { path: "/", method: method as "GET" },
        {
          onRequestStart: () => undefined,
          onResponseStart: ({ rawHeaders }, status) => {
            told.status = status;
            const raw = (rawHeaders ?? []) as readonly (string | Buffer)[];
            // It leaves a tab behind a value, which is no part of it: RFC 9110, section 5.5.
            told.rawHeaders = raw.map((one) =>
              (typeof one === "string" ? one : one.toString("latin1")).replace(/[\t ]+$/, ""),
            );
          },
          onResponseData: (_controller, chunk) => {
            told.body += Buffer.from(chunk).toString("latin1");
          },
          onResponseEnd: () => resolve(told),
          onResponseError: (_controller, error) => reject(error),
        },
      );
    });
  } catch {
    return undefined;
  } finally {
    await client.destroy();
  }
}

/** A connection whose far side says this once it was asked anything, and then closes. */
function farSide(pieces: readonly Uint8Array[]): Duplex {
  let isAsked = false;
  return new Duplex({
    read: () => undefined,
    write(_chunk, _encoding, done) {
      done();
      if (isAsked) return;
      isAsked = true;
      queueMicrotask(() => {
        for (const piece of pieces) this.push(piece);
        this.push(null);
      });
    },
  });
}
