import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { CommandContext } from "../command-context.ts";

/** Name of the policy file that `--out` writes. */
const POLICY = "policy";
/** And of the one with the witnesses outside of the mesh, where the coordinator has such. */
const OUTSIDE_POLICY = "outside-policy";

/**
 * `altrace audit logs`: every log that must exist, as the coordinator knows them, and what it cosigned
 * last; and what it heard last of the other coordinators' own. With `--out DIR` also as files: a policy for `--keys`, and the checkpoints for `--witnessed`.
 */
export async function listLogs(
  context: CommandContext,
  { out }: { readonly out?: string },
): Promise<void> {
  const { output } = context;
  const answer = await context.coordinator().calls.listLogs({});
  if (out !== undefined) {
    mkdirSync(out, { recursive: true });
    const logs = answer.logs.map(({ vkey }) => `log ${vkey}\n`).join("");
    const witness = `witness coordinator ${answer.witnessVkey}\nquorum coordinator\n`;
    writeFileSync(join(out, POLICY), logs + witness);
    const own = /^[ \t]*log[ \t]/m.test(answer.outsidePolicy) ? "" : logs;
    if (answer.outsidePolicy !== "") {
      writeFileSync(join(out, OUTSIDE_POLICY), own + answer.outsidePolicy);
    }
    for (const { origin, checkpoint } of [...answer.logs, ...answer.coordinators]) {
      if (checkpoint === "") continue;
      writeFileSync(join(out, `${origin.replaceAll("/", "_")}.checkpoint`), checkpoint);
    }
  }
  output.result(answer, () => {
    for (const { origin, size, cosignedAtMs } of answer.logs) {
      output.line(
        `${origin}  ${size} records  cosigned ${new Date(Number(cosignedAtMs)).toISOString()}`,
      );
    }
    for (const { origin, size, cosignedAtMs } of answer.coordinators) {
      const heard = new Date(Number(cosignedAtMs)).toISOString();
      output.line(`${origin}  ${size} records  heard ${heard}`);
    }
    for (const { origin, kind, cosigned } of answer.evidence) {
      const kept = cosigned === "" ? "a witness says so, and shows nothing" : "both are kept";
      output.line(`${origin}  ${kind}: ${kept}`);
    }
    output.line(`witness  ${answer.witnessVkey}`);
  });
}
