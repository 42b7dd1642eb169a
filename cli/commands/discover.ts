import type { Stranger } from "../../proto/gen/altrace/v1/node_service_pb.ts";
import type { CommandContext } from "../command-context.ts";
import { table } from "../output.ts";

/** Names in one column of a line; `--json` has all that are known. */
const NAMES_SHOWN = 3;

/** `altrace discover`: who tried to get out of this machine and is no agent, and whereto. */
export async function discover(context: CommandContext): Promise<void> {
  const { calls } = context.node();
  const strangers: Stranger[] = [];
  let pageToken = "";
  let unlistedTries = 0n;
  do {
    const page = await calls.listStrangers({ pageToken });
    strangers.push(...page.strangers);
    ({ nextPageToken: pageToken, unlistedTries } = page);
  } while (pageToken !== "");
  context.output.result({ strangers, unlistedTries }, () => {
    if (strangers.length === 0) {
      context.output.line("nobody: whoever tried to get out is an agent of the policy");
      return;
    }
    const head = ["WHO", "LABELLED", "TRIES", "FIRST SEEN", "LAST SEEN", "HOSTS", "MODELS", "WHY"];
    context.output.line(table([head, ...strangers.map(rowOf)]));
    if (unlistedTries > 0n)
      context.output.line(`and ${unlistedTries} tries of sources that were too many to list`);
  });
}

function rowOf(one: Stranger): string[] {
  const { pod, source, claimed, tries, firstAtMs, lastAtMs, hosts, models, reasons } = one;
  return [
    pod === "" ? source : `${pod} (${source})`,
    claimed,
    String(tries),
    seen(firstAtMs),
    seen(lastAtMs),
    some(hosts),
    some(models),
    some(reasons),
  ];
}

function seen(atMs: bigint): string {
  return atMs === 0n ? "never" : new Date(Number(atMs)).toISOString();
}

function some(names: readonly string[]): string {
  const more = names.length - NAMES_SHOWN;
  return names.slice(0, NAMES_SHOWN).join(",") + (more > 0 ? `,+${more}` : "");
}
