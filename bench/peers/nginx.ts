import { join } from "node:path";
import { unpackDebian } from "./debian.ts";
import type { LaunchOptions, Peer, PeerLaunch } from "./peer.ts";

const VERSION = "1.22.1-9+deb12u11";

export const nginx: Peer = {
  name: "nginx",
  version: VERSION,
  origin: "Debian",
  fairness:
    "The floor. One worker, connections to the provider kept alive, no buffering, no access log. It reads no " +
    "body, knows no agent, key, model, token or price, injects no credential, and keeps no record.",
  bring: (folder) => unpackDebian(folder, [`nginx=${VERSION}`]),
  launch,
};

function launch({ folder, scratch, upstream, port }: LaunchOptions): PeerLaunch {
  const file = (name: string) => join(scratch, name);
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (name) => `  ${name}_temp_path ${file(name)};`,
  );
  return {
    program: join(folder, "usr", "sbin", "nginx"),
    args: ["-p", scratch, "-c", file("nginx.conf"), "-e", file("error.log")],
    files: {
      "nginx.conf": `daemon off;
worker_processes 1;
pid ${file("nginx.pid")};
error_log ${file("error.log")} warn;
events { worker_connections 4096; }
http {
  access_log off;
${temporary.join("\n")}
  keepalive_requests 1000000;
  upstream provider {
    server ${new URL(upstream).host};
    keepalive 64;
    keepalive_requests 1000000;
  }
  server {
    listen 127.0.0.1:${port};
    client_max_body_size 16m;
    location / {
      proxy_pass http://provider;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }
  }
}
`,
    },
  };
}
