import type { Output } from "../output.ts";
import { table } from "../output.ts";
import type { Running } from "./up.ts";

const FIRST_AGENT = "research/worker-1";

/** Says where everything listens: one JSON line for programs, or what to paste next for people. */
export function announce({ node, demo, coordinator }: Running, home: string, output: Output): void {
  const { gateway, forward, grpcSocket, metrics } = node.addresses;
  const ready = {
    ready: true,
    gateway,
    forward,
    grpc: { node: grpcSocket, coordinator: `unix:${home}/coordinator.sock` },
    metrics,
    keys: demo.keys,
    home,
  };
  output.result(ready, () => {
    const rows = [
      ["gateway", gateway],
      ["forward proxy", forward],
      ["node gRPC", ready.grpc.node],
      ["coordinator gRPC", ready.grpc.coordinator],
      ["node metrics", metrics],
      ["coordinator metrics", `http://127.0.0.1:${coordinator.adminPort()}/metrics`],
      ["providers", demo.providers],
      ["state", home],
    ];
    output.line(`altrace is up: one coordinator, one node, mesh ${coordinator.mesh}\n`);
    output.line(table(rows.map(([name = "", value = ""]) => [`  ${name}`, value])));
    output.line("\n  keys of the demo agents (this HOME alone keeps them)");
    for (const [agent, key] of Object.entries(demo.keys)) output.line(`    ${agent}  ${key}`);
    output.line(howToGoOn(gateway, demo.keys[FIRST_AGENT] ?? ""));
  });
}

function howToGoOn(gateway: string, key: string): string {
  return `
Ask a model as ${FIRST_AGENT}:
  curl -s ${gateway}/v1/chat/completions -H 'content-type: application/json' \\
    -H 'authorization: Bearer ${key}' \\
    -d '{"model":"gpt-5-mini","messages":[{"role":"user","content":"hello"}]}'

Or point an SDK here, in another terminal:
  eval "$(npm run -s altrace -- env ${FIRST_AGENT})"

Then stop it, and undo that:
  npm run -s altrace -- kill agent/${FIRST_AGENT} --wait
  npm run -s altrace -- revive agent/${FIRST_AGENT} --wait
`;
}
