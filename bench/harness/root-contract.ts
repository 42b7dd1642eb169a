import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type MeshUnderTest, NEIGHBOUR } from "./mesh-under-test.ts";

/** Powers of two: each level below has half, all are whole, and the least is more than a node can serve. */
const PER_SECOND = 2 ** 24;
const USD_MICROS = 2 ** 33;

/** What a contract of some depth has: half of the level above, so that each one is strictly less. */
export function partOf(depth: number) {
  const share = 2 ** depth;
  const bucket = (n: number) => ({ b: n / share, n: n / share, w: 1 });
  return {
    budget: { calls: 2 ** 40 / share, tok: 2 ** 40 / share, usd_u: USD_MICROS / share },
    rate: {
      req: bucket(PER_SECOND),
      tok: bucket(PER_SECOND * 2 ** 13),
      usd_u: bucket(PER_SECOND * 2 ** 13),
    },
  };
}

/** Issues a root contract to the neighbour; returns the virtual key that it was born with. */
export async function issueRoot({ altrace }: MeshUnderTest): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "altrace-grant-"));
  const file = join(folder, "grant.json");
  const grant = {
    ...partOf(0),
    class: { scheme: "public.internal.confidential.restricted", lvl: 3, cmp: [] },
    geo: { src: ["DE"], proc: ["US", "EU"], egr: ["US", "EU"] },
    models: ["openai/gpt-5-mini"],
    time: [],
    tools: { search: ["call"] },
  };
  writeFileSync(file, JSON.stringify(grant));
  const words = ["contract", "issue", NEIGHBOUR, "--grant", file, "--max-depth", "8", "--json"];
  const { code, output } = await altrace.cli(...words);
  rmSync(folder, { recursive: true, force: true });
  if (code !== 0) throw new Error(`no root contract: ${output}`);
  return (JSON.parse(output) as { readonly key: string }).key;
}
