import fc from "fast-check";
import { type Authority, normalAuthority } from "../../../authority/authority.ts";
import { type Budget, budget } from "../../../authority/budget.ts";
import { type DataClass, dataClass } from "../../../authority/data-class.ts";
import { type Geography, geography } from "../../../authority/geography.ts";
import { type Models, models } from "../../../authority/models.ts";
import { type Rate, rate } from "../../../authority/rate.ts";
import { type Tools, tools, VERBS } from "../../../authority/tools.ts";
import { type Validity, validity } from "../../../authority/validity.ts";

// Authority drawn from small alphabets, so that two draws are often comparable and often equal.

const segment = fc.constantFrom("a", "b", "ab");
const name = fc.array(segment, { minLength: 1, maxLength: 3 }).map((parts) => parts.join("/"));
const pattern = fc.tuple(name, fc.boolean()).map(([text, open]) => (open ? `${text}/*` : text));
const few = (max: number) => ({ maxLength: max });

export const anyName = name;
export const anyModels: fc.Arbitrary<Models> = fc.array(pattern, few(3)).map(models.normal);

export const anyVerb = fc.constantFrom(...VERBS.slice(0, 3));
export const anyTools: fc.Arbitrary<Tools> = fc
  .array(fc.tuple(pattern, fc.uniqueArray(anyVerb, { minLength: 1, maxLength: 3 })), few(3))
  .map((entries) => tools.normal(new Map(entries)));

export const anyDataClass: fc.Arbitrary<DataClass> = fc
  .record({
    scheme: fc.constantFrom("c4", "c4", "c4", "other"),
    level: fc.integer({ min: -1, max: 3 }),
    compartments: fc.subarray(["pci", "phi", "pii"]),
  })
  .map(dataClass.normal);

const window = fc
  .tuple(fc.integer({ min: 0, max: 19 }), fc.integer({ min: 1, max: 20 }))
  .filter(([from, until]) => from < until)
  .map(([from, until]): [number, number] => [from * 504, until * 504]);
export const ZONES = ["Asia/Kathmandu", "Europe/Berlin", "UTC"] as const;
export const anyValidity: fc.Arbitrary<Validity> = fc
  .record({
    notBefore: fc.integer({ min: 0, max: 6 }),
    expires: fc.integer({ min: 1, max: 8 }),
    hours: fc.array(
      fc.record({ zone: fc.constantFrom(...ZONES), minutes: fc.array(window, few(3)) }),
      few(3),
    ),
  })
  .map(validity.normal);

const bucket = fc.record({
  burst: fc.integer({ min: 0, max: 6 }),
  amount: fc.oneof(fc.integer({ min: 0, max: 6 }), fc.constant(Number.MAX_SAFE_INTEGER)),
  seconds: fc.oneof(fc.integer({ min: 1, max: 6 }), fc.constant(Number.MAX_SAFE_INTEGER)),
});
export const anyRate: fc.Arbitrary<Rate> = fc
  .record({ req: bucket, tok: bucket, usd_u: bucket })
  .map(rate.normal);

export const CODES = ["DE", "US", "US-CA", "US-NY"] as const;
const codes = fc.subarray([...CODES]);
export const anyGeography: fc.Arbitrary<Geography> = fc
  .record({ egr: codes, proc: codes, src: codes })
  .map(geography.normal);

const amount = fc.oneof(fc.integer({ min: 0, max: 4 }), fc.constant(Number.MAX_SAFE_INTEGER));
export const anyBudget: fc.Arbitrary<Budget> = fc
  .record({ calls: amount, tok: amount, usd_u: amount })
  .map(budget.normal);

export const anyAuthority: fc.Arbitrary<Authority> = fc
  .record({
    budget: anyBudget,
    models: anyModels,
    tools: anyTools,
    dataClass: anyDataClass,
    validity: anyValidity,
    rate: anyRate,
    geography: anyGeography,
  })
  .map(normalAuthority);
