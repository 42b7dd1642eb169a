// Stands where the proxy stands: accepts on the listeners it has inherited, says who came for what,
// and lets through only a TLS connection to allowed.example, which it dials by an address of its own.
import { existsSync, readFileSync, writeSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { createInterface } from "node:readline";

import { knockSocket } from "../../adapters/knock-socket.ts";
import { turnAtLauncher } from "../../adapters/turn-at-launcher.ts";
import { openDnsDoor } from "../../node/dataplane/names/dns-door.ts";
import { DNS_PORT } from "../../node/kernel/kernel-view.ts";
import { isTaken, knockOf } from "../../node/kernel/knock-form.ts";

const say = (what: object) => writeSync(1, `${JSON.stringify(what)}\n`);
const fds = (process.env.ALTRACE_TRANSPARENT_FDS ?? "").split(",").map(Number);
const open = new Set<Socket>();
const holds = new Set<Socket>();

function take(socket: Socket): void {
  open.add(socket);
  const agent = socket.remoteAddress;
  const dst = `${socket.localAddress}:${socket.localPort}`;
  socket.on("error", () => undefined);
  socket.on("close", () => open.delete(socket));
  socket.once("data", (first) => {
    const text = first.toString("latin1");
    if (text.startsWith("LONG")) {
      holds.add(socket);
      socket.on("close", () => holds.delete(socket));
      socket.on("data", (more) => socket.write(more));
    }
    if (text.startsWith("HOLD") || text.startsWith("LONG")) {
      say({ held: agent, dst });
      socket.write("held");
      return;
    }
    const allowed = first[0] === 0x16 && text.includes("allowed.example");
    say({ captured: agent, dst, allowed });
    if (!allowed) return void socket.resetAndDestroy();
    const upstream = connect({ host: process.env.PROBE_ALLOWED as string, port: 443 });
    upstream.on("error", () => socket.destroy());
    upstream.write(first);
    upstream.pipe(socket).pipe(upstream);
  });
}

// As a node does that takes another one's place: what takes long is behind it before it is its turn.
const { ALTRACE_TURN_FD: turn, PROBE_FLAW: flaw } = process.env;
if (turn !== undefined) {
  if (flaw !== undefined && existsSync(flaw)) process.exit(3);
  say({ prepared: process.pid });
  await turnAtLauncher(Number(turn));
}

// The real resolver, with a judge that knows one name.
await openDnsDoor({
  hosts: (process.env.PROBE_DNS ?? "0.0.0.0,::").split(","),
  port: DNS_PORT,
  judge: (source, name) => {
    say({ asked: name, by: source });
    return name === "allowed.example" ? "granted" : "unknown";
  },
  onFault: (error) => say({ fault: String(error) }),
});

let left = fds.length;
for (const fd of fds) {
  createServer(take).listen({ fd }, 4096, () => {
    left -= 1;
    if (left > 0) return;
    const status = readFileSync("/proc/self/status", "utf8");
    say({ ready: true, uid: process.getuid?.(), capEff: /CapEff:\s*(\w+)/.exec(status)?.[1] });
  });
}
createInterface({ input: process.stdin }).on("line", (address) => {
  const knock = knockOf(address);
  const heard = knockSocket(Number(process.env.ALTRACE_KNOCK_FD))(knock);
  say({ knocked: address, taken: heard !== undefined && isTaken(knock, heard) });
});
process.on("SIGUSR2", () => {
  for (const socket of open) socket.resetAndDestroy();
});
process.on("SIGTERM", () => process.exit(0));
// Another one waits: those that hold a connection are let go on until they end.
process.on("SIGHUP", () => {
  say({ replaced: process.pid });
  setInterval(() => holds.size === 0 && process.exit(0), 5);
});
