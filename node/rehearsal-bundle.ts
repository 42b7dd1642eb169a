import { readPolicy } from "../policy/read-policy.ts";
import { contentScanner } from "./content-scanner.ts";

/** A policy with a little of everything that takes a while to compile. */
const TEXT = `format: 1
providers:
  openai:
    dialect: openai
    base_url: https://api.openai.com
    credential: openai
    region: US
    clearance: restricted
models: { openai/gpt-5-mini: {} }
classification:
  levels: [public, restricted]
  labels: { pii: restricted, pci: restricted, secret: restricted }
  default_class: public
content:
  - { id: secrets, detector: secret, action: refuse, severity: high, label: secret }
  - { id: payment-cards, detector: pci, action: refuse, severity: high, label: pci }
  - { id: persons, detector: pii, action: warn, severity: low, label: pii }
teams:
  rehearsal:
    budget: { usd: { day: "1.00" } }
    defaults:
      rate: { requests: 10/second }
      models: [openai/gpt-5-mini]
      hosts: [files.example.com]
    agents: { nobody: {} }
overrun_limit_usd: "1.00"
`;

/** A bundle that is in force nowhere: for whoever tries what policies are put through before there is one. */
export function rehearsalBundle(): Uint8Array {
  const read = readPolicy(TEXT, { file: "rehearsal", scanner: contentScanner });
  if (!read.ok) throw new Error(`invariant broken: ${JSON.stringify(read.findings)}`);
  return read.bundle;
}
