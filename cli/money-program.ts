import type { Command } from "commander";
import type { Run } from "./contract-program.ts";
import { lazily } from "./lazily.ts";

const showBudget = lazily(
  () => import("./commands/budget.ts"),
  (its) => its.showBudget,
);
const topUpBudget = lazily(
  () => import("./commands/budget.ts"),
  (its) => its.topUpBudget,
);
const writeBackBudget = lazily(
  () => import("./commands/write-back.ts"),
  (its) => its.writeBackBudget,
);
const showDistrust = lazily(
  () => import("./commands/distrust.ts"),
  (its) => its.showDistrust,
);
const setDistrust = lazily(
  () => import("./commands/distrust.ts"),
  (its) => its.setDistrust,
);

/** `altrace budget ...` and `altrace distrust ...`: what may be spent, and what bills have shown. */
export function addMoney(program: Command, run: Run): void {
  const budget = program.command("budget").description("the ledger");
  budget
    .command("show [account]")
    .description("limits and spending")
    .action((account: string | undefined, _options, command: Command) =>
      run(command, (context) => showBudget(context, account ?? "")),
    );
  budget
    .command("top-up <account> <window> <unit> <limit>")
    .description(
      "a new limit for one window, such as total or day:2026-11-22; a contract's is at most its grant",
    )
    .action((account: string, window: string, unit: string, limit: string, _, command: Command) =>
      run(command, (context) => topUpBudget(context, account, { window, unit, limit })),
    );
  budget
    .command("write-back <account> <unit> <amount>")
    .description("what a crash left charged and nobody spent can be spent again")
    .action((account: string, unit: string, amount: string, _, command: Command) =>
      run(command, (context) => writeBackBudget(context, account, { unit, amount })),
    );
  const distrust = program.command("distrust").description("bills that were above their holds");
  distrust
    .command("show <model>")
    .description("what holds count with")
    .action((model: string, _options, command: Command) =>
      run(command, (context) => showDistrust(context, model)),
    );
  distrust
    .command("set <model> <ratio>")
    .description("what they count with from now on, such as 1.1 once a price was corrected")
    .action((model: string, ratio: string, _options, command: Command) =>
      run(command, (context) => setDistrust(context, model, ratio)),
    );
}
