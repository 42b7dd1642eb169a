/** Of what a program was built: path from the root, bytes, second of its last change if that tells it, SHA-256. */
export type BuiltOf = readonly [
  path: string,
  size: number,
  changedS: number | null,
  sha256: string,
];

/** A file of a program: its name and its bytes. */
export type BuiltFile = readonly [name: string, size: number];

export type Manifest = {
  /** Where the program lies, within `BUILT`. */
  readonly folder: string;
  /** What it is of, within its folder, and bytes of each. */
  readonly files: readonly BuiltFile[];
  readonly sources: readonly BuiltOf[];
};

export const BUILT: string;
export const MANIFEST: string;
export const MAIN: string;
export function areWhole(program: URL, files: readonly BuiltFile[]): boolean;
export function builtProgram(root: URL): string | undefined;
