import { join } from "node:path";
import { bringStep } from "./bring-peer.ts";
import { type LaunchOptions, PEER_KEY, type Peer, type PeerLaunch } from "./peer.ts";

const VERSION = "1.108.7";

export const litellm: Peer = {
  name: "litellm",
  version: VERSION,
  origin: "PyPI, litellm[proxy]",
  fairness:
    "One worker. It checks one static key and counts tokens; there is no database behind it, so it holds no " +
    "budget and keeps no record of spend. No guardrail is configured, so it scans nothing.",
  bring: async (folder) => {
    await bringStep("python3", ["-m", "venv", "venv"], { cwd: folder });
    const pip = join(folder, "venv", "bin", "pip");
    const args = ["install", "--quiet", "--disable-pip-version-check"];
    await bringStep(pip, [...args, `litellm[proxy]==${VERSION}`], { cwd: folder });
  },
  launch,
};

function launch({ folder, scratch, upstream, port }: LaunchOptions): PeerLaunch {
  const config = join(scratch, "config.yaml");
  const listen = ["--host", "127.0.0.1", "--port", String(port)];
  return {
    program: join(folder, "venv", "bin", "litellm"),
    args: ["--config", config, ...listen, "--num_workers", "1", "--telemetry", "False"],
    env: {
      LITELLM_MODE: "PRODUCTION",
      LITELLM_LOG: "ERROR",
      // Its list of prices, which it would fetch from elsewhere.
      LITELLM_LOCAL_MODEL_COST_MAP: "True",
      NO_DOCS: "True",
    },
    files: {
      "config.yaml": `model_list:
  - model_name: gpt-5-mini
    litellm_params:
      model: openai/gpt-5-mini
      api_base: ${upstream}/v1
      api_key: fixture
general_settings:
  master_key: ${PEER_KEY}
litellm_settings:
  telemetry: false
  num_retries: 0
`,
    },
  };
}
