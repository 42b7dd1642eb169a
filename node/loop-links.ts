import {
  type ControlLink as ControlLinkMembers,
  type ControlLinkOptions,
  ControlThreadLink,
} from "./loop-control-link.ts";
import {
  type MeshLink as MeshLinkMembers,
  type MeshLinkOptions,
  MeshThreadLink,
} from "./loop-mesh-link.ts";

/** A data loop's way to the mesh thread: whose key is this, and which scopes are to be cut. */
export type MeshLink = MeshLinkMembers;

/** A data loop's way to the control thread: money, policy, standing, what agents did. */
export type ControlLink = ControlLinkMembers;

/** Starts to listen on the loop's end of the port. */
export function createMeshLink(options: MeshLinkOptions): MeshLink {
  return new MeshThreadLink(options);
}

/** Starts to listen on the loop's end of the port. */
export function createControlLink(options: ControlLinkOptions): ControlLink {
  return new ControlThreadLink(options);
}
