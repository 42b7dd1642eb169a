import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { AgentBoard, isQuiet } from "../../../cli/agent-board.ts";
import { boardLine, boardLines } from "../../../cli/board-words.ts";
import { Standing } from "../../../proto/gen/altrace/v1/mesh_pb.ts";
import {
  AgentStateSchema,
  GetNodeResponseSchema,
} from "../../../proto/gen/altrace/v1/node_service_pb.ts";

type State = {
  readonly standing?: Standing;
  readonly usd?: number;
  readonly allowed?: number;
  readonly refused?: number;
  readonly streams?: number;
};

const stateOf = (agent: string, of: State = {}) =>
  create(AgentStateSchema, {
    agent,
    standing: of.standing ?? Standing.NORMAL,
    spent: { usdMicros: BigInt(of.usd ?? 0) },
    held: { usdMicros: 1n },
    allowed: BigInt(of.allowed ?? 0),
    refused: BigInt(of.refused ?? 0),
    openStreams: of.streams ?? 0,
    openConnections: of.streams ?? 0,
  });
const say = (board: AgentBoard, agent: string, of: State = {}, gone = false) =>
  board.take({ agent: stateOf(agent, of), gone });

test("rates are what changed over the last seconds", () => {
  const board = new AgentBoard();
  say(board, "t/a", { usd: 1_000_000, allowed: 10 });
  expect(board.tick(0)).toMatchObject([{ requestsPerSecond: 0, usdMicrosPerHour: 0 }]);
  say(board, "t/a", { usd: 1_001_000, allowed: 16, refused: 4 });
  expect(board.tick(2_000)).toMatchObject([
    { requestsPerSecond: 5, refusedPerSecond: 2, usdMicrosPerHour: 1_800_000 },
  ]);
  // Ten ticks without anything new, and it has come to rest.
  let rows = board.tick(3_000);
  for (let i = 4; i < 14; i++) rows = board.tick(i * 1_000);
  expect(rows).toMatchObject([{ requestsPerSecond: 0, usdMicrosPerHour: 0 }]);
});

test("an actor that counts from zero again has no negative rate", () => {
  const board = new AgentBoard();
  say(board, "t/a", { usd: 900, allowed: 100 });
  board.tick(0);
  say(board, "t/a", { usd: 0, allowed: 1 });
  expect(board.tick(1_000)).toMatchObject([{ requestsPerSecond: 0, usdMicrosPerHour: 0 }]);
  say(board, "t/a", { usd: 100, allowed: 3 });
  expect(board.tick(2_000)).toMatchObject([{ requestsPerSecond: 2, usdMicrosPerHour: 360_000 }]);
});

test("whoever is in trouble comes first, then who spends most; who is gone is gone", () => {
  const board = new AgentBoard();
  for (const agent of ["t/quiet", "t/busy", "t/blocked", "t/gone"]) say(board, agent);
  board.tick(0);
  say(board, "t/busy", { usd: 5 });
  say(board, "t/blocked", { standing: Standing.BLOCK });
  say(board, "t/gone", {}, true);
  const rows = board.tick(1_000);
  expect(rows.map(({ agent }) => agent)).toEqual(["t/blocked", "t/busy", "t/quiet"]);
  expect(rows.map(isQuiet)).toEqual([false, true, true]);
});

const node = create(GetNodeResponseSchema, {
  node: "node-1",
  open: true,
  policyVersion: 3n,
  digestAgeMs: 421n,
  connections: 2,
});

test("a picture has the node, the sums, and as many agents as there is room for", () => {
  const board = new AgentBoard();
  say(board, "t/held", { standing: Standing.QUARANTINE, streams: 2, usd: 1 });
  for (let i = 0; i < 5; i++) say(board, `t/a${i}`);
  const lines = boardLines(board.tick(0), node, { rows: 8, color: false });
  expect(lines).toEqual([
    "node-1  open  policy 3  digest 0.4 s old  2 connections",
    "6 agents  1 at quarantine  $0.00 per hour  $0.01 held  0.0 req/s  2 streams",
    "AGENT   STANDING    SPENT  HELD   PER HOUR  REQ/S  REFUSED/S  STREAMS  CONNS",
    "t/held  quarantine  $0.01  $0.01  $0.00     0.0    0.0        2        2",
    "t/a0    normal      $0.00  $0.01  $0.00     0.0    0.0        0        0",
    "t/a1    normal      $0.00  $0.01  $0.00     0.0    0.0        0        0",
    "and 3 more, of which 3 quiet",
  ]);
  const closed = { ...node, open: false, closedBecause: ["mesh_stale"] };
  expect(boardLines([], closed, { rows: 24, color: false })[0]).toContain("closed: mesh_stale");
  expect(boardLines([], undefined, { rows: 24, color: false })[0]).toBe("the node does not answer");
});

test("colour is for trouble alone, and ends with its line", () => {
  const board = new AgentBoard();
  say(board, "t/held", { standing: Standing.QUARANTINE });
  say(board, "t/slow", { standing: Standing.THROTTLE });
  say(board, "t/fine");
  const [, , head, ...lines] = boardLines(board.tick(0), node, { rows: 24, color: true });
  expect(head).not.toContain("\u001b");
  expect(lines.map((line) => [line.slice(0, 5), line.endsWith("\u001b[0m")])).toEqual([
    ["\u001b[31m", true],
    ["\u001b[33m", true],
    ["t/fin", false],
  ]);
});

test("a line for logs names every column", () => {
  const board = new AgentBoard();
  say(board, "t/a", { streams: 1 });
  const [row] = board.tick(0);
  expect(row && boardLine(row)).toBe(
    "t/a standing=normal spent=$0.00 held=$0.01 per_hour=$0.00 req/s=0.0 refused/s=0.0 streams=1 conns=1",
  );
});
