import { formatUsdMicros } from "../policy/money.ts";
import { Standing } from "../proto/gen/altrace/v1/mesh_pb.ts";
import type { GetNodeResponse } from "../proto/gen/altrace/v1/node_service_pb.ts";
import { type BoardRow, isQuiet } from "./agent-board.ts";
import { table } from "./output.ts";
import { standingWord } from "./standing-words.ts";

const HEAD = [
  "AGENT",
  "STANDING",
  "SPENT",
  "HELD",
  "PER HOUR",
  "REQ/S",
  "REFUSED/S",
  "STREAMS",
  "CONNS",
];
/** Lines above and below the rows: two of the node, the head, what was left out, and the cursor's. */
const LINES_BESIDE = 5;
const MICROS_PER_CENT = 10_000;

const RED = "\u001b[31m";
const YELLOW = "\u001b[33m";
const PLAIN = "\u001b[0m";

export type BoardSize = {
  readonly rows: number;
  readonly color: boolean;
};

/**
 * The whole picture of one instant, in lines.
 *
 * @param node Undefined: it did not answer in time; the rows are as old as its last word.
 */
export function boardLines(
  rows: readonly BoardRow[],
  node: GetNodeResponse | undefined,
  { rows: height, color }: BoardSize,
): string[] {
  const room = Math.max(1, height - LINES_BESIDE);
  const shown = rows.slice(0, room);
  const [head = "", ...lines] = table([HEAD, ...shown.map(cellsOf)]).split("\n");
  const left = rows.length - shown.length;
  return [
    nodeLine(node),
    sumLine(rows),
    head,
    ...lines.map((line, i) => tinted(line, shown[i]?.standing ?? Standing.NORMAL, color)),
    ...(left > 0
      ? [`and ${left} more, of which ${rows.slice(room).filter(isQuiet).length} quiet`]
      : []),
  ];
}

/** One agent in one line, for whoever reads a log. */
export function boardLine(row: BoardRow): string {
  const cells = cellsOf(row);
  return HEAD.slice(1).reduce(
    (text, head, i) => `${text} ${head.toLowerCase().replace(" ", "_")}=${cells[i + 1]}`,
    cells[0] ?? "",
  );
}

function nodeLine(node: GetNodeResponse | undefined): string {
  if (node === undefined) return "the node does not answer";
  const state = node.open ? "open" : `closed: ${node.closedBecause.join(", ")}`;
  const digest = `digest ${(Number(node.digestAgeMs) / 1_000).toFixed(1)} s old`;
  return `${node.node}  ${state}  policy ${node.policyVersion}  ${digest}  ${node.connections} connections`;
}

function sumLine(rows: readonly BoardRow[]): string {
  const sum = (of: (row: BoardRow) => number) => rows.reduce((all, row) => all + of(row), 0);
  const worst = [
    Standing.KILL,
    Standing.BLOCK,
    Standing.QUARANTINE,
    Standing.THROTTLE,
    Standing.WARNING,
  ];
  const counts = worst.flatMap((standing) => {
    const count = rows.filter((row) => row.standing === standing).length;
    return count === 0 ? [] : [`${count} at ${standingWord(standing)}`];
  });
  return [
    `${rows.length} agents`,
    ...counts,
    `${usd(sum((row) => row.usdMicrosPerHour))} per hour`,
    `${usd(sum((row) => row.heldMicros))} held`,
    `${sum((row) => row.requestsPerSecond).toFixed(1)} req/s`,
    `${sum((row) => row.streams)} streams`,
  ].join("  ");
}

function cellsOf(row: BoardRow): string[] {
  return [
    row.agent,
    standingWord(row.standing),
    usd(row.spentMicros),
    usd(row.heldMicros),
    usd(row.usdMicrosPerHour),
    row.requestsPerSecond.toFixed(1),
    row.refusedPerSecond.toFixed(1),
    String(row.streams),
    String(row.connections),
  ];
}

/** To a cent, and upwards: what costs anything never looks as if it were free. */
function usd(micros: number): string {
  return `$${formatUsdMicros(Math.ceil(micros / MICROS_PER_CENT) * MICROS_PER_CENT)}`;
}

function tinted(line: string, standing: Standing, color: boolean): string {
  if (!color || standing <= Standing.NORMAL) return line;
  return `${standing >= Standing.QUARANTINE ? RED : YELLOW}${line}${PLAIN}`;
}
