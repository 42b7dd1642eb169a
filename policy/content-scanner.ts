/**
 * What the reader of policies has to know of the engine that will run the content rules. The engine
 * belongs to the node; whoever reads a policy to enforce it passes this in.
 */
export type ContentScanner = {
  /** Bounds a pattern's matches, bytes; `undefined`: there is no longest match. */
  boundOf(pattern: string): PatternBound;
  /** The longest match that a rule of a stream may have, bytes. */
  readonly streamMatchBytesMax: number;
  /** Names of the built-in detectors. */
  readonly detectors: ReadonlySet<string>;
  /** Names that stand for several detectors at once, such as one for all kinds of secrets. */
  readonly detectorGroups?: ReadonlyMap<string, readonly string[]>;
};

/** The detectors that a rule's `detector` stands for; none when there is none of that name. */
export function detectorsNamed(name: string, scanner: ContentScanner): readonly string[] {
  return scanner.detectors.has(name) ? [name] : (scanner.detectorGroups?.get(name) ?? []);
}

export type PatternBound =
  | { readonly ok: true; readonly bytesMax: number | undefined }
  /** The engine does not take the pattern; `message` says why. */
  | { readonly ok: false; readonly message: string };
