import { isIP } from "node:net";
import { parseArgs } from "node:util";
import { errorMessage } from "../ports/error-message.ts";

/** Reads one setting's text; a thrown SettingError says what was expected. */
export type ReadSetting<T> = (text: string) => T;

/** One setting: its environment variable, its default as text, and how it is read. */
export type Setting<T> = {
  /** `ALTRACE_PORT_BASE`; the flag is the same in lower case: `--port-base`. */
  readonly env: string;
  /** What stands when nothing is given; undefined means the setting is then absent. */
  readonly byDefault: string | undefined;
  readonly read: ReadSetting<T>;
  /** One line for `--help`, with the unit. */
  readonly help: string;
};

export class SettingError extends Error {}

export type SettingTable = { readonly [name: string]: Setting<unknown> };

export type SettingValues<Table extends SettingTable> = {
  readonly [Name in keyof Table]: Table[Name] extends Setting<infer T> ? T | undefined : never;
};

/** Where a text was found, for messages. */
type Found = { readonly text: string; readonly source: string };

/**
 * Reads all settings at once, so that every error is reported at once.
 *
 * @param flags By the flag's name without dashes; they win over the environment.
 * @returns The values, or one message for each setting that is wrong.
 */
export function readSettings<Table extends SettingTable>(
  table: Table,
  env: Readonly<Record<string, string | undefined>>,
  flags: Readonly<Record<string, string | undefined>>,
): { readonly values: SettingValues<Table> } | { readonly errors: readonly string[] } {
  const errors: string[] = [];
  const values: Record<string, unknown> = {};
  for (const [name, setting] of Object.entries(table)) {
    const found = find(setting, env, flags);
    if (found === undefined) continue;
    try {
      values[name] = setting.read(found.text);
    } catch (error) {
      if (!(error instanceof SettingError)) throw error;
      errors.push(`${found.source}: ${error.message}`);
    }
  }
  return errors.length > 0 ? { errors } : { values: values as SettingValues<Table> };
}

/** Names of `ALTRACE_` variables that no table knows: a misspelt setting must not pass unseen. */
export function unknownSettings(
  env: Readonly<Record<string, string | undefined>>,
  tables: readonly SettingTable[],
): readonly string[] {
  const known = new Set(tables.flatMap((table) => Object.values(table).map((one) => one.env)));
  return Object.keys(env)
    .filter((name) => name.startsWith("ALTRACE_") && !known.has(name))
    .map((name) => `${name}: no such setting`);
}

/** A command line's flags by name without dashes, each with a value; or what is wrong with them. */
export function readFlags(
  table: SettingTable,
  argv: readonly string[],
): { readonly values: Record<string, string> } | { readonly errors: readonly string[] } {
  const options: Record<string, { type: "string" }> = {};
  for (const setting of Object.values(table)) options[flagOf(setting)] = { type: "string" };
  try {
    const { values } = parseArgs({ args: [...argv], options, strict: true });
    return { values: values as Record<string, string> };
  } catch (error) {
    return { errors: [errorMessage(error)] };
  }
}

/** The flag that gives the same setting on a command line, without dashes. */
export function flagOf(setting: Setting<unknown>): string {
  return setting.env.slice("ALTRACE_".length).toLowerCase().replaceAll("_", "-");
}

/** A whole number within bounds, decimal digits only. */
export function integer(bounds: { min: number; max: number }): ReadSetting<number> {
  return (text) => {
    const value = Number(text);
    if (/^\d{1,15}$/.test(text) && value >= bounds.min && value <= bounds.max) return value;
    throw new SettingError(`expected a whole number from ${bounds.min} to ${bounds.max}`);
  };
}

/** Text of one form. */
export function text(pattern: RegExp, expected: string): ReadSetting<string> {
  return (value) => {
    if (pattern.test(value)) return value;
    throw new SettingError(`expected ${expected}`);
  };
}

/** One of a few words. */
export function oneOf<Word extends string>(...words: readonly Word[]): ReadSetting<Word> {
  return (value) => {
    const word = words.find((candidate) => candidate === value);
    if (word !== undefined) return word;
    throw new SettingError(`expected one of ${words.join(", ")}`);
  };
}

/** An IPv4 or IPv6 address, without brackets or zone. */
export const address: ReadSetting<string> = (value) => {
  if (isIP(value) !== 0 && !value.includes("%")) return value;
  throw new SettingError("expected an IP address");
};

/** One or more of what `read` takes, with commas between. */
export function listOf<T>(read: ReadSetting<T>): ReadSetting<readonly T[]> {
  return (value) => value.split(",").map(read);
}

/** A path; what stands there is the reader's to check. */
export const path: ReadSetting<string> = (value) => {
  if (value !== "" && !value.includes("\0")) return value;
  throw new SettingError("expected a path");
};

function find(
  setting: Setting<unknown>,
  env: Readonly<Record<string, string | undefined>>,
  flags: Readonly<Record<string, string | undefined>>,
): Found | undefined {
  const flag = flagOf(setting);
  const fromFlag = flags[flag];
  if (fromFlag !== undefined) return { text: fromFlag, source: `--${flag}` };
  const fromEnv = env[setting.env];
  if (fromEnv !== undefined) return { text: fromEnv, source: setting.env };
  return setting.byDefault === undefined
    ? undefined
    : { text: setting.byDefault, source: `default of ${setting.env}` };
}
