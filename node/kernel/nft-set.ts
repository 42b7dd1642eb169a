/** One set of a ruleset, in nft's own words. */
export type NftSet = {
  readonly name: string;
  readonly type: string;
  readonly elements: readonly string[];
};

/** Renders a set; the elements are sorted, so that equal sets are equal texts. */
export function nftSet({ name, type, elements }: NftSet): string {
  const sorted = [...new Set(elements)].sort();
  const members = sorted.length === 0 ? "" : ` elements = { ${sorted.join(", ")} };`;
  return `  set ${name} { type ${type};${members} }`;
}

/** The name of an interface in nft's words; names were checked for their form before. */
export function quoted(link: string): string {
  return `"${link}"`;
}
