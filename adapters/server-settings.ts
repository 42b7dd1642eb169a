import { address, oneOf, type SettingTable, type SettingValues } from "./settings.ts";

/** Settings of every process that serves: node, coordinator and enforcer. */
export const SERVER_SETTINGS = {
  metricsHost: {
    env: "ALTRACE_METRICS_HOST",
    byDefault: "127.0.0.1",
    read: address,
    help: "address of /metrics, /healthz and /readyz, which say nothing secret and change nothing",
  },
  logLevel: {
    env: "ALTRACE_LOG_LEVEL",
    byDefault: "info",
    read: oneOf("debug", "info", "warn", "error", "silent"),
    help: "least severe line that is logged",
  },
} as const satisfies SettingTable;

/** How much a process logs. */
export type LogLevel = NonNullable<SettingValues<typeof SERVER_SETTINGS>["logLevel"]>;
