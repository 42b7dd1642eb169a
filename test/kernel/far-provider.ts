// Stands outside under several names, each with TLS: the agents' provider, and others. Each line on
// standard input is a question, and is answered with who was connected to, and what was received.
import { writeSync } from "node:fs";
import { createInterface } from "node:readline";
import { startProvider } from "../support/start-provider.ts";
import { TlsFront } from "../support/tls-front.ts";

const say = (what: object) => writeSync(1, `${JSON.stringify(what)}\n`);
const names = JSON.parse(process.argv[2] as string) as Readonly<Record<string, string>>;
const provider = await startProvider();
const fronts: TlsFront[] = [];
for (const [name, host] of Object.entries(names)) {
  const front = new TlsFront(name, new URL(provider.origin));
  await front.listen({ host, port: 443 });
  fronts.push(front);
}
createInterface({ input: process.stdin }).on("line", () =>
  say({
    connections: Object.fromEntries(fronts.map(({ name, seen }) => [name, seen.length])),
    open: Object.fromEntries(
      fronts.map(({ name, seen }) => [name, seen.filter((one) => !one.destroyed).length]),
    ),
    received: provider.received,
  }),
);
say({ ready: true, certificates: fronts.map(({ certificate }) => certificate) });
