import { contentScanner } from "../../../node/content-scanner.ts";
import { readPolicy } from "../../../policy/read-policy.ts";

/**
 * The bundle of a policy of one model and these teams, as YAML below `teams:`.
 *
 * @param host Of the provider: another one makes another bundle.
 */
export function smallBundle(teams: string, host = "o.test"): Uint8Array {
  const text = `format: 1
providers:
  openai: { dialect: openai, base_url: "https://${host}", credential: openai, clearance: public }
models:
  openai/gpt-x:
    price: { input_usd_per_mtok: "1", output_usd_per_mtok: "1" }
    max_output_tokens: 100
classification: { levels: [public], labels: {}, default_class: public }
teams:
${teams}
`;
  const read = readPolicy(text, { file: "test", scanner: contentScanner });
  if (!read.ok) throw new Error(JSON.stringify(read.findings));
  return read.bundle;
}
