import type { LookupFunction } from "node:net";

export type Address = { readonly address: string; readonly family: 4 | 6 };

/** Why a name has no address. */
export class ResolutionFault extends Error {
  /** As c-ares has it, `ENOTFOUND` or `ETIMEOUT` among others. */
  readonly code: string;
  constructor(code: string, name: string) {
    super(`${code}: ${name}`);
    this.name = "ResolutionFault";
    this.code = code;
  }
}

export type NameResolver = {
  /** The addresses of a name, at least one. Rejects with ResolutionFault. */
  resolve(name: string): Promise<readonly Address[]>;
  /** The same as sockets want it. */
  readonly lookup: LookupFunction;
};
