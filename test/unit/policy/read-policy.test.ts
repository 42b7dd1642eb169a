import { describe, expect, test } from "vitest";
import { type Finding, renderFinding } from "../../../policy/findings.ts";
import { readPolicy } from "../../../policy/read-policy.ts";
import { changed, PLAIN_SCANNER, SOUND_POLICY } from "./policy-texts.ts";

const read = (text: string) => readPolicy(text, { file: "p.yaml", scanner: PLAIN_SCANNER });

/** `line:path code`, and the message where a test looks at it. */
function errorsOf(text: string): readonly string[] {
  return read(text)
    .findings.filter((finding) => finding.level === "error")
    .map(({ line, path, code }) => `${line}: ${path} ${code}`);
}

function messagesOf(text: string): string {
  return read(text).findings.map(renderFinding).join("\n");
}

test("a sound policy has no errors", () => {
  expect(errorsOf(SOUND_POLICY)).toEqual([]);
  expect(read(SOUND_POLICY).ok).toBe(true);
});

type Case = readonly [title: string, part: string, by: string, errors: readonly string[]];

function everyCase(cases: readonly Case[]) {
  test.each(cases)("%s", (_title, part, by, errors) => {
    const text = changed(part, by);
    expect(errorsOf(text), messagesOf(text)).toEqual(errors);
    expect(read(text).ok).toBe(false);
  });
}

describe("arguments of tools", () => {
  const withRules = (rules: string) => `format: 1\ntools: { arguments: { ${rules} } }`;
  const at = "tools.arguments";
  everyCase([
    [
      "of what is no tool's name",
      "format: 1",
      withRules('"*": { a: {} }'),
      [`2: ${at}.* malformed`],
    ],
    [
      "that are text and number at once",
      "format: 1",
      withRules("mcp/x/a: { n: { chars_max: 3, at_most: 4 } }"),
      [`2: ${at}.mcp/x/a.n dead_rule`],
    ],
    [
      "that no number can obey",
      "format: 1",
      withRules("mcp/x/a: { n: { at_least: 5, at_most: 4 } }"),
      [`2: ${at}.mcp/x/a.n dead_rule`],
    ],
    [
      "that no text can obey",
      "format: 1",
      withRules("mcp/x/a: { n: { one_of: [] } }"),
      [`2: ${at}.mcp/x/a.n.one_of dead_rule`],
    ],
    [
      "within what leads out of itself",
      "format: 1",
      withRules("mcp/x/a: { n: { within: [/srv/../etc] } }"),
      [`2: ${at}.mcp/x/a.n.within[0] malformed`],
    ],
    [
      "by a rule that is none",
      "format: 1",
      withRules("mcp/x/a: { n: { matches: x } }"),
      [`2: ${at}.mcp/x/a.n.matches unknown_field`],
    ],
  ]);

  test("of tools that are called by a client, and of MCP servers'", () => {
    const text = changed("format: 1", withRules("run_shell: { a: {} }, mcp/x/a: { a: {} }"));
    expect(errorsOf(text)).toEqual([]);
  });
});

describe("sessions of a model", () => {
  const prices = 'input_usd_per_mtok: "1", output_usd_per_mtok: "1"';
  const fixed = `price: { ${prices}, fixed_usd_per_call: "2" }`;
  const codes = (model: string) => {
    const text = changed("openai/gpt-5-mini: {}", `openai/gpt-5-mini: { ${model} }`);
    return errorsOf(text).map((error) => error.slice(error.indexOf(" ") + 1));
  };

  test("may go unread where it is said what one costs", () => {
    const at = "models.openai/gpt-5-mini.sessions";
    expect(codes(`sessions: unread, ${fixed}`)).toEqual([]);
    expect(codes("sessions: unread")).toEqual([`${at} unpriced_model`]);
    expect(codes(`sessions: unread, price: { ${prices} }`)).toEqual([`${at} unpriced_model`]);
    expect(codes(`sessions: read, ${fixed}`)).toHaveLength(1);
  });
});

describe("the document", () => {
  everyCase([
    ["another format", "format: 1", "format: 2", ["1: format out_of_range"]],
    ["format as text", "format: 1", 'format: "1"', ["1: format wrong_type"]],
    ["no format", "format: 1\n", "", ["1:  missing_field"]],
    ["an unknown section", "format: 1", "format: 1\nteam: {}", ["2: team unknown_field"]],
    [
      "an agent twice",
      "      worker-1: {}",
      "      worker-1: {}\n      worker-1: {}",
      ["30:  syntax"],
    ],
    ["a section twice", "format: 1", "format: 1\nteams: {}", ["23:  syntax"]],
    ["broken YAML", "format: 1", "format: [1", ["2:  syntax"]],
    ["an anchor", "credential: openai", "credential: &c openai", ["6:  syntax"]],
    ["a tag", "credential: openai", "credential: !!binary b3BlbmFp", ["6:  syntax"]],
    ["a merge key", "      worker-1: {}", "      worker-1: { <<: {} }", ["29:  syntax"]],
    ["a second document", "format: 1", "format: 1\n---", ["2:  syntax"]],
    [
      "text where a map belongs",
      "classification:\n  levels: [public, internal, confidential]\n" +
        "  labels: { pii: confidential }\n  default_class: internal\n",
      "classification: internal\n",
      ["12: classification wrong_type", "18: content[0].label unknown_reference"],
    ],
  ]);

  test("an alias is refused, whatever it stands for", () => {
    const text = changed("credential: openai", "credential: &c openai").replace(
      "region: US",
      "region: *c",
    );
    expect(errorsOf(text)).toEqual(["6:  syntax", "7:  syntax"]);
  });

  test.each([
    ["nothing", ""],
    ["a comment", "# nothing"],
    ["a list", "- 1"],
    ["a word", "policy"],
    ["text that nests beyond any use", `${"{a: ".repeat(40)}1${"}".repeat(40)}`],
    ["text over the limit", `# ${"x".repeat(5_000_000)}`],
  ])("%s is no policy", (_title, text) => {
    const result = read(text);
    expect(result.ok).toBe(false);
    expect(result.findings).toHaveLength(1);
  });
});

test("text that nests beyond any stack is no policy, and is not told of without end", () => {
  const { ok, findings } = read("[".repeat(20_000));
  expect(ok).toBe(false);
  expect(findings.length).toBeGreaterThanOrEqual(1);
  expect(findings.length).toBeLessThanOrEqual(10);
});

describe("providers and models", () => {
  everyCase([
    [
      "a misspelt field",
      "base_url: https",
      "base_ulr: https",
      ["3: providers.openai missing_field", "5: providers.openai.base_ulr unknown_field"],
    ],
    [
      "an unknown dialect",
      "dialect: openai",
      "dialect: open-ai",
      ["4: providers.openai.dialect unknown_reference"],
    ],
    [
      "a credential in clear text",
      "https://api.openai.com",
      "http://api.openai.com",
      ["5: providers.openai.base_url malformed"],
    ],
    ["no country", "region: US", "region: UK", ["7: providers.openai.region malformed"]],
    [
      "a country that YAML reads as false",
      "region: US",
      "region: false",
      ["7: providers.openai.region wrong_type"],
    ],
    [
      "an unknown level",
      "clearance: confidential",
      "clearance: confidental",
      ["8: providers.openai.clearance unknown_reference"],
    ],
    [
      "a model of an unknown provider",
      "openai/gpt-5: {}",
      "opneai/gpt-5: {}",
      ["11: models.opneai/gpt-5 unknown_reference"],
    ],
    [
      "a model without a price",
      "openai/gpt-5: {}",
      "openai/gpt-9: {}",
      ["11: models.openai/gpt-9 missing_field", "11: models.openai/gpt-9 unpriced_model"],
    ],
    [
      "a model in upper case",
      "openai/gpt-5: {}",
      "openai/GPT-5: {}",
      ["11: models.openai/GPT-5 malformed"],
    ],
    [
      "an alias that is another model's name",
      "openai/gpt-5: {}",
      "openai/gpt-5: { aliases: [gpt-5-mini] }",
      ["11: models.openai/gpt-5 conflict"],
    ],
    [
      "money without quotes",
      "openai/gpt-5: {}",
      'openai/gpt-5: { price: { input_usd_per_mtok: 1.25, output_usd_per_mtok: "10" } }',
      ["11: models.openai/gpt-5.price.input_usd_per_mtok wrong_type"],
    ],
    [
      "money finer than a micro-dollar",
      "openai/gpt-5: {}",
      'openai/gpt-5: { price: { input_usd_per_mtok: "0.0000001", output_usd_per_mtok: "10" } }',
      ["11: models.openai/gpt-5.price.input_usd_per_mtok malformed"],
    ],
    [
      "cached input dearer than input",
      "openai/gpt-5: {}",
      "openai/gpt-5:\n    price:\n      input_usd_per_mtok: '1'\n" +
        "      cached_input_usd_per_mtok: '2'\n      output_usd_per_mtok: '10'",
      ["14: models.openai/gpt-5.price.cached_input_usd_per_mtok conflict"],
    ],
    [
      "long context cheaper than short",
      "openai/gpt-5: {}",
      "openai/gpt-5:\n    price:\n      input_usd_per_mtok: '2'\n" +
        "      output_usd_per_mtok: '10'\n      long_context:\n" +
        "        above_input_tokens: 200000\n        input_usd_per_mtok: '1'\n" +
        "        output_usd_per_mtok: '10'",
      ["15: models.openai/gpt-5.price.long_context conflict"],
    ],
    [
      "full trust in a bill",
      "openai/gpt-5: {}",
      "openai/gpt-5: { distrust: '1' }",
      ["11: models.openai/gpt-5.distrust out_of_range"],
    ],
    [
      "too many aliases",
      "openai/gpt-5: {}",
      `openai/gpt-5: { aliases: [${Array.from({ length: 17 }, (_, i) => `a${i}`).join(", ")}] }`,
      ["11: models.openai/gpt-5.aliases too_large"],
    ],
  ]);

  test("two models of one dialect and name are told apart by by_own_name", () => {
    const second = "  eu: { dialect: openai, base_url: https://eu.example.com, credential: eu, ";
    const both = changed(
      "models:\n",
      `${second}clearance: public, price_list: openai }\nmodels:\n`,
    );
    const conflict = both.replace("openai/gpt-5: {}", "openai/gpt-5: {}\n  eu/gpt-5: {}");
    expect(errorsOf(conflict)).toEqual(["13: models.eu/gpt-5 conflict"]);
    const apart = both.replace(
      "openai/gpt-5: {}",
      "openai/gpt-5: {}\n  eu/gpt-5: { by_own_name: false }",
    );
    expect(errorsOf(apart)).toEqual([]);
  });
});

describe("classification and content", () => {
  everyCase([
    [
      "a label of an unknown level",
      "labels: { pii: confidential }",
      "labels: { pii: secret }",
      ["14: classification.labels.pii unknown_reference", "21: content[0].label unknown_reference"],
    ],
    [
      "a level twice",
      "levels: [public, internal, confidential]",
      "levels: [public, internal, confidential, public]",
      ["13: classification.levels[3] duplicate"],
    ],
    [
      "an unknown default class",
      "default_class: internal",
      "default_class: interna",
      ["15: classification.default_class unknown_reference"],
    ],
    [
      "levels of one's own without a default class",
      "levels: [public, internal, confidential]\n" +
        "  labels: { pii: confidential }\n  default_class: internal",
      "levels: [low, confidential]\n  labels: { pii: confidential }",
      ["12: classification missing_field"],
    ],
    [
      "an unknown detector",
      "detector: pci",
      "detector: pcl",
      ["18: content[0].detector unknown_reference"],
    ],
    ["an unknown label", "label: pii", "label: pi", ["21: content[0].label unknown_reference"]],
    ["a rule that looks for nothing", "    detector: pci\n", "", ["17: content[0] missing_field"]],
    [
      "a rule that looks for two things",
      "detector: pci",
      "detector: pci\n    pattern: abc",
      ["17: content[0] conflict"],
    ],
    [
      "a pattern the engine does not take",
      "detector: pci",
      "pattern: a(?=b)",
      ["18: content[0].pattern malformed"],
    ],
    [
      "an unbounded pattern on a stream",
      "detector: pci",
      "pattern: a+",
      ["18: content[0].pattern unbounded_rule"],
    ],
    [
      "a pattern longer than a stream may hold back",
      "detector: pci",
      `pattern: ${"a".repeat(65)}`,
      ["18: content[0].pattern unbounded_rule"],
    ],
    [
      "an unknown action",
      "action: refuse",
      "action: block",
      ["19: content[0].action unknown_reference"],
    ],
    [
      "a label rule without label",
      "action: refuse\n    severity: high\n    label: pii",
      "action: label\n    severity: high",
      ["17: content[0] missing_field"],
    ],
    [
      "a label on responses",
      "action: refuse",
      "action: label\n    direction: response",
      ["17: content[0] dead_rule"],
    ],
    [
      "two rules of one id",
      "    label: pii\n",
      "    label: pii\n  - { id: cards, detector: secret, action: warn, severity: low }\n",
      ["22: content[1] duplicate"],
    ],
    [
      "a rule in the shadow of an earlier one",
      "    label: pii\n",
      "    label: pii\n  - { id: soft, detector: pci, action: warn, severity: low }\n",
      ["22: content[1] dead_rule"],
    ],
    [
      "a rule in the shadow of a later one",
      "action: refuse\n    severity: high\n    label: pii\n",
      "action: warn\n    severity: low\n" +
        "  - { id: hard, detector: pci, action: refuse, severity: low }\n",
      ["21: content[1] dead_rule"],
    ],
  ]);

  test("an unbounded pattern may look at requests, which are held whole", () => {
    const text = changed("detector: pci", "pattern: a+\n    direction: request");
    expect(errorsOf(text)).toEqual([]);
  });

  test("rules for one thing that differ in direction or label stand beside one another", () => {
    const second =
      "  - { id: soft, detector: pci, direction: request, action: warn, severity: low }\n";
    const apart = changed("action: refuse", "action: refuse\n    direction: response").replace(
      "    label: pii\n",
      `    label: pii\n${second}`,
    );
    expect(errorsOf(apart)).toEqual([]);
    const labelled = changed("    label: pii\n", "").replace(
      "    severity: high\n",
      "    severity: high\n  - { id: l, detector: pci, direction: request, action: label, " +
        "severity: low, label: pii }\n",
    );
    expect(errorsOf(labelled)).toEqual([]);
  });
});

describe("teams and agents", () => {
  const agent = "      worker-1: {}";
  const grant = (text: string) => `      worker-1: { ${text} }`;

  everyCase([
    ["a team in upper case", "  research:\n", "  Research:\n", ["23: teams.Research malformed"]],
    [
      "an agent's name with a dot",
      "worker-1: {}",
      "worker.1: {}",
      ["29: teams.research.agents.worker.1 malformed"],
    ],
    [
      "nothing where a grant belongs",
      "worker-1: {}",
      "worker-1:",
      ["29: teams.research.agents.worker-1 wrong_type"],
    ],
    [
      "a grant of no configured model",
      "models: [openai/gpt-5-mini]",
      "models: [openai/gpt-5-mni]",
      ["26: teams.research.defaults.models[0] dead_rule"],
    ],
    [
      "a star that is no pattern",
      agent,
      grant('models: ["openai/gpt*"]'),
      ["29: teams.research.agents.worker-1.models[0] malformed"],
    ],
    [
      "quarantine that leaves nothing",
      agent,
      grant("quarantine: { models: [openai/gpt-5] }"),
      ["29: teams.research.agents.worker-1.quarantine.models[0] dead_rule"],
    ],
    [
      "a tool without verbs",
      agent,
      grant("tools: { search: [] }"),
      ["29: teams.research.agents.worker-1.tools.search dead_rule"],
    ],
    [
      "an unknown verb",
      agent,
      grant("tools: { search: [call, wirte] }"),
      ["29: teams.research.agents.worker-1.tools.search[1] unknown_reference"],
    ],
    [
      "an address where a host belongs",
      agent,
      grant("hosts: [127.0.0.1]"),
      ["29: teams.research.agents.worker-1.hosts[0] malformed"],
    ],
    [
      "a time zone that is none",
      "timezone: Europe/Berlin",
      "timezone: Europe/Berln",
      ["27: teams.research.defaults.hours.timezone malformed"],
    ],
    [
      "a time zone in another spelling",
      "timezone: Europe/Berlin",
      "timezone: europe/berlin",
      ["27: teams.research.defaults.hours.timezone malformed"],
    ],
    [
      "a window that is none",
      "mon-fri 08:00-18:00",
      "mon-fri 8-18",
      [
        "27: teams.research.defaults.hours.windows dead_rule",
        "27: teams.research.defaults.hours.windows[0] malformed",
      ],
    ],
    [
      "a word other than always",
      agent,
      grant("hours: never"),
      ["29: teams.research.agents.worker-1.hours unknown_reference"],
    ],
    [
      "no hours at all",
      agent,
      grant("hours: []"),
      ["29: teams.research.agents.worker-1.hours missing_field"],
    ],
    [
      "a region that is none",
      agent,
      grant("regions: { processing: [EU, GER] }"),
      ["29: teams.research.agents.worker-1.regions.processing[1] malformed"],
    ],
    [
      "no region at all",
      agent,
      grant("regions: { source: [] }"),
      ["29: teams.research.agents.worker-1.regions.source dead_rule"],
    ],
    [
      "an unknown clearance",
      agent,
      grant("clearance: top"),
      ["29: teams.research.agents.worker-1.clearance unknown_reference"],
    ],
    [
      "clamping without a floor",
      agent,
      grant("on_unaffordable: clamp"),
      ["29: teams.research.agents.worker-1.on_unaffordable missing_field"],
    ],
    [
      "a floor without clamping",
      agent,
      grant("clamp_floor_tokens: 100"),
      ["29: teams.research.agents.worker-1.clamp_floor_tokens dead_rule"],
    ],
    [
      "an output limit of nothing",
      agent,
      grant("max_output_tokens_default: 0"),
      ["29: teams.research.agents.worker-1.max_output_tokens_default out_of_range"],
    ],
    [
      "nothing that bounds an agent's spend",
      'budget: { usd: { day: "10.00" } }',
      "budget: { tokens: { day: 1000 } }",
      ["29: teams.research.agents.worker-1 unbounded_budget"],
    ],
    [
      "a limit above the team's",
      agent,
      grant('budget: { usd: { day: "10.01" } }'),
      ["29: teams.research.agents.worker-1.budget.usd.day dead_rule"],
    ],
    [
      "an hour's limit above the day's",
      '{ day: "10.00" }',
      '{ hour: "10.01", day: "10.00" }',
      ["24: teams.research.budget.usd.day dead_rule"],
    ],
    [
      "a budget without quotes",
      'day: "10.00"',
      "day: 10.00",
      [
        "24: teams.research.budget.usd.day wrong_type",
        "29: teams.research.agents.worker-1 unbounded_budget",
      ],
    ],
    [
      "half a token",
      agent,
      grant("budget: { tokens: { day: 1.5 } }"),
      ["29: teams.research.agents.worker-1.budget.tokens.day wrong_type"],
    ],
    [
      "an unknown window",
      agent,
      grant('budget: { usd: { week: "1" } }'),
      ["29: teams.research.agents.worker-1.budget.usd.week unknown_field"],
    ],
    [
      "an unknown metric",
      agent,
      grant("rate: { request: 60/minute }"),
      ["29: teams.research.agents.worker-1.rate.request unknown_field"],
    ],
    [
      "a rate that is none",
      agent,
      grant("rate: { requests: 60/min }"),
      ["29: teams.research.agents.worker-1.rate.requests malformed"],
    ],
    [
      "a rate that its team's never lets it come to",
      "    defaults:\n",
      "    rate: { requests: 10/minute }\n    defaults:\n      rate: { requests: 11/minute }\n",
      ["27: teams.research.defaults.rate.requests dead_rule"],
    ],
  ]);

  test("a pattern that another one covers is told, and is no error", () => {
    const text = changed(agent, grant('models: ["openai/*", openai/gpt-5]'));
    expect(errorsOf(text)).toEqual([]);
    expect(messagesOf(text)).toContain(
      'models[1]: another pattern already covers "openai/gpt-5" [dead_rule]',
    );
  });
});

describe("ladder, limits and the rest", () => {
  const also = (text: string): Case[2] => `format: 1\n${text}`;

  everyCase([
    [
      "an unknown cause",
      "format: 1",
      also("ladder: { points: { refusals: 1 } }"),
      ["2: ladder.points.refusals unknown_field"],
    ],
    [
      "marks that do not rise",
      "format: 1",
      also("ladder: { enter: { throttle: 2400 } }"),
      ["2: ladder.enter conflict", "2: ladder.leave conflict"],
    ],
    [
      "a level that would flap",
      "format: 1",
      also("ladder: { leave: { block: 300000 } }"),
      ["2: ladder.leave conflict"],
    ],
    [
      "throttle before warning",
      "format: 1",
      also("ladder: { budget_percent: { warning: 95, throttle: 95 } }"),
      ["2: ladder.budget_percent conflict"],
    ],
    [
      "a duration without unit",
      "format: 1",
      also('ladder: { half_life: "120" }'),
      ["2: ladder.half_life malformed"],
    ],
    [
      "a duration out of range",
      "format: 1",
      also("ladder: { half_life: 999ms }"),
      ["2: ladder.half_life out_of_range"],
    ],
    [
      "an automatic kill for no known cause",
      "format: 1",
      also("ladder: { auto_kill: [anger] }"),
      ["2: ladder.auto_kill[0] unknown_reference"],
    ],
    [
      "a limit below its range",
      "format: 1",
      also("limits: { body_bytes_max: 1023 }"),
      ["2: limits.body_bytes_max out_of_range"],
    ],
    [
      "a limit above its range",
      "format: 1",
      also("limits: { scan_deadline_ms: 30001 }"),
      ["2: limits.scan_deadline_ms out_of_range"],
    ],
    [
      "an unknown limit",
      "format: 1",
      also("limits: { body_byte_max: 4096 }"),
      ["2: limits.body_byte_max unknown_field"],
    ],
    [
      "a stage that may not be in shadow",
      "format: 1",
      also("shadow: [budget]"),
      ["2: shadow[0] unknown_reference"],
    ],
    [
      "an overrun limit beyond reason",
      "format: 1",
      also('overrun_limit_usd: "1000000.01"'),
      ["2: overrun_limit_usd out_of_range"],
    ],
  ]);
});

describe("all at once", () => {
  test("every error of a policy is told, in the order of the text", () => {
    const text = SOUND_POLICY.replace("dialect: openai", "dialect: opena")
      .replace("openai/gpt-5: {}", "openai/gpt-9: { max_output_tokens: 1 }")
      .replace("detector: pci", "detector: pcl")
      .replace('"10.00"', "10.00")
      .replace("08:00-18:00", "08:00-08:00")
      .replace("worker-1: {}", "worker-1: { modles: [] }");
    expect(errorsOf(text)).toEqual([
      "4: providers.openai.dialect unknown_reference",
      "11: models.openai/gpt-9 unpriced_model",
      "18: content[0].detector unknown_reference",
      "24: teams.research.budget.usd.day wrong_type",
      "27: teams.research.defaults.hours.windows dead_rule",
      "27: teams.research.defaults.hours.windows[0] malformed",
      "29: teams.research.agents.worker-1 unbounded_budget",
      "29: teams.research.agents.worker-1.modles unknown_field",
    ]);
    const messages = messagesOf(text);
    expect(messages).toContain('did you mean "openai"?');
    expect(messages).toContain('did you mean "pci"?');
    expect(messages).toContain('did you mean "models"?');
    expect(messages).toContain("10; put it in quotes");
  });

  test("a finding is one line that an editor can follow", () => {
    const [finding] = read(changed("region: US", "region: UK")).findings;
    expect(renderFinding(finding as Finding)).toBe(
      'p.yaml:7:5: error: providers.openai.region: "UK" is not an ISO 3166 code ' +
        'such as "US" or "US-CA" [malformed]',
    );
  });

  test("text that could disturb a terminal is written with escapes", () => {
    const text = changed("dialect: openai", 'dialect: "\\e[31mred"');
    expect(messagesOf(text)).toContain("\\u001b[31mred");
    expect(messagesOf(text)).not.toContain("\u001b");
  });
});

test("open holds: the overrun account divided by the part above one, for each ratio", () => {
  const text = changed("openai/gpt-5: {}", "openai/gpt-5: { distrust: '10' }").replace(
    "format: 1",
    'format: 1\noverrun_limit_usd: "90.00"',
  );
  const result = read(text);
  expect(result.ok).toBe(true);
  expect(result.findings.map(({ level, code, line }) => [level, code, line])).toEqual([
    ["warning", "open_holds", 2],
    ["warning", "open_holds", 2],
  ]);
  expect(messagesOf(text)).toContain("at distrust 1.1 can hold at most 900.00 US dollars");
  expect(messagesOf(text)).toContain("at distrust 10 can hold at most 10.00 US dollars");
});
