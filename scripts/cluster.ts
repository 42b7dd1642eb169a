// Applies every overlay to a control plane of Kubernetes, its own API, controllers and scheduler, without a cluster:
// `npm run cluster`. Of machines there are none: that a pod runs is said in their place, and what is in an image is not
// tried here. Brings the control plane, a program of `test/go/controlplane`, which takes a quarter of an hour once.

import { join } from "node:path";
import { builtOverlay, kustomizeCommand } from "../test/support/kustomize.ts";
import { namesIn } from "../test/tidy/sources.ts";
import { bringTools, ProxyUnreached } from "./bring-tools.ts";
import { runCheck, wrongIn } from "./checks.ts";
import type { ApiObject } from "./cluster/cluster-api.ts";
import { ControlPlane } from "./cluster/control-plane.ts";
import { governedPods, governedStatus } from "./cluster/governed-pods.ts";
import { applyAll, defineOthers, removeAll } from "./cluster/overlays.ts";
import { coordinatorsStay, portsStandInTheWay, rollsOver } from "./cluster/rollout.ts";
import { StandInMachines } from "./cluster/stand-in-machines.ts";
import { watchesPods } from "./cluster/watched-pods.ts";
import { findGo } from "./go-toolchain.ts";
import { ROOT } from "./run-command.ts";

const MACHINES = ["machine-1", "machine-2", "machine-3"] as const;
const OVERLAYS = "deploy/kustomize/overlays";
/** What takes machines. */
const NOT_TRIED = [
  "what runs in the pods: no machine is here, and no registry has the images. `npm run image` runs them",
  "the network policies: the API took them, and no network plugin is here that could enforce them",
  "the kernel's part on a machine: `npx vitest run test/kernel` has its own",
];

const kustomize = kustomizeCommand();
if (kustomize === undefined) {
  console.log("SKIPPED, the cluster: no kustomize and no kubectl, `npm run tools` brings one");
} else {
  const missing = await bringControlPlane();
  if (missing === undefined) process.exitCode = (await tryOverlays(kustomize)) ? 0 : 1;
  else console.log(`SKIPPED, the cluster: ${missing}`);
}

/** @returns Why it is not to be had here. */
async function bringControlPlane(): Promise<string | undefined> {
  try {
    await bringTools({ go: () => findGo({ ownOnly: false }), names: ["controlplane"] });
    return undefined;
  } catch (error) {
    // One that is there and not as it must be is no reason to leave anything out.
    if (error instanceof ProxyUnreached) return `the module proxy is not reached: ${error.message}`;
    throw error;
  }
}

async function tryOverlays(command: readonly string[]): Promise<boolean> {
  await using plane = await ControlPlane.start(join(ROOT, ".tools", "bin", "controlplane"));
  await using machines = new StandInMachines(plane.api, MACHINES);
  await defineOthers(plane.api);
  await machines.start();
  let isGood = true;
  for (const name of namesIn(OVERLAYS)) {
    const objects = builtOverlay(command, name) as readonly ApiObject[];
    isGood = (await tryOverlay({ name, objects, plane, machines })) && isGood;
  }
  for (const what of NOT_TRIED) console.log(`SKIPPED, ${what}`);
  return isGood;
}

async function tryOverlay(of: {
  readonly name: string;
  readonly objects: readonly ApiObject[];
  readonly plane: ControlPlane;
  readonly machines: StandInMachines;
}): Promise<boolean> {
  const { name, objects, plane, machines } = of;
  const { api } = plane;
  const check = (what: string, run: () => Promise<string | undefined>) =>
    runCheck({ name: `${name}: ${what}`, run });
  let isGood = await check("every object is taken, every pod is placed", () =>
    wrongIn(() => applyAll(api, objects)),
  );
  const machine = objects.find(
    ({ kind, metadata }) => kind === "DaemonSet" && metadata.name === "altrace-machine",
  );
  if (isGood && machine) {
    const rolls = () => rollsOver(api, machines, machine);
    isGood = await check("a new node comes before the old one ends, on each machine", rolls);
    const control = () => portsStandInTheWay(api, machines, machine);
    isGood = (await check("it would not if it declared its ports", control)) && isGood;
    const cluster = { api, ...plane.address };
    const watches = () => wrongIn(() => watchesPods(cluster, MACHINES));
    isGood =
      (await check("the enforcer's account sees its machine's pods alone", watches)) && isGood;
  }
  const coordinators = objects.filter(
    ({ kind, metadata }) =>
      kind === "StatefulSet" && metadata.name.startsWith("altrace-coordinator"),
  );
  if (isGood && coordinators.length > 1) {
    const stay = () => coordinatorsStay(api, machines, coordinators);
    isGood = (await check("one coordinator at a time is replaced", stay)) && isGood;
  }
  if (objects.some(({ kind }) => kind === "ValidatingAdmissionPolicy")) {
    const pods = () => governedPods(api);
    isGood = (await check("the API takes and refuses agents' pods as it should", pods)) && isGood;
    const status = () => governedStatus(api, MACHINES[0]);
    isGood = (await check("a pod's addresses are its machine's word alone", status)) && isGood;
  }
  return (await check("is removed", () => wrongIn(() => removeAll(api, objects)))) && isGood;
}
