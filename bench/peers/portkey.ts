import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../../scripts/run-command.ts";
import { bringStep } from "./bring-peer.ts";
import type { LaunchOptions, Peer, PeerLaunch } from "./peer.ts";

const PACKAGE = "@portkey-ai/gateway";
const VERSION = "1.15.2";
/** Newer ones, which its range allows, give it headers that it cannot change: streams end with 500. */
const SERVER_VERSION = "1.13.8";

export const portkey: Peer = {
  name: "portkey",
  version: VERSION,
  origin: `npm, ${PACKAGE}`,
  fairness:
    "One process of the same Node that Altrace runs on, without its console. It takes the provider and its " +
    "credential from the request's headers. No guardrail is configured, so it scans nothing; it checks no " +
    "caller's key, holds no budget, and keeps no record. A stream waits 25 ms after its first frame, by its own code. " +
    `@hono/node-server is held at ${SERVER_VERSION}, with which its streams work.`,
  bring: async (folder) => {
    const manifest = { private: true, overrides: { "@hono/node-server": SERVER_VERSION } };
    writeFileSync(join(folder, "package.json"), JSON.stringify(manifest));
    const args = ["install", "--no-audit", "--no-fund", "--ignore-scripts", "--save-exact"];
    await bringStep("npm", [...args, `${PACKAGE}@${VERSION}`], { cwd: folder });
  },
  launch,
};

function launch({ folder, upstream, port }: LaunchOptions): PeerLaunch {
  const script = join(folder, "node_modules", PACKAGE, "build", "start-server.js");
  return {
    program: join(ROOT, "node_modules", ".bin", "node"),
    args: [script, "--headless", `--port=${port}`],
    env: { NODE_ENV: "production" },
    files: {},
    headers: { "x-portkey-provider": "openai", "x-portkey-custom-host": `${upstream}/v1` },
  };
}
