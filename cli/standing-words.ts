import { formatUsdMicros } from "../policy/money.ts";
import type { AgentOnNode, MeshAgent } from "../proto/gen/altrace/v1/coordinator_service_pb.ts";
import { type BudgetUse, Standing } from "../proto/gen/altrace/v1/mesh_pb.ts";
import type { GetStandingResponse } from "../proto/gen/altrace/v1/node_service_pb.ts";
import { Unit } from "../proto/gen/altrace/v1/record_pb.ts";
import { table } from "./output.ts";

const MILLI = 1_000;

/** The name of a standing, as policy and headers have it. */
export function standingWord(standing: Standing): string {
  const names = Object.entries(Standing);
  return names.find(([, no]) => no === standing)?.[0].toLowerCase() ?? "unknown";
}

/**
 * Why an agent stands where it does on one node, and what would lift it, in lines for people.
 *
 * @param nowMs Wall clock of whoever reads it, ms since the Unix epoch.
 */
export function standingLines(of: GetStandingResponse, nowMs: number): string[] {
  return [
    headline(of, nowMs),
    ...scoreLines(of, nowMs),
    ...budgetLines(of.budget, of),
    ...(of.others > Standing.NORMAL
      ? [`others   other nodes report ${standingWord(of.others)}`]
      : []),
    ...killLines(of),
    "",
    "what lifts it",
    ...indented(liftLines(of, nowMs)),
  ];
}

/** The same over all nodes, as far as the coordinator knows. */
export function meshLines(of: MeshAgent): string[] {
  const killed = of.killedBy.length > 0 ? `, killed by ${of.killedBy.join(", ")}` : "";
  const lines = [`over the mesh: ${standingWord(of.standing)}${killed}`];
  const head = ["NODE", "STANDING", "CAUSE", "SCORE", "LEASES", "LENT", "SPENT OF IT", "REPORTED"];
  if (of.nodes.length > 0)
    lines.push(...indented(table([head, ...of.nodes.map(nodeRow)]).split("\n")));
  return [...lines, ...indented(budgetLines(of.budget, undefined))];
}

function headline(of: GetStandingResponse, nowMs: number): string {
  const since = of.sinceMs === 0n ? "" : ` for ${span(nowMs - Number(of.sinceMs))}`;
  const by = of.requestId === "" ? "" : ` by request ${of.requestId}`;
  const because = of.cause === "none" ? "" : `, because of ${of.cause}${by}`;
  return `${of.agent} stands at ${standingWord(of.standing)} on ${of.node}${since}${because}`;
}

function scoreLines(of: GetStandingResponse, nowMs: number): string[] {
  const marks = of.marks.map(
    ({ level, enterMilli, leaveMilli }) =>
      `${standingWord(level)} ${points(enterMilli)}, left below ${points(leaveMilli)}`,
  );
  const lines = [`score    ${points(of.scoreMilli)} (${standingWord(of.level)})`];
  if (marks.length > 0) lines.push(`marks    ${marks.join("; ")}`);
  if (of.shares.length === 0) return lines;
  const head = ["CAUSE", "POINTS", "EVENTS", "LAST", "IN FULL FOR", "THEN HALVES EVERY"];
  const rows = of.shares.map((one) => [
    one.cause,
    points(one.milli),
    String(one.count),
    `${span(nowMs - Number(one.lastAtMs))} ago`,
    span(Number(one.windowMs)),
    span(Number(one.halfLifeMs)),
  ]);
  return [...lines, ...indented(table([head, ...rows]).split("\n"))];
}

function budgetLines(uses: readonly BudgetUse[], of: GetStandingResponse | undefined): string[] {
  return uses.map((use) => {
    const share = use.limit === 0n ? 100 : (Number(use.spent) / Number(use.limit)) * 100;
    const amounts = `${amount(use.unit, use.spent)} of ${amount(use.unit, use.limit)}`;
    const marks =
      of === undefined
        ? ""
        : `; warning from ${of.budgetWarningMilli / 10} %, throttle from ${of.budgetThrottleMilli / 10} %, block at all of it`;
    return `budget   ${use.window}: ${amounts} spent (${share.toFixed(1)} %)${marks}`;
  });
}

function killLines({ killedBy, killFor, autoKill }: GetStandingResponse): string[] {
  return [
    ...killedBy.map((scope) => `killed   ${scope}`),
    ...(killFor === "" ? [] : [`kill     asked of the mesh because of ${killFor}, no answer yet`]),
    ...(autoKill.length === 0 ? [] : [`kills by itself for ${autoKill.join(", ")}`]),
  ];
}

function liftLines(of: GetStandingResponse, nowMs: number): string[] {
  if (of.standing === Standing.NORMAL) return ["nothing needs to: it is not held"];
  return [
    ...of.killedBy.map((scope) => `kill      an operator: altrace revive ${scope}`),
    ...offenceLifts(of, nowMs),
    ...budgetLifts(of, nowMs),
    ...(of.others > Standing.NORMAL
      ? ["others    the end of what those nodes report, or the operator"]
      : []),
  ];
}

function offenceLifts(of: GetStandingResponse, nowMs: number): string[] {
  if (of.level <= Standing.NORMAL) return [];
  const lift = `operator  altrace standing ${of.agent} --lift (score to 0, level to warning)`;
  if (of.needsOperator) return ["time      nothing: policy leaves this block to an operator", lift];
  const falls = of.falls.map(
    ({ to, atMs }) => `${standingWord(to)} in ${span(Number(atMs) - nowMs)}`,
  );
  return [`time      without a new offence: ${falls.join(", ")}`, lift];
}

function budgetLifts(of: GetStandingResponse, nowMs: number): string[] {
  if (of.budgetLevel <= Standing.NORMAL) return [];
  const ends = of.budget.map(({ endsAtMs }) => Number(endsAtMs)).filter((atMs) => atMs > nowMs);
  const account = `agent/${of.agent}`;
  return [
    `budget    a top-up: altrace budget top-up ${account} <window> <unit> <limit>`,
    ...(ends.length === 0
      ? []
      : [`budget    the end of its window, in ${span(Math.min(...ends) - nowMs)}`]),
  ];
}

function nodeRow(one: AgentOnNode): string[] {
  const hasReport = one.standing > Standing.NORMAL;
  return [
    one.live ? one.node : `${one.node} (silent)`,
    standingWord(one.standing),
    one.cause,
    hasReport ? points(one.scoreMilli) : "",
    String(one.leases),
    amount(Unit.USD_MICROS, one.leased?.usdMicros ?? 0n),
    amount(Unit.USD_MICROS, one.spent?.usdMicros ?? 0n),
    hasReport ? `${span(Number(one.reportedAgoMs))} ago` : "",
  ];
}

/** Thousandths of a point with as many digits as they have. */
function points(milli: bigint): string {
  return String(Number(milli) / MILLI);
}

function amount(unit: Unit, value: bigint): string {
  if (unit === Unit.USD_MICROS) return `$${formatUsdMicros(Number(value))}`;
  return `${value} ${unit === Unit.TOKENS ? "tokens" : "calls"}`;
}

function indented(lines: readonly string[]): string[] {
  return lines.map((line) => `  ${line}`);
}

/** A span of time in its two largest units, such as `3 min 20 s`. */
export function span(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1_000));
  const units: readonly (readonly [string, number])[] = [
    ["d", 86_400],
    ["h", 3_600],
    ["min", 60],
    ["s", 1],
  ];
  const at = Math.max(
    0,
    units.findIndex(([, size]) => seconds >= size),
  );
  let left = seconds >= 1 ? seconds : 0;
  const parts = units.slice(at, at + 2).flatMap(([name, size]) => {
    const whole = Math.floor(left / size);
    left -= whole * size;
    return whole > 0 ? [`${whole} ${name}`] : [];
  });
  return parts.length === 0 ? "0 s" : parts.join(" ");
}
