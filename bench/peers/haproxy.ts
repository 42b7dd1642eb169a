import { join } from "node:path";
import { unpackDebian, unpackedLibraries } from "./debian.ts";
import type { LaunchOptions, Peer, PeerLaunch } from "./peer.ts";

const VERSION = "2.6.12-1+deb12u4";
/** What its package needs and few machines have. */
const LIBRARIES = ["liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1"];

export const haproxy: Peer = {
  name: "haproxy",
  version: VERSION,
  origin: "Debian",
  fairness:
    "The floor. One thread, connections to the provider reused, no log. It reads no body, knows no agent, key, " +
    "model, token or price, injects no credential, and keeps no record. It hands on what has come meanwhile as one: the hundred chunks of a " +
    "stream are one read at its client, where nginx hands on some ninety times.",
  bring: (folder) => unpackDebian(folder, [`haproxy=${VERSION}`, ...LIBRARIES]),
  launch,
};

function launch({ folder, scratch, upstream, port }: LaunchOptions): PeerLaunch {
  return {
    program: join(folder, "usr", "sbin", "haproxy"),
    args: ["-db", "-f", join(scratch, "haproxy.cfg")],
    env: { LD_LIBRARY_PATH: unpackedLibraries(folder) },
    files: {
      "haproxy.cfg": `global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend agents
  bind 127.0.0.1:${port}
  default_backend provider
backend provider
  server provider ${new URL(upstream).host}
`,
    },
  };
}
