import type { ContentScanner } from "../../../policy/content-scanner.ts";

/** A small policy without fault: each test of a fault changes one part of it. */
export const SOUND_POLICY = `format: 1
providers:
  openai:
    dialect: openai
    base_url: https://api.openai.com
    credential: openai
    region: US
    clearance: confidential
models:
  openai/gpt-5-mini: {}
  openai/gpt-5: {}
classification:
  levels: [public, internal, confidential]
  labels: { pii: confidential }
  default_class: internal
content:
  - id: cards
    detector: pci
    action: refuse
    severity: high
    label: pii
teams:
  research:
    budget: { usd: { day: "10.00" } }
    defaults:
      models: [openai/gpt-5-mini]
      hours: { timezone: Europe/Berlin, windows: [mon-fri 08:00-18:00] }
    agents:
      worker-1: {}
`;

/** `SOUND_POLICY` with one part replaced; a part that is not there is a mistake of the test. */
export function changed(part: string, by: string): string {
  if (SOUND_POLICY.split(part).length !== 2) throw new Error(`"${part}" is not there once`);
  return SOUND_POLICY.replace(part, () => by);
}

/** An engine that knows two detectors, and of patterns only what their text shows. */
export const PLAIN_SCANNER: ContentScanner = {
  boundOf: (pattern) => {
    if (pattern.includes("(?=")) return { ok: false, message: "look-ahead is not supported" };
    return { ok: true, bytesMax: /[*+]/.test(pattern) ? undefined : pattern.length };
  },
  streamMatchBytesMax: 64,
  detectors: new Set(["pci", "secret"]),
};
