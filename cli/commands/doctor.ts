import { existsSync } from "node:fs";
import { probeDisk } from "../../adapters/disk-probe.ts";
import { hostFacts } from "../../adapters/host-facts.ts";
import { natsInfo } from "../../adapters/nats-info.ts";
import { probePort } from "../../adapters/port-probe.ts";
import { systemClock } from "../../adapters/system-clock.ts";
import { FORWARD_PORT_OFFSET, METRICS_PORT_OFFSET } from "../../node/config.ts";
import { errorMessage } from "../../ports/error-message.ts";
import { type CommandContext, CommandError } from "../command-context.ts";
import { checkHome } from "../doctor/check-home.ts";
import { type Finding, skip } from "../doctor/finding.ts";
import { judgeMesh, judgeNode } from "../doctor/judge-daemons.ts";
import {
  judgeClock,
  judgeDisk,
  judgeFiles,
  judgeNats,
  judgePort,
  judgeRuntime,
} from "../doctor/judge-host.ts";
import { judgeRecords } from "../doctor/judge-records.ts";
import { judgeStreams } from "../doctor/judge-streams.ts";
import { table } from "../output.ts";

export type DoctorOptions = { readonly portBase?: string; readonly natsUrl?: string };

const TIMEOUT_MS = 2_000;
const PORT_MAX = 65_535 - 99;

/**
 * `altrace doctor`: what of this host, HOME, node and mesh is not as it should be, and what to do.
 *
 * Changes nothing but a small file that it writes into HOME to time the disk, and takes away again.
 * Exit 1 when something does not work.
 */
export async function doctor(context: CommandContext, options: DoctorOptions): Promise<void> {
  const portBase = Number(options.portBase ?? "4000");
  if (!Number.isSafeInteger(portBase) || portBase < 1 || portBase > PORT_MAX) {
    throw new CommandError(`--port-base: 1 to ${PORT_MAX}`, 2);
  }
  const node = await nodeOf(context);
  const findings: readonly Finding[] = [
    ...hostFindings(context),
    ...checkHome(context.home),
    ...(await portFindings(portBase, node !== undefined && typeof node !== "string")),
    await natsFinding(options.natsUrl ?? context.natsUrl),
    ...judgeMesh(await meshOf(context)),
    ...judgeStreams(await streamsOf(context)),
    ...judgeRecords(await staleOf(context)),
    ...judgeNode(node),
  ];
  const failed = findings.filter(({ state }) => state === "fail").length;
  context.output.result({ ok: failed === 0, findings }, () => {
    context.output.line(table(findings.map(cells)));
  });
  if (failed > 0) throw new CommandError(`${failed} of ${findings.length} checks failed`);
}

function hostFindings({ home }: CommandContext): readonly Finding[] {
  const facts = hostFacts();
  const host = [judgeRuntime(process.versions.node), judgeClock(facts), judgeFiles(facts)];
  if (!existsSync(home)) return [...host, skip("disk sync", "HOME is not there yet")];
  try {
    return [...host, ...judgeDisk(probeDisk(home, systemClock))];
  } catch (error) {
    return [...host, ...judgeDisk(errorMessage(error))];
  }
}

async function portFindings(base: number, isOurs: boolean): Promise<readonly Finding[]> {
  const ports: readonly (readonly [string, number])[] = [
    ["gateway", base],
    ["forward proxy", base + FORWARD_PORT_OFFSET],
    ["node's metrics", base + METRICS_PORT_OFFSET],
  ];
  return Promise.all(
    ports.map(async ([name, port]) => {
      return judgePort(name, port, { state: await probePort("127.0.0.1", port), isOurs });
    }),
  );
}

async function natsFinding(url: string | undefined): Promise<Finding> {
  if (url !== undefined && !URL.canParse(url)) {
    throw new CommandError(`--nats-url ${url}: expected nats://host:port`, 2);
  }
  return judgeNats(
    url,
    url === undefined ? undefined : await natsInfo(url, TIMEOUT_MS, systemClock),
  );
}

async function nodeOf(context: CommandContext) {
  if (!existsSync(context.nodeSocket)) return undefined;
  return orWhy(context.node().calls.getNode({}, { timeoutMs: TIMEOUT_MS }));
}

async function meshOf(context: CommandContext) {
  if (!context.hasCoordinator()) return undefined;
  const answer = await orWhy(context.coordinator().calls.listNodes({}, { timeoutMs: TIMEOUT_MS }));
  return typeof answer === "string" ? answer : answer.nodes;
}

async function streamsOf(context: CommandContext) {
  if (!context.hasCoordinator()) return undefined;
  const { calls } = context.coordinator();
  const answer = await orWhy(calls.listStreams({}, { timeoutMs: TIMEOUT_MS }));
  return typeof answer === "string" ? answer : answer.streams;
}

async function staleOf(context: CommandContext) {
  if (!context.hasCoordinator()) return undefined;
  const { calls } = context.coordinator();
  const answer = await orWhy(calls.listStaleRecords({}, { timeoutMs: TIMEOUT_MS }));
  return typeof answer === "string" ? answer : answer.records.length;
}

async function orWhy<T>(answer: Promise<T>): Promise<T | string> {
  try {
    return await answer;
  } catch (error) {
    return errorMessage(error);
  }
}

function cells({ check, state, says, todo }: Finding): string[] {
  return [state === "skip" ? "-" : state, check, todo === undefined ? says : `${says}; ${todo}`];
}
