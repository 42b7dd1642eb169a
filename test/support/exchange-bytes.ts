import { connect } from "node:net";

/** What a server said on one connection until it closed it, or until the client gave up. */
export type Said = {
  /** 0: nothing that is an answer. */
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
};

const GIVE_UP_MS = 60_000;

/**
 * Sends bytes as they are and reads until the server closes.
 *
 * @param parts Written one after another; a number is a pause in ms.
 */
export function exchangeBytes(origin: string, ...parts: (string | Buffer | number)[]) {
  const { hostname, port } = new URL(origin);
  return new Promise<Said>((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port) });
    const answer: Buffer[] = [];
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new Error(`no close after:\n${Buffer.concat(answer).toString("latin1")}`));
    }, GIVE_UP_MS);
    socket.on("data", (chunk: Buffer) => answer.push(chunk));
    // A reset after the answer is how a lingering close may end.
    socket.on("error", () => undefined);
    socket.on("close", () => {
      clearTimeout(timer);
      resolve(readSaid(Buffer.concat(answer).toString("latin1")));
    });
    void write(parts, socket);
  });
}

async function write(
  parts: readonly (string | Buffer | number)[],
  socket: ReturnType<typeof connect>,
): Promise<void> {
  for (const part of parts) {
    if (socket.destroyed) return;
    if (typeof part === "number") await new Promise((resolve) => setTimeout(resolve, part));
    else socket.write(part);
  }
}

function readSaid(text: string): Said {
  const [head = "", ...rest] = text.split("\r\n\r\n");
  const [first = "", ...lines] = head.split("\r\n");
  const headers = lines.map((line) => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const;
  });
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(first)?.[1] ?? 0);
  return { status, headers: new Map(headers), body: rest.join("\r\n\r\n") };
}
