/** As much of JSON Schema 2020-12 as the policy's schema uses. */
export type Schema = {
  readonly $ref?: string;
  readonly $defs?: Readonly<Record<string, Schema>>;
  readonly type?: string;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly oneOf?: readonly Schema[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | Schema;
  readonly propertyNames?: Schema;
  readonly maxProperties?: number;
  readonly items?: Schema;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly uniqueItems?: boolean;
  readonly pattern?: string;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minimum?: number;
  readonly maximum?: number;
};

const KEYWORDS = new Set([
  ..."$schema $id $ref $defs title description type const enum oneOf properties required".split(
    " ",
  ),
  ..."additionalProperties propertyNames maxProperties items minItems maxItems".split(" "),
  ..."uniqueItems pattern minLength maxLength minimum maximum".split(" "),
]);

/** JSON pointers of the values that a schema refuses; the same place once for each reason. */
export function violations(root: Schema, value: unknown): readonly string[] {
  return check(root, { root, value, at: "" });
}

type Checked = { readonly root: Schema; readonly value: unknown; readonly at: string };

function check(schema: Schema, checked: Checked): readonly string[] {
  const { root, value, at } = checked;
  for (const keyword of Object.keys(schema)) {
    // A keyword that is not known here would be a rule that no test sees.
    if (!KEYWORDS.has(keyword)) throw new Error(`${keyword} is not read here`);
  }
  const places: string[] = [];
  if (schema.$ref !== undefined) {
    const target = root.$defs?.[schema.$ref.replace("#/$defs/", "")];
    if (target === undefined) throw new Error(`${schema.$ref} leads nowhere`);
    places.push(...check(target, checked));
  }
  if (!isOfType(schema.type, value)) return [...places, at];
  if ("const" in schema && schema.const !== value) places.push(at);
  if (schema.enum !== undefined && !schema.enum.includes(value)) places.push(at);
  if (schema.oneOf !== undefined) {
    const fitting = schema.oneOf.filter((one) => check(one, checked).length === 0);
    if (fitting.length !== 1) places.push(at);
  }
  if (typeof value === "string") places.push(...checkText(schema, { value, at }));
  if (typeof value === "number") {
    if (value < (schema.minimum ?? -Infinity) || value > (schema.maximum ?? Infinity)) {
      places.push(at);
    }
  }
  if (Array.isArray(value)) {
    places.push(...checkList(schema, { ...checked, value }));
  } else if (typeof value === "object" && value !== null) {
    places.push(...checkMap(schema, { ...checked, value }));
  }
  return places;
}

function isOfType(type: string | undefined, value: unknown): boolean {
  switch (type) {
    case undefined:
      return true;
    case "object":
      return typeof value === "object" && value !== null && !Array.isArray(value);
    case "array":
      return Array.isArray(value);
    case "integer":
      return Number.isInteger(value);
    case "string":
    case "boolean":
      return typeof value === type;
    default:
      throw new Error(`type ${type} is not read here`);
  }
}

function checkText(schema: Schema, { value, at }: { value: string; at: string }): string[] {
  const { pattern, minLength = 0, maxLength = Infinity } = schema;
  const fits = pattern === undefined || new RegExp(pattern, "u").test(value);
  return fits && value.length >= minLength && value.length <= maxLength ? [] : [at];
}

function checkList(schema: Schema, { root, value, at }: Checked & { value: unknown[] }): string[] {
  const { items, minItems = 0, maxItems = Infinity } = schema;
  const places = value.length >= minItems && value.length <= maxItems ? [] : [at];
  const distinct = new Set(value.map((item) => JSON.stringify(item)));
  if (schema.uniqueItems === true && distinct.size < value.length) places.push(at);
  if (items === undefined) return places;
  return [
    ...places,
    ...value.flatMap((item, i) => check(items, { root, value: item, at: `${at}/${i}` })),
  ];
}

function checkMap(schema: Schema, { root, value, at }: Checked & { value: object }): string[] {
  const places: string[] = [];
  const members = Object.entries(value);
  for (const name of schema.required ?? []) if (!Object.hasOwn(value, name)) places.push(at);
  if (members.length > (schema.maxProperties ?? Infinity)) places.push(at);
  for (const [name, member] of members) {
    const inner = `${at}/${name}`;
    const own = schema.properties?.[name];
    const other = schema.additionalProperties;
    if (schema.propertyNames)
      places.push(...check(schema.propertyNames, { root, value: name, at }));
    if (own !== undefined) places.push(...check(own, { root, value: member, at: inner }));
    else if (other === false) places.push(at);
    else if (typeof other === "object") {
      places.push(...check(other, { root, value: member, at: inner }));
    }
  }
  return places;
}
