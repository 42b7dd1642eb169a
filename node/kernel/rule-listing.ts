/** What of the rules is compared: the form of a table, and which addresses its killed sets hold. */
export type RuleListing = {
  /** Without anything that changes while the rules stand. */
  readonly form: string;
  readonly killed: readonly string[];
};

/** Sets that packets or kills fill; their members are not part of the form. */
const FILLED =
  /\tset (killed[46]|knocked[46]|connections[46]|questions[46]) \{[^}]*?(?:elements = \{([^}]*)\}[^}]*)?\}/g;

/** Reads `nft -s list table`. */
export function readRuleListing(text: string): RuleListing {
  const killed: string[] = [];
  const form = text.replace(FILLED, (_, name: string, elements: string | undefined) => {
    if (name.startsWith("killed") && elements !== undefined)
      killed.push(...elements.split(",").map((one) => one.trim()));
    return `\tset ${name} {}`;
  });
  return { form, killed: killed.sort() };
}

/** Reads `nft -j list counters`: packets by the counter's name. */
export function readPacketCounts(text: string): ReadonlyMap<string, number> {
  const { nftables } = JSON.parse(text) as { nftables: readonly { counter?: Counted }[] };
  return new Map(
    nftables.flatMap(({ counter }) => (counter ? [[counter.name, counter.packets]] : [])),
  );
}

type Counted = { readonly name: string; readonly packets: number };
