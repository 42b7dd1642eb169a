import { subscribe, unsubscribe } from "node:diagnostics_channel";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import type { Altrace } from "./start-altrace.ts";

/** The official clients as an agent has them: a base URL and a key, nothing else. */
export function openaiOf(at: Pick<Altrace, "gateway" | "key">, agent: string): OpenAI {
  return new OpenAI({ baseURL: `${at.gateway}/v1`, apiKey: at.key(agent) });
}

export function anthropicOf(at: Pick<Altrace, "gateway" | "key">, agent: string): Anthropic {
  return new Anthropic({ baseURL: at.gateway, apiKey: at.key(agent), authToken: null });
}

/** Requests that this process has begun at an origin while `run` ran, retries included. */
export async function countingRequests<T>(
  origin: string,
  run: () => Promise<T>,
): Promise<{ readonly result: T; readonly requests: number }> {
  let requests = 0;
  const count = (message: unknown): void => {
    const { request } = message as { readonly request: { readonly origin: string } };
    if (String(request.origin) === origin) requests += 1;
  };
  // Both SDKs use the platform's fetch, which tells of every request that it makes.
  subscribe("undici:request:create", count);
  try {
    return { result: await run(), requests };
  } finally {
    unsubscribe("undici:request:create", count);
  }
}

/** What a promise fails with; a promise that does not fail is the test's failure. */
export async function failureOf<E extends Error>(
  promise: PromiseLike<unknown>,
  kind: abstract new (...args: never[]) => E,
): Promise<E> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof kind) return error;
    throw error;
  }
  throw new Error(`expected a ${kind.name}, and nothing failed`);
}

/** The reason that the answer behind an SDK's error named. */
export function reasonOf(error: unknown): string | null | undefined {
  return (error as { readonly headers?: Headers }).headers?.get("x-altrace-reason");
}
