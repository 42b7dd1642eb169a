import { canonicalAddress } from "./address-bytes.ts";
import type { NotedPod } from "./link-map.ts";

/**
 * Reads what a network plugin's library keeps of a pod it has connected (`/var/lib/cni/results`).
 *
 * @returns undefined for a text that is no such note: one plugin's leftovers must not hide the others.
 * @see https://github.com/containernetworking/cni/blob/main/libcni/api.go, cachedInfo
 */
export function readCniResult(text: string): NotedPod | undefined {
  try {
    const { result } = JSON.parse(text) as CachedResult;
    const links = (result?.interfaces ?? []).filter(({ sandbox }) => !sandbox);
    const addresses = (result?.ips ?? []).map(({ address }) =>
      canonicalAddress(address.split("/")[0] as string),
    );
    return { addresses, links: links.map(({ name }) => name) };
  } catch {
    return undefined;
  }
}

type CachedResult = {
  readonly result?: {
    readonly interfaces?: readonly { readonly name: string; readonly sandbox?: string }[];
    readonly ips?: readonly { readonly address: string }[];
  };
};
