/**
 * What a strict parser gives: the value, or why there is none. A refusal is a value, not a throw.
 */
export type Parsed<T, Flaw extends string> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly flaw: Flaw; readonly detail: string };

export function parsed<T>(value: T): { readonly ok: true; readonly value: T } {
  return { ok: true, value };
}

export function flawed<Flaw extends string>(
  flaw: Flaw,
  detail: string,
): { readonly ok: false; readonly flaw: Flaw; readonly detail: string } {
  return { ok: false, flaw, detail };
}
