// A program as an agent's pod runs it: the official SDK at the provider's own address, with no word of a
// proxy. Each line on standard input is one act; each outcome is said.
import { lookup } from "node:dns/promises";
import { once } from "node:events";
import { writeSync } from "node:fs";
import { createInterface } from "node:readline";
import { connect, type TLSSocket } from "node:tls";
import OpenAI from "openai";

type Act =
  | { readonly ask: string; readonly key: string }
  | { readonly resolve: string }
  | { readonly tunnel: string; readonly at: string }
  | { readonly through: string };

const say = (what: object) => writeSync(1, `${JSON.stringify(what)}\n`);

/** The newest tunnel to each name. */
const tunnels = new Map<string, TLSSocket>();

async function act(what: Act): Promise<object> {
  if ("resolve" in what) {
    const { address } = await lookup(what.resolve);
    return { resolved: what.resolve, address };
  }
  if ("tunnel" in what) return tunnel(what.tunnel, what.at);
  if ("through" in what) return through(what.through);
  const openai = new OpenAI({ apiKey: what.key, maxRetries: 0 });
  const answer = await openai.chat.completions.create({
    model: "gpt-5-mini",
    messages: [{ role: "user", content: what.ask }],
  });
  return { asked: what.ask, answer: answer.choices[0]?.message.content };
}

/** TLS to a name, at an address that this program chose itself. */
function tunnel(name: string, host: string): Promise<object> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port: 443, servername: name, rejectUnauthorized: false });
    tunnels.set(name, socket);
    socket.once("secureConnect", () => resolve({ tunnel: name }));
    let how: string | undefined;
    socket.once("error", (error: NodeJS.ErrnoException) => {
      how = error.code;
      reject(error);
    });
    socket.once("close", () => say({ ended: name, how }));
  });
}

/** Whether somebody at the other end of a tunnel still answers. */
async function through(name: string): Promise<object> {
  const socket = tunnels.get(name);
  if (socket === undefined || socket.destroyed) throw new Error(`no tunnel to ${name}`);
  const body = JSON.stringify({ model: "any", messages: [{ role: "user", content: "there?" }] });
  socket.write(
    `POST /v1/chat/completions HTTP/1.1\r\nhost: ${name}\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
  const [first] = (await Promise.race([once(socket, "data"), once(socket, "close")])) as [Buffer];
  return { through: name, answer: first.toString("latin1").split("\r\n")[0] };
}

createInterface({ input: process.stdin }).on("line", (line) => {
  const what = JSON.parse(line) as Act;
  act(what).then(say, (error: NodeJS.ErrnoException & { status?: number; headers?: Headers }) =>
    say({
      failed: what,
      status: error.status,
      reason: error.headers?.get("x-altrace-reason"),
      code: error.code ?? String(error),
    }),
  );
});
say({ ready: true });
