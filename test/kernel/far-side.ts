import { type KernelLab, LAB, type Place, type Said, type Speaker } from "../support/kernel-lab.ts";

/** Ports that a machine's own services listen on in the lab; some of them are an administrator's. */
const SERVICES = { tcp: [10_250, 2_222, 50_051], udp: [9_999] } as const;
const OUTSIDE_PORTS = [22, 53, 80, 443, 853, 4_433, 8_080, 65_535];
const POD_PORT = 7_000;
const NODE_OWN = new Set<unknown>([LAB.node4, LAB.node6]);

/** Everything that an attack could reach, listened to where it would arrive. */
export class FarSide {
  readonly #lab: KernelLab;
  readonly #outside: Speaker;
  readonly #services: Speaker;
  readonly #other: Speaker;

  private constructor(lab: KernelLab, outside: Speaker, services: Speaker, other: Speaker) {
    this.#lab = lab;
    this.#outside = outside;
    this.#services = services;
    this.#other = other;
  }

  static async open(lab: KernelLab, other: Place = "a2"): Promise<FarSide> {
    const [outside, services, pod] = await Promise.all([
      lab.oracle("inet", { links: ["eth0"], tcp: OUTSIDE_PORTS }),
      lab.oracle("node", SERVICES),
      lab.oracle(other, { links: ["eth0"], tcp: [POD_PORT] }),
    ]);
    return new FarSide(lab, outside, services, pod);
  }

  /** Names of those attacks of which something arrived. */
  async reached(attacks: readonly Said[]): Promise<readonly string[]> {
    await this.#lab.settled(this.#outside);
    return attacks.filter((attack) => this.#hasArrived(attack)).map(({ name }) => String(name));
  }

  /** Everything that arrived anywhere and did not come from the machine itself. */
  async leaks(): Promise<readonly Said[]> {
    await this.#lab.settled(this.#outside);
    return [
      ...this.#outside.said.filter(({ link, src }) => link && !this.#isOwn(src)),
      ...this.#services.said.filter(({ src }) => src !== undefined),
      // The machine answers its pods; whatever else arrives at one comes from another.
      ...this.#other.said.filter((one) => one.link && (isForeign(one.src) || isHidden(one))),
    ];
  }

  /** Connections that arrived outside, with who they came from. */
  async accepted(): Promise<readonly Said[]> {
    await this.#lab.settled(this.#outside);
    return this.#outside.said.filter(({ port, src }) => port !== undefined && src !== undefined);
  }

  forget(): void {
    for (const one of [this.#outside, this.#services, this.#other]) one.said.length = 0;
  }

  #isOwn(src: unknown): boolean {
    return NODE_OWN.has(src) || String(src).startsWith("fe80:");
  }

  #hasArrived({ name, n }: Said): boolean {
    const title = String(name);
    const number = Number(n);
    const port = Number(/-(\d+)$/.exec(title)?.[1]);
    if (title.startsWith("node-")) return this.#services.said.some((one) => one.port === port);
    if (title.startsWith("pod-link-")) return this.#other.said.some((one) => isOfLink(title, one));
    if (title.startsWith("pod-")) {
      const protocol = { tcp4: 6, tcp6: 6, udp4: 17, icmp4: 1, protocol4: 253 }[
        title.split("-")[1] as string
      ];
      const [v4, v6] = LAB.a1;
      const src = title.includes("6") && !title.includes("253") ? v6 : v4;
      return this.#other.said.some((one) => one.protocol === protocol && one.src === src);
    }
    const hex = number.toString(16);
    const dst = title.startsWith("metadata")
      ? [title === "metadata" ? "169.254.169.254" : "fd00:ec2::254"]
      : [`198.18.0.${number}`, `2001:db8:1::${hex}`, `64:ff9b::c612:${hex}`];
    return this.#outside.said.some((one) => one.link && dst.includes(String(one.dst)));
  }
}

/** Whether this is what came of an attack by a frame. A tag is taken off before anybody is shown what was in it. */
function isOfLink(title: string, { ethertype, protocol, text }: Said): boolean {
  const [, , kind = "", how = ""] = title.split("-");
  if (kind === "arp") return ethertype === 0x0806 && text === (how === "asks" ? "0001" : "0002");
  if (kind === "ethertype") return ethertype === 0x88b5;
  if (kind === "mpls") return ethertype === 0x8847;
  return protocol === 254 && text === Buffer.from(`exfil-${kind}`).toString("hex");
}

/** A frame that holds no packet, and what an attack puts into one. */
function isHidden({ ethertype, text }: Said): boolean {
  return ethertype !== undefined && String(text).includes(Buffer.from("exfil").toString("hex"));
}

function isForeign(src: unknown): boolean {
  return src === LAB.a1[0] || src === LAB.a1[1] || String(src).startsWith("203.0.113.");
}
