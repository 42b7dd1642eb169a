import { CHAIN } from "../node/decision/chain.ts";
import { REASONS, type Reason, type ReasonEntry, stageOf } from "../proto/reasons.ts";
import { markdownTable } from "./markdown-table.ts";

const HEAD = `# Reasons

Why a request was refused: every reason that a node gives, with its number, the HTTP status of the
answer and whether asking again can help. The name is what stands in the \`x-altrace-reason\` header, in
metrics and in the audit log. Names and numbers never change their meaning, and none is used again.

This page is made from \`proto/reasons.ts\` by \`npm run docs\`.
`;

const COLUMNS = ["no.", "reason", "status", "again", "what happened", "what the caller is told"];

/** The page of reasons, from their registry. */
export function reasonsPage(): string {
  const reasons = Object.keys(REASONS) as Reason[];
  const sections = CHAIN.map(({ no, name, asks }) => {
    const rows = reasons.filter((reason) => stageOf(reason) === no).map(rowOf);
    return [`## ${no}. ${name}: ${asks}`, "", ...markdownTable([COLUMNS, ...rows]), ""].join("\n");
  });
  return [HEAD, ...sections].join("\n");
}

function rowOf(reason: Reason): readonly string[] {
  const { no, status, retry, operator, developer }: ReasonEntry = REASONS[reason];
  return [String(no), `\`${reason}\``, String(status), retry, operator, developer];
}
