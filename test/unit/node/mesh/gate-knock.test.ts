import { describe, expect, test } from "vitest";
import { KNOCK_TAKEN, knockOf } from "../../../../node/kernel/knock-form.ts";
import { GateKnock, KNOCKS_MAX } from "../../../../node/mesh/gate-knock.ts";

const pod = (address: string, agent?: string) => ({
  ...{ address, namespace: "", name: address },
  ...(agent !== undefined && { agent }),
});
const PODS = [
  pod("10.0.0.1", "red/one"),
  pod("fd00::1", "red/one"),
  pod("10.0.0.2", "red/two"),
  pod("10.0.0.3"),
];
/** A kernel that takes what `isTaken` says, and sends back what came. */
function knockAt(isTaken: (datagram: Uint8Array) => boolean) {
  const sent: Uint8Array[] = [];
  const knock = new GateKnock((datagram) => {
    if (datagram[0] !== 0) sent.push(datagram);
    return isTaken(datagram) ? Uint8Array.of(KNOCK_TAKEN, ...datagram.subarray(1)) : datagram;
  });
  return { knock, sent };
}

describe("N1: a knock at the kernel gate", () => {
  test("names every address of the scope, of both families", () => {
    const { knock, sent } = knockAt(() => true);
    knock.setPods(PODS);
    expect(sent).toEqual([]);
    expect(knock.close("agent/red/one")).toBe(true);
    expect(sent).toEqual([knockOf("10.0.0.1"), knockOf("fd00::1")]);
    sent.length = 0;
    // A pod that nobody registered is everybody's alone.
    expect(knock.close("team/red")).toBe(true);
    expect(sent).toHaveLength(3);
    expect(knock.close("global")).toBe(true);
    expect(sent).toHaveLength(7);
  });

  test("has closed nothing where no rules took it, or one address was left out", () => {
    for (const isTaken of [() => false, (datagram: Uint8Array) => datagram.length < 10]) {
      const { knock } = knockAt(isTaken);
      knock.setPods(PODS);
      expect(knock.close("agent/red/one")).toBe(false);
    }
    const silent = new GateKnock(() => undefined);
    silent.setPods(PODS);
    expect(silent.close("global")).toBe(false);
  });

  test("has closed nothing where what came back is another's", () => {
    const knock = new GateKnock(() => Uint8Array.of(KNOCK_TAKEN, 10, 0, 0, 9));
    knock.setPods(PODS);
    expect(knock.close("agent/red/two")).toBe(false);
  });

  test("is not for a scope without pods here, nor (N2) for very many", () => {
    const { knock, sent } = knockAt(() => true);
    expect(knock.close("global")).toBe(false);
    const many = Array.from({ length: KNOCKS_MAX + 1 }, (_, i) => pod(`10.0.1.${i}`, "red/one"));
    knock.setPods(many);
    expect(knock.close("team/red")).toBe(false);
    expect(knock.close("team/blue")).toBe(false);
    expect(sent).toEqual([]);
    knock.setPods(many.slice(1));
    expect(knock.close("team/red")).toBe(true);
  });
});
