import { NAME_BYTES_MAX } from "./pattern.ts";

/** What is said of a name: by the name itself, else by the narrowest `X/*` that covers it. */
export function covering<T>(said: ReadonlyMap<string, T>, name: string): T | undefined {
  if (said.size === 0 || name.length > NAME_BYTES_MAX) return undefined;
  const own = said.get(name);
  if (own !== undefined) return own;
  for (let end = name.lastIndexOf("/"); end > 0; end = name.lastIndexOf("/", end - 1)) {
    const wide = said.get(`${name.slice(0, end)}/*`);
    if (wide !== undefined) return wide;
  }
  return undefined;
}
