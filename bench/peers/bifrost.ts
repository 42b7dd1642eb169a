import { join } from "node:path";
import { findGo } from "../../scripts/go-toolchain.ts";
import { bringStep } from "./bring-peer.ts";
import { type LaunchOptions, NotToBeHad, type Peer, type PeerLaunch } from "./peer.ts";

const MODULE = "github.com/maximhq/bifrost/transports/bifrost-http";
const VERSION = "v1.3.9";

export const bifrost: Peer = {
  name: "bifrost",
  version: VERSION,
  origin: `Go, ${MODULE}`,
  fairness:
    "Never run here so far, since the module proxy refuses its module: set up as its manual says. As many threads as there are processors, as Go has it. No store and no plugin is configured: it checks no " +
    "caller's key, scans nothing, holds no budget, and keeps no record.",
  bring: async (folder) => {
    const go = await findGo({ ownOnly: false }).catch((cause: unknown) => {
      throw new NotToBeHad("there is no Go, and none could be brought", { cause });
    });
    const env = { GOBIN: folder, GOFLAGS: "-trimpath", CGO_ENABLED: "1" };
    await bringStep(go, ["install", `${MODULE}@${VERSION}`], { cwd: folder, env });
  },
  launch,
};

/** @see https://docs.getbifrost.ai/deployment-guides/config-json */
function launch({ folder, scratch, upstream, port }: LaunchOptions): PeerLaunch {
  const key = { name: "fixture", value: "fixture", models: ["gpt-5-mini"], weight: 1 };
  const config = {
    client: { drop_excess_requests: false, enable_logging: false },
    providers: { openai: { keys: [key], network_config: { base_url: upstream } } },
    config_store: { enabled: false },
    logs_store: { enabled: false },
  };
  const listen = ["-host", "127.0.0.1", "-port", String(port)];
  return {
    program: join(folder, "bifrost-http"),
    args: ["-app-dir", scratch, ...listen, "-log-level", "error"],
    files: { "config.json": JSON.stringify(config) },
    path: "/openai/v1/chat/completions",
  };
}
