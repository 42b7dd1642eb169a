import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { systemClock } from "../../adapters/system-clock.ts";
import { packPolicy } from "../../mesh/policy-parts.ts";
import { contentScanner } from "../../node/content-scanner.ts";
import { renderFinding } from "../../policy/findings.ts";
import { type ReadPolicy, readPolicy } from "../../policy/read-policy.ts";
import type { CommandState } from "../../proto/gen/altrace/v1/coordinator_service_pb.ts";
import { type CommandContext, CommandError } from "../command-context.ts";
import { nodeLines, summary } from "../command-words.ts";
import { carrySigned } from "../operator-record.ts";
import { type PolicyProgress, policyLines, policyProgress } from "../policy-progress.ts";
import { followCommand } from "./follow-command.ts";

/** How long nodes may take to put a policy in force that they have: of 100,000 agents, in slices beside their load. */
const DECIDED_MS = 120_000;
const LOOK_EVERY_MS = 100;

/** `altrace policy check <file>`: everything that is wrong with it, at once. */
export function checkPolicy(context: CommandContext, file: string): void {
  const read = readPolicyFile(file);
  const findings = read.findings.map((finding) => ({ ...finding, text: renderFinding(finding) }));
  context.output.result({ ok: read.ok, findings }, () => {
    for (const { text } of findings) context.output.line(text);
    if (read.ok) context.output.line(`${file}: ok, ${read.bundle.length} bytes, ${hashOf(read)}`);
  });
  if (!read.ok) throw new CommandError(`${file}: not a policy`, 2);
}

/** `altrace policy apply <file>`: signs it with the operator's key and sends it to every node. */
export async function applyPolicy(
  context: CommandContext,
  file: string,
  options: { readonly wait?: boolean },
): Promise<void> {
  const read = readPolicyFile(file);
  if (!read.ok) {
    for (const finding of read.findings) context.output.error(renderFinding(finding));
    throw new CommandError(`${file}: not a policy; nothing was applied`, 2);
  }
  const command = await sendPolicy(context, read.bundle);
  const final = options.wait ? await followCommand(context, command.cmdId, 60_000) : command;
  const progress = options.wait ? await decidedEverywhere(context, final.v) : undefined;
  context.output.result({ command: final, sha256: hashOf(read), policy: progress }, () => {
    context.output.line(`policy ${hashOf(read)} as version ${final.v}`);
    context.output.line(summary(final, false));
    if (final.nodes.length > 0) context.output.line(nodeLines(final, systemClock.nowMs()));
    if (progress) for (const line of policyLines(progress)) context.output.line(line);
  });
  if (progress === undefined) return;
  const { refused, waiting } = progress;
  if (refused.length > 0) throw new CommandError(`refused by ${refused.length} nodes`);
  if (waiting.length > 0) throw new CommandError("not every node has said what became of it");
}

/** Nodes have the record; that they decide by it is another matter, which each of them says. */
async function decidedEverywhere(context: CommandContext, v: bigint): Promise<PolicyProgress> {
  const { calls } = context.coordinator();
  const endMs = systemClock.nowMs() + DECIDED_MS;
  for (;;) {
    const progress = policyProgress((await calls.listNodes({})).nodes, v);
    if (progress.waiting.length === 0 || systemClock.nowMs() > endMs) return progress;
    await pause(LOOK_EVERY_MS);
  }
}

/** Signs a bundle and has the coordinator carry it. */
export async function sendPolicy(
  context: CommandContext,
  bundle: Uint8Array,
): Promise<CommandState> {
  const { policy: value, parts } = packPolicy(bundle);
  const { calls } = context.coordinator();
  for (const part of parts) await calls.putPolicyPart({ part });
  const { command } = await carrySigned(context, "policy", { case: "policy", value }, (record) =>
    calls.applyPolicy({ record }),
  );
  if (command === undefined)
    throw new CommandError("the coordinator did not say what became of it");
  return command;
}

function readPolicyFile(file: string): ReadPolicy {
  return readPolicy(textOf(file), { file, scanner: contentScanner });
}

function textOf(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (cause) {
    throw new CommandError(
      `${file}: ${cause instanceof Error ? cause.message : "not readable"}`,
      2,
    );
  }
}

function hashOf(read: Extract<ReadPolicy, { ok: true }>): string {
  return `sha256:${createHash("sha256").update(read.bundle).digest("hex")}`;
}
