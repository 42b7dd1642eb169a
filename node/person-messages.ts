/** What stands for a person in records, and until when, ms since the Unix epoch. */
export type Pseudonym = { readonly text: string; readonly untilMs: number };

/** An operator's order to erase the keys of a person, as every node of the mesh has it. */
export type Redaction = {
  readonly scope: string;
  /** SHA-256 of the record that it came in, hexadecimal. */
  readonly record: string;
  /** What stands for the person in it, hexadecimal: nobody is named. */
  readonly tag: string;
  /** Once it was carried out, keys that were made later stay, ms since the Unix epoch. */
  readonly madeByMs: number;
  /** The operator's key; `unknown`: no listed key has signed it, since it was taken. */
  readonly by: string;
  readonly reason: string;
};
