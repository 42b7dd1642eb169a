import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { daemonsetRuleset, TABLE } from "../../../node/kernel/daemonset-ruleset.ts";
import { mapPods } from "../../../node/kernel/link-map.ts";
import { readPodList } from "../../../node/kernel/pod-list.ts";
import { tempDir } from "../../support/temp-dir.ts";
import { textOf } from "../../tidy/sources.ts";

test("the enforcer finds its helper where the launcher was installed", () => {
  const enforcer = textOf("deploy/systemd/altrace-enforcer.service");
  const [, path = ""] = /^Environment=PATH=(.+)$/m.exec(enforcer) ?? [];
  const [, launcher = ""] = /^ExecStart=(\S+)/m.exec(enforcer) ?? [];
  expect(path.split(":")).toContain(dirname(launcher));
  expect(textOf("deploy/README.md")).toContain(`OUT=${dirname(launcher)}/altrace-gate`);
});

test("the list of pods that is shown says of a pod behind Docker's bridge where it comes in", () => {
  const [, shown = ""] =
    /^echo '(\[.+\])' > \/etc\/altrace\/pods\.json$/m.exec(textOf("deploy/README.md")) ?? [];
  const pods = readPodList(shown);
  const bridge = {
    ifname: "docker0",
    address: "02:42:00:00:00:01",
    linkinfo: { info_kind: "bridge" },
  };
  const machine = {
    links: [bridge],
    routes: [{ dst: "172.17.0.0/16", dev: "docker0" }],
    noted: [],
  };
  const { view } = mapPods(machine, pods, ["eth0"]);
  const [{ port = "" } = {}] = view.pods;
  const rules = daemonsetRuleset({ ...view, killed: [] });
  // By frames as by packets.
  for (const link of ["docker0", port])
    expect(rules).toContain(`"${link}" . ${pods[0]?.addresses[0]}`);
});

test("nothing that runs agents is started before there are rules, nor ended with the enforcer", async () => {
  const enforcer = textOf("deploy/systemd/altrace-enforcer.service");
  const [, table = "", chain] = /nft list chain inet (\S+) (\S+) /.exec(enforcer) ?? [];
  expect(table).toBe(TABLE);
  const view = { infra: ["eth0"], bridges: [], pods: [], killed: [] };
  expect(daemonsetRuleset(view)).toContain(`chain ${chain} {`);
  const [, socket = ""] = /ALTRACE_GATE_SOCKET=(\S+)/.exec(enforcer) ?? [];
  const containers = textOf("deploy/systemd/containers.conf");
  // Written by the enforcer once it has loaded its rules, and gone with the machine's next boot.
  const list = join(dirname(socket), "pods.json");
  const [, waits = ""] = /^ExecStartPre=\/bin\/sh -c '(.+)'$/m.exec(containers) ?? [];
  expect(waits.split("test -e ")).toHaveLength(3);
  using folder = tempDir();
  const there = join(folder.path, "pods.json");
  const waiting = spawn("/bin/sh", ["-c", waits.replaceAll(list, there)]);
  const said = String((await once(waiting.stdout, "data"))[0]);
  expect(said).toContain("altrace-enforcer.service");
  expect(waiting.exitCode).toBeNull();
  writeFileSync(there, "[]");
  expect(await once(waiting, "exit")).toEqual([0, null]);
  expect(containers).toMatch(/^TimeoutStartSec=infinity$/m);
  // What is ordered after the enforcer looks for it once: it has to be there by then.
  expect(enforcer).toMatch(new RegExp(`^ExecStartPost=.*'until test -e ${list} && nft list `, "m"));
  for (const text of [containers, textOf("deploy/systemd/altrace-node.service")]) {
    expect(text).toMatch(/^After=.*altrace-enforcer.service$/m);
    expect(text).not.toMatch(/^(Requires|BindsTo|PartOf)=/m);
  }
});

const analyze = spawnSync("systemd-analyze", ["--version"]).error === undefined;
if (!analyze) console.log("SKIPPED, what systemd itself says of the units: no systemd-analyze");

test.skipIf(!analyze)("systemd finds nothing wrong with the units, nor with the drop-in", () => {
  using folder = tempDir();
  const put = (name: string, text: string) => {
    mkdirSync(dirname(join(folder.path, name)), { recursive: true });
    writeFileSync(join(folder.path, name), text);
    return join(folder.path, name);
  };
  const names = ["altrace-enforcer.service", "altrace-node.service"];
  const flaws = (change: (text: string) => string) => {
    const units = names.map((name) => {
      const text = textOf(`deploy/systemd/${name}`);
      // What is started must be there.
      return put(
        name,
        change(text.replaceAll("/usr/local/bin/altrace-launcher", process.execPath)),
      );
    });
    const containers = put("some.service", `[Service]\nExecStart=${process.execPath}\n`);
    put("some.service.d/altrace.conf", change(textOf("deploy/systemd/containers.conf")));
    const line = ["verify", "--man=no", ...units, containers];
    const env = { ...process.env, SYSTEMD_UNIT_PATH: `${folder.path}:` };
    const { status, stderr } = spawnSync("systemd-analyze", line, { encoding: "utf8", env });
    return { status, lines: stderr.split("\n").filter((one) => one.includes(folder.path)) };
  };
  expect(flaws((text) => text)).toEqual({ status: 0, lines: [] });
  // It reads each of them: a word that it does not know is named wherever it stands.
  const misspelt = flaws((text) => text.replace("[Service]", "[Service]\nMisspelt=yes"));
  expect(misspelt.lines.filter((line) => line.includes("Misspelt"))).toHaveLength(3);
});
