import { expect, test } from "vitest";
import {
  address,
  flagOf,
  integer,
  listOf,
  readSettings,
  type SettingTable,
  unknownSettings,
} from "../../../adapters/settings.ts";

const TABLE = {
  host: { env: "ALTRACE_HOST", byDefault: "127.0.0.1", read: address, help: "" },
  hosts: { env: "ALTRACE_DNS_HOSTS", byDefault: undefined, read: listOf(address), help: "" },
  port: {
    env: "ALTRACE_PORT",
    byDefault: "80",
    read: integer({ min: 1, max: 65_535 }),
    help: "",
  },
} as const satisfies SettingTable;

test("an address is one that a socket can listen on, of either family", () => {
  for (const host of ["127.0.0.1", "0.0.0.0", "::", "fd00::1", "::ffff:10.0.0.1"]) {
    expect(readSettings(TABLE, { ALTRACE_HOST: host }, {})).toMatchObject({ values: { host } });
  }
});

test.each([
  "",
  "localhost",
  "1",
  "::::",
  "127.0.0.1:80",
  "[::1]",
  "fe80::1%eth0",
  "127.0.0.1, ::1",
])("no address: %j", (host) => {
  expect(readSettings(TABLE, { ALTRACE_HOST: host }, {})).toEqual({
    errors: ["ALTRACE_HOST: expected an IP address"],
  });
});

test("a list is refused for any of its parts, the empty one included", () => {
  const hosts = (text: string): unknown => readSettings(TABLE, {}, { "dns-hosts": text });
  expect(hosts("127.0.0.1,::1")).toMatchObject({ values: { hosts: ["127.0.0.1", "::1"] } });
  for (const text of ["", "127.0.0.1,", "127.0.0.1,x"]) {
    expect(hosts(text)).toEqual({ errors: ["--dns-hosts: expected an IP address"] });
  }
});

test("a flag wins over the environment, which wins over the default", () => {
  expect(readSettings(TABLE, {}, {})).toMatchObject({ values: { port: 80 } });
  expect(readSettings(TABLE, { ALTRACE_PORT: "81" }, {})).toMatchObject({ values: { port: 81 } });
  const both = readSettings(TABLE, { ALTRACE_PORT: "81" }, { [flagOf(TABLE.port)]: "82" });
  expect(both).toMatchObject({ values: { port: 82 } });
});

test("a variable of ours that no table knows is told", () => {
  const env = { ALTRACE_HOTS: "::", ALTRACE_HOST: "::", PATH: "/bin" };
  expect(unknownSettings(env, [TABLE])).toEqual(["ALTRACE_HOTS: no such setting"]);
});
