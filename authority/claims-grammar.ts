/** How the texts that a contract holds are spelt, as parts of regular expressions. All are ASCII, none needs an escape. */
export const GRAMMAR = {
  mesh: "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?",
  subject: "[A-Za-z0-9][A-Za-z0-9._:@/-]{0,127}",
  issuer: "[A-Za-z0-9][A-Za-z0-9._:/-]{0,159}",
  label: "[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
  hash: "[A-Za-z0-9_-]{43}",
  hashOrNone: "(?:[A-Za-z0-9_-]{43})?",
  /** An address as the listener prints it: digits and dots, or hexadecimal groups. */
  source: "(?:[0-9]{1,3}(?:\\.[0-9]{1,3}){3}|[0-9a-f:]{2,39})?",
  /** A scheme of classes, or one of its compartments. */
  identifier: "[a-z0-9][a-z0-9._-]{0,127}",
  /** A time zone's name. */
  zone: "[A-Za-z0-9_+-]{1,32}(?:/[A-Za-z0-9_+-]{1,32}){0,2}",
  authorityType: "urn:altrace:authority:v1",
} as const;
