import { request } from "undici";
import type { MeshUnderTest } from "../harness/mesh-under-test.ts";
import { issueRoot, partOf } from "../harness/root-contract.ts";
import type { Axis } from "./axis.ts";

/** How far below its root the contract lies that a request is made under. */
export function contractsAxis(): Axis {
  let at = { key: "", depth: -1 };
  return {
    name: "contracts",
    of: "delegations above the contract",
    points: { full: [0, 1, 2, 4, 6, 8], short: [0, 4, 8] },
    end: "a contract lies at most 8 below its root, by design: what a chain costs to check when it is new grows with it",
    raise: async (mesh, to) => {
      if (at.depth < 0) at = { key: await issueRoot(mesh), depth: 0 };
      while (at.depth < to) {
        at = { key: await delegate(mesh, at.key, at.depth + 1), depth: at.depth + 1 };
      }
      return at.key;
    },
  };
}

async function delegate(mesh: MeshUnderTest, key: string, depth: number): Promise<string> {
  const url = `${mesh.altrace.ready.gateway}/altrace/v1/delegations`;
  const { statusCode, body } = await request(url, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${key}` },
    body: JSON.stringify({ grant: partOf(depth) }),
  });
  const said = (await body.json()) as { readonly key?: string };
  if (statusCode !== 201 || said.key === undefined) {
    throw new Error(`no delegation at depth ${depth}: ${statusCode} ${JSON.stringify(said)}`);
  }
  return said.key;
}
