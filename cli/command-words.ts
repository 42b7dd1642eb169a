import type {
  CommandState,
  NodeProgress,
  NodeState,
} from "../proto/gen/altrace/v1/coordinator_service_pb.ts";
import type { Ack } from "../proto/gen/altrace/v1/mesh_pb.ts";
import { table } from "./output.ts";
import { span } from "./standing-words.ts";

const NS_PER_MS = 1e6;
const BAR_CELLS = 20;

/** k of N for each step, as an operator reads it. */
export function summary(command: CommandState, bar: boolean): string {
  const { nodesTotal: total } = command;
  const of = (count: number) => `${count}/${total}`;
  const isErasing = isRedaction(command.scope);
  const done = isErasing ? command.nodesClosed : command.nodesDurable + command.nodesContained;
  const cells = total === 0 ? 0 : Math.round((Math.min(done, total) / total) * BAR_CELLS);
  const head = [
    bar ? `[${"#".repeat(cells).padEnd(BAR_CELLS, ".")}]` : command.scope,
    command.committed ? "committed" : command.accepted ? "accepted" : "pending",
  ];
  if (isErasing) return [...head, `erased ${of(command.nodesClosed)}`].join("  ");
  return [
    ...head,
    `enforced ${of(command.nodesEnforced)}`,
    `closed ${of(command.nodesClosed)}`,
    `durable ${of(command.nodesDurable)}`,
    ...(command.nodesContained > 0 ? [`contained ${of(command.nodesContained)}`] : []),
  ].join("  ");
}

/** One line a node, with its own times; for a silent one, when its dead-man switch closes it. */
export function nodeLines(command: CommandState, nowMs: number): string {
  return table(command.nodes.map((one) => nodeLine(command.scope, one, nowMs)));
}

/** The cells of one node's line. */
export function nodeLine(scope: string, progress: NodeProgress, nowMs: number): string[] {
  return isRedaction(scope) ? redactionLine(progress) : killLine(progress, nowMs);
}

function redactionLine({ node, ack }: NodeProgress): string[] {
  if (ack === undefined) return [`  ${node}`, "waited for"];
  if (ack.refused !== "") return [`  ${node}`, "refused", ack.refused];
  return [`  ${node}`, ack.closed ? `erased ${ack.closedCount} keys` : "erasing"];
}

function isRedaction(scope: string): boolean {
  return scope.startsWith("redaction/");
}

function killLine({ node, ack, contained, containedAtMs }: NodeProgress, nowMs: number): string[] {
  if (contained) {
    return [`  ${node}`, "silent", `contained since ${timeOf(containedAtMs)}`, "", ""];
  }
  if (ack === undefined && containedAtMs !== 0n) {
    const left = `in ${span(Number(containedAtMs) - nowMs)}`;
    return [`  ${node}`, "silent", `contained ${left}, at ${timeOf(containedAtMs)}`, "", ""];
  }
  if (ack === undefined) return [`  ${node}`, "waited for", "", "", ""];
  if (ack.refused !== "") return [`  ${node}`, "refused", ack.refused, "", ""];
  return [
    `  ${node}`,
    // Where a machine's kernel has a gate; without one there is no time to tell.
    `enforced ${ms(ack.enforcedNs)}${ack.gatedNs > 0n ? `, gated ${ms(ack.gatedNs)}` : ""}`,
    `${ack.closed ? `closed ${ack.closedCount} in ${ms(ack.closedNs)}` : "closing"}${sweptWords(ack)}`,
    ack.durable ? `durable ${ms(ack.durableNs)}` : "not yet durable",
    ack.hostStallNs > 0n ? `host stall ${ms(ack.hostStallNs)}` : "",
  ];
}

/** What the machine's kernel ended before the node did. */
function sweptWords({ sweptNs, sweptCount }: Ack): string {
  return sweptNs > 0n ? `, swept ${sweptCount} in ${ms(sweptNs)}` : "";
}

/** A node that is not heard goes on as it was until its dead-man switch closes it: nobody knows before. */
export function nodeStateWord(
  { live, open, containedAtMs }: Pick<NodeState, "live" | "open" | "containedAtMs">,
  nowMs: number,
): string {
  if (live) return open ? "open" : "closed";
  return Number(containedAtMs) > nowMs ? `open until ${timeOf(containedAtMs)}?` : "closed";
}

function timeOf(atMs: bigint): string {
  return new Date(Number(atMs)).toISOString();
}

function ms(ns: bigint): string {
  return `${(Number(ns) / NS_PER_MS).toFixed(2)} ms`;
}
