/** Bounds of a contract. All are looked at before anything that costs more than a comparison. */

/** Characters of one token at most. */
export const TOKEN_CHARS_MAX = 4 * 1024;
/** Characters of a chain at most. */
export const CHAIN_CHARS_MAX = 32 * 1024;
/** Delegations below a root at most, whatever its own limit says. */
export const DEPTH_MAX = 8;
/** Items of any one list. */
export const ITEMS_MAX = 64;
/** Objects and arrays inside one another: as deep as the windows of a week lie. */
export const NESTING_MAX = 7;
/** Longest life of a root, seconds. A revocation is remembered for longer than that. */
export const ROOT_LIFE_S_MAX = 24 * 3600;
/** Characters of a proof of possession at most. */
export const PROOF_CHARS_MAX = 2 * 1024;
/** How far ahead of ours an issuer's clock may be, seconds. */
export const SKEW_S_MAX = 30;
