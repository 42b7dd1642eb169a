import { readFileSync } from "node:fs";
import { readClaims } from "../authority/claims.ts";
import { orRefusal } from "../authority/contract-refusal.ts";
import { readEnvelope } from "../authority/token.ts";
import { type Contract, LINK_SEPARATOR } from "../authority/verify-chain.ts";
import { errorMessage } from "../ports/error-message.ts";
import { CommandError } from "./command-context.ts";

/** A chain itself, or `@file`. */
export function chainText(chain: string): string {
  if (!chain.startsWith("@")) return chain;
  try {
    return readFileSync(chain.slice(1), "utf8").trim();
  } catch (error) {
    throw new CommandError(`${chain}: ${errorMessage(error)}`, 2);
  }
}

/** The contracts of a chain as they say of themselves, root first: nothing is verified. */
export function readChain(text: string): readonly Contract[] {
  const links = orRefusal(() =>
    text.split(LINK_SEPARATOR).map((token) => {
      const { id, payload } = readEnvelope(token);
      return { id, claims: readClaims(payload) };
    }),
  );
  if ("refused" in links) throw new CommandError(`${links.refused}: ${links.detail}`);
  return links;
}
