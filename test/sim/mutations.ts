/** One rule of the product, broken in one place, and who must notice. */
export type Mutation = {
  readonly name: string;
  readonly file: string;
  /** Stands exactly once in the file. */
  readonly find: string;
  readonly replace: string;
  /** The oracles that may be the first to be contradicted. */
  readonly oracles: readonly string[];
  /** Where worlds are begun with, default 1: few of them show some broken rules. */
  readonly fromSeed?: number;
};

/** What `npm run sim -- --mutations` breaks, one after another. */
export const MUTATIONS: readonly Mutation[] = [
  {
    name: "give back what the log says was used",
    file: "node/actors/stored-accounts.ts",
    find: "{ ...mark, unheld: atLeastZero(minus(mark.unheld, used)) }",
    replace: "{ ...mark, unheld: atLeastZero(minus(mark.unheld, minus(used, used))) }",
    oracles: ["spent-within-granted", "nothing-leaks"],
  },
  {
    name: "take an open hold for unspent",
    file: "node/audit/used-since.ts",
    find: "for (const { account, held } of sharesOf(hold, hold.held)) add(account, hold, held);",
    replace: "for (const { account } of sharesOf(hold, hold.held)) add(account, hold, NOTHING);",
    oracles: ["spent-within-granted", "nothing-leaks"],
  },
  {
    name: "reserve after the call",
    file: "node/table/reserve.ts",
    find: "  const taken = withoutUnits(charges.cost, unlimitedUnits(table, row));\n",
    replace: "  const taken = { usdMicros: 0n, tokens: 0n, calls: 0n };\n",
    oracles: ["spent-within-granted", "spend-within-budget"],
  },
  {
    name: "drop the expiry guard",
    file: "coordinator/lease-ends.ts",
    find: "(lease.ttlMs * (1000 + driftMilli)) / 1000 + expiryGuardMs",
    replace: "(lease.ttlMs * (1000 + 0 * driftMilli)) / 1000 - expiryGuardMs",
    oracles: ["lease-rules"],
  },
  {
    name: "lend after the deadline",
    file: "node/actors/ledger-calls.ts",
    find: "BigInt(ttlMs) * NS_PER_MS - DEADLINE_MARGIN_NS;",
    replace: "BigInt(ttlMs) * NS_PER_MS + 50n * DEADLINE_MARGIN_NS;",
    oracles: ["lease-rules", "spent-within-granted", "spend-within-budget"],
  },
  {
    name: "forget an ancestor",
    file: "coordinator/ledger-accounts.ts",
    find: "      name = entry.parent;\n",
    replace: "      name = undefined;\n",
    oracles: ["spend-within-budget"],
  },
  {
    name: "refund on timeout",
    file: "coordinator/lease-ends.ts",
    find: "    this.#accounts.charge(lease, { reserved: negative(unknown), spent: unknown });\n    lease.status",
    replace: "    this.#accounts.charge(lease, { reserved: negative(unknown) });\n    lease.status",
    oracles: ["lease-rules", "contract-money-moves", "spend-within-budget", "no-bug-is-met"],
  },
  {
    name: "lend before the journal",
    file: "coordinator/ledger-actor.ts",
    find: "        const outcome = await this.#options.store.commit(writes, this.#options.epoch.guard);\n",
    replace:
      '        const outcome: string = "committed";\n        void this.#options.store.commit(writes, this.#options.epoch.guard).catch(() => undefined);\n',
    oracles: ["grants-in-journal", "spent-within-granted"],
  },
  {
    name: "append over another's link",
    file: "coordinator/ledger-journal.ts",
    find: "        const outcome = await bus.append(JOURNAL_SUBJECT, bytes, { msgId, expectSeq });\n",
    replace:
      "        const end = expectSeq >= 0 ? await bus.last(JOURNAL_STREAM, JOURNAL_SUBJECT) : undefined;\n        const outcome = await bus.append(JOURNAL_SUBJECT, bytes, { msgId, expectSeq: end?.seq ?? 0 });\n",
    oracles: ["lease-rules", "grants-in-journal", "spent-within-granted", "spend-within-budget"],
  },
  {
    name: "go on after another took over",
    file: "coordinator/ledger-actor.ts",
    find: '        if (outcome === "conflict") return this.#fence(calls);\n',
    replace: "        void outcome;\n",
    oracles: ["grants-in-journal", "spent-within-granted"],
  },
  {
    name: "grant a repeated question anew",
    file: "coordinator/ledger.ts",
    find: "    if (known) return this.#grantOf(known, env);\n",
    replace: "",
    oracles: ["lease-rules"],
  },
  {
    name: "lend before it is written down",
    file: "node/actors/actor-host.ts",
    find: "    if (!result.durable) return undefined;\n",
    replace: "    if (result.durable) return undefined;\n",
    oracles: ["spent-within-granted", "nothing-leaks", "spend-within-budget"],
  },
  {
    name: "a client that leaves pays nothing",
    file: "node/settle-request.ts",
    find: '  if (!outcome.sent) return { kind: "not_sent" };\n',
    replace:
      '  if (!outcome.sent || outcome.kind === "client_gone") return { kind: "not_sent" };\n',
    oracles: ["spent-within-granted", "spend-within-budget"],
  },
  {
    name: "carve nothing from the parent",
    file: "coordinator/ledger-contracts.ts",
    find: "      this.#move(parent, (unit) => account.limit[unit]);\n",
    replace: "",
    oracles: ["contract-money-moves", "contract-within-grant"],
  },
  {
    name: "carve the same child again",
    file: "coordinator/ledger-contracts.ts",
    find: "    if (known) return known;\n",
    replace: "",
    oracles: ["contract-money-moves"],
  },
  {
    name: "give a contract back twice",
    file: "coordinator/ledger-contracts.ts",
    find: "      return spent + children - account.limit[unit];\n",
    replace: "      return 2 * (spent + children - account.limit[unit]);\n",
    oracles: ["contract-money-moves", "no-bug-is-met"],
  },
  {
    name: "give a contract back while a lease of it is out",
    file: "coordinator/ledger-contracts.ts",
    find: "    return isBelowBack && LEDGER_UNITS.every((unit) => this.row(id, unit).reserved === 0);\n",
    replace: "    return isBelowBack;\n",
    oracles: ["contract-money-moves", "contract-within-grant"],
  },
  {
    name: "keep what comes to light after a contract came back",
    file: "coordinator/ledger-contracts.ts",
    find: "    if (account && spent) this.#passOn(account, spent);\n",
    replace: "",
    oracles: ["contract-money-moves"],
  },
  {
    name: "lift a contract above what it was granted",
    file: "coordinator/ledger-contracts.ts",
    find: '    return Math.min(granted, this.#state.overrideOf(name, unit, "total") ?? granted);\n',
    replace: '    return this.#state.overrideOf(name, unit, "total") ?? granted;\n',
    oracles: ["contract-money-moves", "contract-within-grant"],
  },
  {
    name: "revoke a contract and nothing below it",
    file: "node/mesh/directory.ts",
    find: "killScopesOf(links)",
    replace: "killScopesOf(links.slice(-1))",
    oracles: ["no-send-after-acked-kill", "revoked-commits-nothing"],
  },
  {
    name: "lend to what is revoked",
    file: "coordinator/ledger-contracts.ts",
    find: '    const isOpen = account?.state === "open" && account.expiresMs > this.#state.nowMs;\n',
    replace: "    const isOpen = account !== undefined;\n",
    oracles: ["revoked-commits-nothing", "contract-money-moves", "no-bug-is-met"],
  },
  {
    name: "lend the whole rate to everybody",
    file: "coordinator/rate-shares.ts",
    find: "    const most = mayGrow ? before + this.#availableTo(metric) : before;\n",
    replace: "    const most = mayGrow ? RATE_WHOLE : before;\n",
    oracles: ["rate-within-limit"],
  },
  {
    name: "a share comes with full buckets",
    file: "coordinator/rate-shares.ts",
    find: "    metric.addedLagUs = lagUs;\n",
    replace: "    metric.addedLagUs = 0 * lagUs;\n",
    oracles: ["rate-within-limit"],
  },
  {
    name: "a contract keeps the rate that it delegates",
    file: "coordinator/ledger-contracts.ts",
    find: "      [...this.#state.contractsUnreleasedBelow(id).values()].map((child) => child.rate),\n",
    replace: "      [],\n",
    oracles: ["rate-within-limit"],
  },
  {
    name: "what was delegated begins with full buckets",
    file: "node/mesh/directory.ts",
    find: '    if (left === "empty") emptyBuckets(this.#table, holder.row, rate, nowNs);\n',
    replace: "",
    oracles: ["rate-within-limit"],
  },
  {
    name: "keep a bill's lesson to oneself",
    file: "node/mesh/enforcement.ts",
    find: "        hooks.onDistrust(record);\n",
    replace: "",
    oracles: ["distrust-is-shared"],
  },
  {
    name: "leave to itself what a removed coordinator said",
    file: "coordinator/kept-records.ts",
    find: "  return opened.record.kids.some(isOfCoordinator) ? opened.record : undefined;\n",
    replace: "  return opened.record.kids.every(isOfCoordinator) ? undefined : opened.record;\n",
    oracles: ["all-converge", "no-kill-is-lost"],
    fromSeed: 690,
  },
  {
    name: "skip the version merge",
    file: "mesh/state.ts",
    find: "    const changed = isGreater(record, before);\n",
    replace: "    const changed = true;\n",
    oracles: ["versions-never-fall", "no-send-after-acked-kill", "durable-kill-survives"],
  },
  {
    name: "acknowledge before the flush",
    file: "node/mesh/record-store.ts",
    find: "    await this.#deps.store.commit(writes);\n",
    replace:
      "    for (const record of batch) this.#deps.onDurable(record);\n    await this.#deps.store.commit(writes);\n",
    oracles: ["durable-kill-survives"],
  },
  {
    name: "a digest entitles without its hash",
    file: "mesh/entitlement.ts",
    find: 'if (Buffer.compare(beat.stateHash, ownStateHash) !== 0) return refuse("state_differs");',
    replace: "",
    oracles: ["opens-with-equal-state"],
  },
  {
    name: "a revive counts before its commit",
    file: "node/mesh/merging.ts",
    find: 'if (way === "live" && arrival.seq === undefined && record.op.case !== "kill") return undefined;',
    replace: "",
    oracles: ["revive-is-committed"],
  },
  {
    name: "a whole chunk or nothing",
    file: "coordinator/ledger-slice.ts",
    find: "  if (need > available) return undefined;\n",
    replace: "  if (want > available) return undefined;\n",
    oracles: ["no-phantom-denial"],
  },
];
