import { CommandError } from "./command-context.ts";

/** What a node says to a request to delegate: a contract, or a refusal in OpenAI's envelope. */
export type Delegated = {
  readonly contract: string;
  readonly key?: string;
  readonly chain: string;
  readonly agent: string;
  readonly expires_at: string;
};

/** Where a gateway takes requests to delegate. */
export function delegationsUrl(gateway: string): string {
  return `${gateway}/altrace/v1/delegations`;
}

/** @throws CommandError The node refuses. */
export async function askDelegation(
  gateway: string,
  headers: Readonly<Record<string, string>>,
  body: object,
): Promise<Delegated> {
  const response = await fetch(delegationsUrl(gateway), {
    method: "POST",
    headers: { ...headers, "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const answer = (await response.json()) as Delegated & {
    readonly error?: { readonly message?: string };
  };
  if (response.ok) return answer;
  const reason = response.headers.get("x-altrace-reason") ?? String(response.status);
  throw new CommandError(`${reason}: ${answer.error?.message ?? "refused"}`);
}
