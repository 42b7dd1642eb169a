import type { HostCommand } from "./host-command.ts";
import type { Machine, NotedPod, ShownLink, ShownRoute } from "./link-map.ts";

/** The machine did not say how its interfaces and routes are. */
export class MachineFault extends Error {
  override readonly name = "MachineFault";
}

/** Reads interfaces and routes through `ip`, and the network plugin's notes through `readNotes`. */
export async function readMachine(
  run: HostCommand,
  readNotes: () => readonly NotedPod[],
): Promise<Machine> {
  const read = async <T>(...args: readonly string[]): Promise<readonly T[]> => {
    const { code, output, errors } = await run("ip", args);
    if (code !== 0) throw new MachineFault(`ip ${args.join(" ")}: ${errors.trim()}`);
    return output.trim() === "" ? [] : (JSON.parse(output) as T[]);
  };
  const [links, routes4, routes6] = await Promise.all([
    read<ShownLink>("-d", "-j", "link", "show"),
    read<ShownRoute>("-j", "-4", "route", "show"),
    read<ShownRoute>("-j", "-6", "route", "show"),
  ]);
  return { links, routes: [...routes4, ...routes6], noted: readNotes() };
}
