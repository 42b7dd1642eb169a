/**
 * Where a pod's control group may lie below the root of version 2, as Kubernetes names it: with systemd's
 * driver and with its own, in each of the three classes of service.
 *
 * @see https://kubernetes.io/docs/concepts/architecture/cgroups/
 */
export function podCgroupPaths(uid: string): readonly string[] {
  // It becomes a part of a path, and comes from an API.
  if (!/^[0-9a-f-]{8,64}$/.test(uid)) return [];
  return ["", "burstable", "besteffort"].flatMap((quality) => {
    const [slice, scope] =
      quality === "" ? ["", ""] : [`kubepods-${quality}.slice/`, `-${quality}`];
    return [
      `kubepods.slice/${slice}kubepods${scope}-pod${uid.replaceAll("-", "_")}.slice`,
      `kubepods/${quality === "" ? "" : `${quality}/`}pod${uid}`,
    ];
  });
}
