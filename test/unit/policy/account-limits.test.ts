import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { accountsOf } from "../../../policy/account-limits.ts";
import { readPolicy } from "../../../policy/read-policy.ts";
import { isAccount } from "../../../proto/ids.ts";
import { PLAIN_SCANNER } from "./policy-texts.ts";

const text = readFileSync(new URL("./every-field.yaml", import.meta.url), "utf8");
const result = readPolicy(text, { file: "p.yaml", scanner: PLAIN_SCANNER });
if (!result.ok) throw new Error(JSON.stringify(result.findings));

const steps = accountsOf(result.document);
let step = steps.next();
while (!step.done) step = steps.next();
const accounts = step.value;

test("every limit of a policy is one of an account, and agents have their team's defaults", () => {
  const rows = accounts.flatMap(({ account, parent, limits }) =>
    limits.map(({ unit, window, limit }) =>
      [account, parent ?? "-", unit, window, limit].join(" "),
    ),
  );
  expect(rows.toSorted()).toEqual(
    [
      "overrun - usd_micros total 12345678",
      "team/a - usd_micros hour 1000000",
      "team/a - usd_micros day 2000000",
      "team/a - usd_micros month 3000000",
      "team/a - usd_micros total 4000000",
      "team/a - tokens hour 1",
      "team/a - tokens day 2",
      "team/a - tokens month 3",
      "team/a - tokens total 4",
      "team/a - calls total 9",
      "agent/a/one team/a usd_micros day 500000",
      "agent/a/two team/a usd_micros day 250000",
      "agent/a/two team/a calls day 8",
    ].toSorted(),
  );
});

test("accounts without a limit of their own are known too", () => {
  expect(accounts.map(({ account, parent }) => [account, parent])).toEqual([
    ["overrun", undefined],
    ["team/a", undefined],
    ["agent/a/one", "team/a"],
    ["agent/a/two", "team/a"],
  ]);
});

test("accounts are spelt as scopes are", () => {
  for (const { account } of accounts) expect(isAccount(account)).toBe(true);
});
