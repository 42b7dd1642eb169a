import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import * as defaults from "../../../policy/defaults.ts";
import { readBundle } from "../../../policy/read-bundle.ts";
import { readPolicy } from "../../../policy/read-policy.ts";
import { PLAIN_SCANNER, SOUND_POLICY } from "./policy-texts.ts";

const sound = readPolicy(SOUND_POLICY, { file: "p.yaml", scanner: PLAIN_SCANNER });
if (!sound.ok) throw new Error(JSON.stringify(sound.findings));
const BUNDLE = new TextDecoder().decode(sound.bundle);

const members = (count: number, value: string, name = "z") =>
  Array.from(
    { length: count },
    (_, no) => `"${name}${String(no).padStart(6, "0")}":${value}`,
  ).join();

/** What is said of the sound policy with `more` behind `after`; nothing: it is one. */
function saidOf(after: string, more: string): readonly string[] {
  expect(BUNDLE).toContain(after);
  const read = readBundle(new TextEncoder().encode(BUNDLE.replace(after, after + more)));
  return read.ok ? [] : read.findings.map(({ code, path }) => `${code} ${path}`);
}

const parsed = JSON.parse(BUNDLE);
const agents = Object.values(parsed.teams as Record<string, { agents: object }>)
  .map((team) => Object.keys(team.agents).length)
  .reduce((sum, count) => sum + count, 0);
const lastAgent = '"worker-1":{}';

test("agents: as many as there may be are taken, and one more is too many", () => {
  const room = defaults.AGENTS_MAX - agents;
  expect(saidOf(lastAgent, `,${members(room, "{}")}`)).toEqual([]);
  expect(saidOf(lastAgent, `,${members(room + 1, "{}")}`)).toEqual(["too_large teams"]);
});

test("teams", () => {
  const room = defaults.TEAMS_MAX - Object.keys(parsed.teams).length;
  const team = JSON.stringify(parsed.teams.research);
  const behind = `"research":${team}`;
  expect(saidOf(behind, `,${members(room, team)}`)).toEqual([]);
  expect(saidOf(behind, `,${members(room + 1, team)}`)).toEqual(["too_large teams"]);
});

test("models", () => {
  const room = defaults.MODELS_MAX - Object.keys(parsed.models).length;
  const model = (no: number) => {
    const own = { ...parsed.models["openai/gpt-5-mini"], aliases: [], upstream_name: `m${no}` };
    return `,"openai/z${String(no).padStart(6, "0")}":${JSON.stringify(own)}`;
  };
  const last = Object.keys(parsed.models).sort().at(-1) as string;
  const behind = `"${last}":${JSON.stringify(parsed.models[last])}`;
  const more = (count: number) => Array.from({ length: count }, (_, no) => model(no)).join("");
  expect(saidOf(behind, more(room))).toEqual([]);
  expect(saidOf(behind, more(room + 1))).toEqual(["too_large models"]);
});

test("content rules", () => {
  const rules = parsed.content as readonly object[];
  const room = defaults.CONTENT_RULES_MAX - rules.length;
  const behind = JSON.stringify(rules.at(-1));
  const more = (count: number) =>
    Array.from({ length: count }, (_, no) => {
      const rest = `"direction":"request","id":"z${no}","pattern":"z${no}x","severity":"low"`;
      return `,{"action":"refuse",${rest}}`;
    }).join("");
  expect(saidOf(behind, more(room))).toEqual([]);
  expect(saidOf(behind, more(room + 1))).toEqual(["too_large content"]);
});

test("a file that is too long is not even parsed", () => {
  const text = "#".repeat(defaults.POLICY_TEXT_BYTES_MAX + 1);
  const read = readPolicy(text, { file: "p.yaml", scanner: PLAIN_SCANNER });
  expect(read.findings.map(({ code }) => code)).toEqual(["too_large"]);
});

test("the published schema knows how many rules there may be", () => {
  const file = new URL("../../../policy/policy.schema.json", import.meta.url);
  const schema = JSON.parse(readFileSync(file, "utf8"));
  expect(schema.properties.content.maxItems).toBe(defaults.CONTENT_RULES_MAX);
});
