import { expect, test } from "vitest";
import { parse } from "yaml";
import { textOf } from "../../tidy/sources.ts";

// What keeps an agent in under Docker is its network alone, so who is in which is all that the mode rests on.

type Service = {
  readonly image?: string;
  readonly build?: { readonly dockerfile: string };
  readonly networks: readonly string[];
  readonly volumes?: readonly string[];
  readonly secrets?: readonly string[];
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly cap_add?: readonly string[];
  readonly privileged?: boolean;
  readonly network_mode?: string;
  readonly ports?: readonly string[];
  readonly security_opt?: readonly string[];
};
type Compose = {
  readonly services: Readonly<Record<string, Service>>;
  readonly networks: Readonly<Record<string, { readonly internal?: boolean }>>;
  readonly volumes: object;
  readonly secrets: object;
};

const compose = parse(textOf("deploy/compose.yaml")) as Compose;
const services = Object.entries(compose.services);

test("an agent's network leads to the node and nowhere else, and the node's alone leads outside", () => {
  const within = (network: string) =>
    services.filter(([, { networks }]) => networks.includes(network)).map(([name]) => name);
  expect(within("agents")).toEqual(["node", "agent"]);
  expect(within("outside")).toEqual(["node"]);
  expect(compose.services.agent?.networks).toEqual(["agents"]);
  const internal = Object.entries(compose.networks).filter(([, one]) => one.internal === true);
  expect(internal.map(([name]) => name)).toEqual(["agents", "control"]);
  // Nothing of it is opened on the machine, whose other users are not governed.
  for (const [name, { ports, network_mode: mode }] of services)
    expect([name, ports, mode]).toEqual([name, undefined, undefined]);
});

test("no service has a right, and none but an agent writes its root", () => {
  for (const [name, one] of services) {
    expect([name, one.cap_drop, one.cap_add]).toEqual([name, ["ALL"], undefined]);
    expect([name, one.security_opt]).toEqual([name, ["no-new-privileges:true"]]);
    expect([name, one.privileged]).toEqual([name, undefined]);
    if (name !== "agent") expect([name, one.read_only]).toEqual([name, true]);
  }
});

test("every image is pinned or built from here, and what a service uses is declared", () => {
  for (const [, { image, build, networks, volumes = [], secrets = [] }] of services) {
    if (build) expect(build.dockerfile).toBe("deploy/Dockerfile");
    else expect(image).toMatch(/@sha256:[0-9a-f]{64}$/);
    expect(Object.keys(compose.networks)).toEqual(expect.arrayContaining([...networks]));
    expect(Object.keys(compose.secrets)).toEqual(expect.arrayContaining([...secrets]));
    const named = volumes
      .map((one) => one.split(":")[0] as string)
      .filter((one) => !/^[./]/.test(one));
    expect(Object.keys(compose.volumes)).toEqual(expect.arrayContaining(named));
  }
});
