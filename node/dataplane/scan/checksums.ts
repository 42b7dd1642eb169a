/**
 * Whether a payment card number's last digit is right, and its beginning and length are those of a
 * card scheme. Anything but digits is skipped.
 *
 * @see ISO/IEC 7812-1, annex B (the Luhn formula)
 */
export function isCardNumber(text: string): boolean {
  // Nine of ten texts end here, which is why the cheaper question is asked first.
  if (luhnSum(text) % 10 !== 0) return false;
  return CARD_SCHEMES.test(text.replace(/[^0-9]/g, ""));
}

/** Visa, Mastercard, American Express, Diners Club, Discover, JCB, UnionPay, Maestro. */
const CARD_SCHEMES = new RegExp(
  [
    "4(?:\\d{12}|\\d{15}|\\d{18})",
    "5[1-5]\\d{14}",
    "2(?:22[1-9]|2[3-9]\\d|[3-6]\\d\\d|7[01]\\d|720)\\d{12}",
    "3[47]\\d{13}",
    "3(?:0[0-5]|095|[689]\\d)\\d{11,16}",
    "6(?:011|4[4-9]\\d|5\\d\\d)\\d{12,15}",
    "35(?:2[89]|[3-8]\\d)\\d{12,15}",
    "62\\d{14,17}",
    "(?:50|5[6-9]|6[37])\\d{11,17}",
  ]
    .map((scheme) => `^${scheme}$`)
    .join("|"),
);

function luhnSum(text: string): number {
  let sum = 0;
  let doubled = false;
  for (let index = text.length - 1; index >= 0; index--) {
    const digit = text.charCodeAt(index) - 0x30;
    if (digit < 0 || digit > 9) continue;
    const weighted = doubled ? 2 * digit : digit;
    sum += weighted > 9 ? weighted - 9 : weighted;
    doubled = !doubled;
  }
  return sum;
}

/**
 * Whether an account number has its country's length and right check digits. Spaces are skipped.
 *
 * @see ISO 13616-1 (IBAN) and ISO/IEC 7064 (MOD 97-10)
 */
export function isIban(text: string): boolean {
  const compact = text.replace(/ /g, "");
  if (IBAN_LENGTHS[compact.slice(0, 2)] !== compact.length) return false;
  let remainder = 0;
  for (const character of compact.slice(4) + compact.slice(0, 4)) {
    // A letter counts as two digits: A is 10, Z is 35.
    const value = Number.parseInt(character, 36);
    if (Number.isNaN(value)) return false;
    remainder = (remainder * (value > 9 ? 100 : 10) + value) % 97;
  }
  return remainder === 1;
}

/** Characters of each country's account numbers, from SWIFT's IBAN registry. */
const IBAN_LENGTHS: Readonly<Record<string, number>> = {
  AD: 24,
  AE: 23,
  AL: 28,
  AT: 20,
  AZ: 28,
  BA: 20,
  BE: 16,
  BG: 22,
  BH: 22,
  BI: 27,
  BR: 29,
  BY: 28,
  CH: 21,
  CR: 22,
  CY: 28,
  CZ: 24,
  DE: 22,
  DJ: 27,
  DK: 18,
  DO: 28,
  EE: 20,
  EG: 29,
  ES: 24,
  FI: 18,
  FK: 18,
  FO: 18,
  FR: 27,
  GB: 22,
  GE: 22,
  GI: 23,
  GL: 18,
  GR: 27,
  GT: 28,
  HN: 28,
  HR: 21,
  HU: 28,
  IE: 22,
  IL: 23,
  IQ: 23,
  IS: 26,
  IT: 27,
  JO: 30,
  KW: 30,
  KZ: 20,
  LB: 28,
  LC: 32,
  LI: 21,
  LT: 20,
  LU: 20,
  LV: 21,
  LY: 25,
  MC: 27,
  MD: 24,
  ME: 22,
  MK: 19,
  MN: 20,
  MR: 27,
  MT: 31,
  MU: 30,
  NI: 28,
  NL: 18,
  NO: 15,
  OM: 23,
  PK: 24,
  PL: 28,
  PS: 29,
  PT: 25,
  QA: 29,
  RO: 24,
  RS: 22,
  RU: 33,
  SA: 24,
  SC: 31,
  SD: 18,
  SE: 24,
  SI: 19,
  SK: 24,
  SM: 27,
  SO: 23,
  ST: 25,
  SV: 28,
  TL: 23,
  TN: 24,
  TR: 26,
  UA: 29,
  VA: 22,
  VG: 24,
  XK: 20,
  YE: 30,
};

/**
 * Whether a US social security number is one that has been or may be given out.
 *
 * @see https://www.ssa.gov/employer/randomization.html
 */
export function isSocialSecurityNumber(text: string): boolean {
  const [area, group, serial] = text.split(/[- ]/) as [string, string, string];
  if (area === "000" || area === "666" || area >= "900") return false;
  return group !== "00" && serial !== "0000";
}
