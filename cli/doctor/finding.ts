/** One thing that was looked at. */
export type Finding = {
  readonly check: string;
  /** `warn`: it works, and will not in some case. `fail`: something does not work. `skip`: not looked at. */
  readonly state: "ok" | "warn" | "fail" | "skip";
  readonly says: string;
  /** What to do about it, where there is something to do. */
  readonly todo?: string;
};

export function ok(check: string, says: string): Finding {
  return { check, state: "ok", says };
}

export function skip(check: string, says: string): Finding {
  return { check, state: "skip", says };
}

export function warn(check: string, says: string, todo: string): Finding {
  return { check, state: "warn", says, todo };
}

export function fail(check: string, says: string, todo: string): Finding {
  return { check, state: "fail", says, todo };
}
