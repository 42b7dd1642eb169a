import { type ContractRefusal, refusalOf } from "../../authority/contract-refusal.ts";
import { signatureName } from "../../authority/known-links.ts";
import { likelyHolder } from "../../authority/likely-holder.ts";
import type { Envelope } from "../../authority/token.ts";
import {
  type ChainBasis,
  type ChainEnv,
  chainSteps,
  isSigned,
  type Question,
  type VerifiedChain,
} from "../../authority/verify-chain.ts";

// The verdict of `verifyChain`, in turns, with some of the signatures looked at by other threads meanwhile.
//
// A1. The steps are the same, in the same order. What is found out ahead is never more than the answer to a
//     question that they come to ask, about the same bytes, the same key and the same signature.
// A2. Ahead only for text from somebody who has no use for a forged one. Of what is shown by others nothing is
//     looked at behind the first signature that is not good, so a forged chain costs one, as long as it may be.
// A3. Whose signature a link must have stands in the payload above, which is not parsed yet: the key is looked
//     for as text, and is a guess. A wrong one answers no question.
// A4. Signatures that several chains share are looked at once, also while they are.
// A5. Others are handed the larger, last half, and this thread begins with the first. Where nobody is to
//     spare it does all.

/** A signature, and whose it must be. */
type Link = { readonly envelope: Envelope; readonly key: Uint8Array };

type VerifyAside = (
  key: Uint8Array,
  bytes: Uint8Array,
  signature: Uint8Array,
) => Promise<boolean> | undefined;

/** Signatures that other threads look at for chains that are being verified. */
export class SignaturesAside {
  readonly #verify: VerifyAside;
  readonly #begun = new Map<string, Promise<boolean>>();

  /** @param verify Never rejects; `undefined`: no thread is to spare. */
  constructor(verify: VerifyAside) {
    this.#verify = verify;
  }

  /** What becomes of the link's signature, if somebody has begun to look at it. */
  find(link: Link): Promise<boolean> | undefined {
    return this.#begun.get(nameOf(link));
  }

  /** Has it looked at, for others as well; `undefined`: no thread is to spare. */
  begin(link: Link): Promise<boolean> | undefined {
    const { signingInput, signature } = link.envelope;
    const isGood = this.#verify(link.key, signingInput, signature);
    if (isGood !== undefined) this.#begun.set(nameOf(link), isGood);
    return isGood;
  }

  /** Whoever began has read the link: what was good of it is known. */
  end(link: Link): void {
    this.#begun.delete(nameOf(link));
  }
}

/** The id is the hash of all that was signed. */
function nameOf({ envelope: { id, signature }, key }: Link): string {
  return `${id}${signatureName(key, signature)}`;
}

export type AsideEnv = ChainEnv & {
  /** A2: nothing is looked at ahead without it. */
  readonly aside?: SignaturesAside;
  /** Resolves in a later turn: no task of the calling thread does more than one link. */
  readonly nextTurn: () => Promise<unknown>;
};

/**
 * As `verifyChain`. Who is trusted is looked at once, at the beginning: whoever calls sees to it that it was still so
 * at the end.
 */
export async function verifyChainAside(
  text: string,
  env: AsideEnv,
): Promise<VerifiedChain | ContractRefusal> {
  const ahead = env.aside && new Ahead(env, env.aside);
  try {
    const steps = chainSteps(text, env);
    let step = steps.next(false);
    while (!step.done) {
      const question = step.value;
      if (question === undefined) await env.nextTurn();
      const isGood = question && (ahead?.answerTo(question) ?? isSigned(question, env));
      // What this thread has seen itself it reads in the same turn, before anybody asks for it again.
      step = steps.next(typeof isGood === "object" ? await isGood : isGood === true);
    }
    return step.value;
  } catch (error) {
    return refusalOf(error);
  } finally {
    ahead?.end();
  }
}

/** What was asked about one chain before its turn came. */
class Ahead {
  readonly #env: ChainBasis;
  readonly #aside: SignaturesAside;
  readonly #begun: Link[] = [];
  #hasAsked = false;

  constructor(env: ChainBasis, aside: SignaturesAside) {
    this.#env = env;
    this.#aside = aside;
  }

  /** `undefined`: nobody has been asked. */
  answerTo({ envelope, key, below }: Question): Promise<boolean> | undefined {
    const answer = this.#aside.find({ envelope, key });
    if (answer === undefined && !this.#hasAsked) {
      this.#hasAsked = true;
      this.#ask(unknownBelow(envelope, below, this.#env));
    }
    return answer;
  }

  /** A5. */
  #ask(links: readonly Link[]): void {
    for (const link of links.slice(Math.floor((links.length - 1) / 2))) {
      if (this.#aside.find(link) !== undefined) continue;
      if (this.#aside.begin(link) === undefined) return;
      this.#begun.push(link);
    }
  }

  end(): void {
    for (const link of this.#begun) this.#aside.end(link);
  }
}

/** A3: links whose signature is not known, each with the key that it must be of if all above are contracts. */
function unknownBelow(
  first: Envelope,
  below: readonly Envelope[],
  { known }: ChainBasis,
): readonly Link[] {
  const links: Link[] = [];
  let above = first;
  for (const envelope of below) {
    const key = likelyHolder(above.payload);
    if (key === undefined) break;
    if (known?.find(envelope, key) === undefined) links.push({ envelope, key });
    above = envelope;
  }
  return links;
}
