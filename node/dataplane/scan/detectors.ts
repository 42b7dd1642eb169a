import { isCardNumber, isIban, isSocialSecurityNumber } from "./checksums.ts";
import type { ScanRule } from "./compile-rules.ts";

export type DetectorSeverity = "low" | "medium" | "high";

/** A rule that comes with Altrace. All fit a stream: their matches are bounded. */
export type Detector = ScanRule & {
  readonly severity: DetectorSeverity;
  /** The class of the data that a hit makes of its text. */
  readonly label: "secret" | "pci" | "pii";
};

/**
 * Patterns ask for no more of a secret than tells it apart: a hit comes before its last characters.
 * Prefixes that nothing else has need no word boundary, so that no letter put before hides them.
 */
export const DETECTORS: readonly Detector[] = [
  secret("altrace-virtual-key", "altk_[a-z0-9]{8,32}_[A-Za-z0-9_-]{32}"),
  secret("anthropic-api-key", "sk-ant-[a-z0-9]{2,16}-[A-Za-z0-9_-]{32}"),
  secret("openai-project-key", "sk-(?:proj|svcacct|admin|None)-[A-Za-z0-9_-]{20}"),
  secret("openai-api-key", "\\bsk-[A-Za-z0-9]{32}"),
  secret("aws-access-key-id", "(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}"),
  secret("github-token", "gh[pousr]_[A-Za-z0-9]{36}"),
  secret("github-fine-grained-token", "github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{20}"),
  secret("gitlab-token", "glpat-[A-Za-z0-9_-]{20}"),
  secret("slack-token", "(?:xox[abceoprs]|xapp)-[0-9][A-Za-z0-9-]{9}"),
  secret(
    "slack-webhook",
    "hooks\\.slack\\.com/services/T[A-Z0-9]{8,12}/B[A-Z0-9]{8,12}/[A-Za-z0-9]{20}",
  ),
  secret("google-api-key", "AIza[A-Za-z0-9_-]{35}"),
  secret("google-oauth-token", "\\bya29\\.[A-Za-z0-9_-]{20}"),
  secret("stripe-key", "\\b[rs]k_(?:live|test)_[A-Za-z0-9]{16}"),
  secret("npm-token", "npm_[A-Za-z0-9]{36}"),
  secret("hugging-face-token", "\\bhf_[A-Za-z]{34}"),
  // Header and the beginning of the claims: two objects in base64 around a dot are a token.
  secret("jwt", "\\beyJ[A-Za-z0-9_-]{10,512}\\.eyJ[A-Za-z0-9_-]{16}"),
  secret("private-key", "-----BEGIN (?:[A-Z0-9]{1,16} ){0,4}PRIVATE KEY(?: BLOCK)?-----"),
  {
    id: "payment-card",
    severity: "high",
    label: "pci",
    pattern: "\\b[2-6](?:[ -]?[0-9]){12,18}\\b",
    validate: isCardNumber,
  },
  {
    id: "iban",
    severity: "medium",
    label: "pii",
    pattern: "\\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\\b",
    validate: isIban,
  },
  {
    id: "us-social-security-number",
    severity: "medium",
    label: "pii",
    pattern: "\\b[0-9]{3}(?:-[0-9]{2}-| [0-9]{2} )[0-9]{4}\\b",
    validate: isSocialSecurityNumber,
  },
  {
    id: "email-address",
    severity: "low",
    label: "pii",
    pattern: "\\b[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\\.){1,8}[A-Za-z]{2,24}\\b",
  },
];

function secret(id: string, pattern: string): Detector {
  return { id, severity: "high", label: "secret", pattern };
}
