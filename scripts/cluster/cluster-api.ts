import { Agent, fetch } from "undici";

/** Any object of the API. */
export type ApiObject = {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly generation?: number;
    readonly deletionTimestamp?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly [member: string]: unknown;
};

type Resource = { readonly name: string; readonly kind: string; readonly namespaced: boolean };
type Call = {
  readonly method?: string;
  readonly body?: object;
  readonly type?: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly as?: Caller;
};
/** Whoever the call is to be of, in the place of who makes it. */
export type Caller = { readonly user: string; readonly group: string };

/** The API would not; the message is its own. */
export class ApiRefusal extends Error {
  override readonly name = "ApiRefusal";
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** Kubernetes' API, as `kubectl` speaks it. */
export class ClusterApi {
  readonly #origin: string;
  readonly #token: string;
  readonly #dispatcher: Agent;
  readonly #resources = new Map<string, Promise<readonly Resource[]>>();

  constructor(origin: string, token: string, ca: string) {
    this.#origin = origin;
    this.#token = token;
    this.#dispatcher = new Agent({ connect: { ca } });
  }

  /** @throws ApiRefusal Any answer that is no success. */
  async call<T = ApiObject>(
    path: string,
    { method, body, type, query, as }: Call = {},
  ): Promise<T> {
    const url = new URL(path, this.#origin);
    for (const [name, value] of Object.entries(query ?? {})) url.searchParams.set(name, value);
    const answer = await fetch(url, {
      method: method ?? "GET",
      dispatcher: this.#dispatcher,
      headers: {
        authorization: `Bearer ${this.#token}`,
        ...(body && { "content-type": type ?? "application/json" }),
        ...(as && { "impersonate-user": as.user, "impersonate-group": as.group }),
      },
      ...(body && { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    if (!answer.ok) throw new ApiRefusal(answer.status, messageOf(text));
    return (text.startsWith("{") ? JSON.parse(text) : text) as T;
  }

  /** All of a kind, of all namespaces. */
  async list(apiVersion: string, kind: string): Promise<readonly ApiObject[]> {
    const path = await this.#pathOf({ apiVersion, kind, metadata: { name: "" } });
    return (await this.call<{ readonly items: readonly ApiObject[] }>(path)).items;
  }

  async get(object: ApiObject): Promise<ApiObject> {
    return this.call(await this.#pathOf(object));
  }

  /** Server-side apply. A member that the API does not know is refused. */
  async apply(object: ApiObject): Promise<void> {
    const query = { fieldManager: "cluster", force: "true", fieldValidation: "Strict" };
    const type = "application/apply-patch+yaml";
    const path = await this.#pathOf(object);
    await this.call(path, { method: "PATCH", body: object, type, query });
  }

  /** @param part `status`, or nothing for the object itself. */
  async merge(object: ApiObject, change: object, part = "", as?: Caller): Promise<void> {
    const path = `${await this.#pathOf(object)}${part && `/${part}`}`;
    const type = "application/merge-patch+json";
    await this.call(path, { method: "PATCH", body: change, type, ...(as && { as }) });
  }

  /** Has the API judge an object and keep nothing of it. @returns Why it is refused. */
  async objection(object: ApiObject): Promise<string | undefined> {
    const path = await this.#pathOf({ ...object, metadata: { ...object.metadata, name: "" } });
    try {
      await this.call(path, { method: "POST", body: object, query: { dryRun: "All" } });
      return undefined;
    } catch (error) {
      if (error instanceof ApiRefusal) return error.message;
      throw error;
    }
  }

  /** Whether it was there. */
  async remove(object: ApiObject, atOnce = false): Promise<boolean> {
    const query = { ...(atOnce && { gracePeriodSeconds: "0" }), propagationPolicy: "Background" };
    try {
      await this.call(await this.#pathOf(object), { method: "DELETE", query });
      return true;
    } catch (error) {
      if (error instanceof ApiRefusal && error.status === 404) return false;
      throw error;
    }
  }

  close(): Promise<void> {
    return this.#dispatcher.close();
  }

  /** Of its kind, where it has no name. */
  async #pathOf({ apiVersion, kind, metadata }: ApiObject): Promise<string> {
    const group = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
    const resource = await this.#resourceOf(group, kind);
    const { name, namespace } = metadata;
    const place = resource.namespaced && namespace ? `/namespaces/${namespace}` : "";
    return `${group}${place}/${resource.name}${name && `/${name}`}`;
  }

  async #resourceOf(group: string, kind: string): Promise<Resource> {
    const found = (await this.#resourcesOf(group)).find((one) => one.kind === kind);
    if (found !== undefined) return found;
    // A kind may have been defined since.
    this.#resources.delete(group);
    throw new ApiRefusal(404, `${group} has no ${kind}`);
  }

  #resourcesOf(group: string): Promise<readonly Resource[]> {
    const known = this.#resources.get(group);
    if (known !== undefined) return known;
    const asked = this.call<{ readonly resources: readonly Resource[] }>(group).then(
      ({ resources }) => resources.filter(({ name }) => !name.includes("/")),
    );
    this.#resources.set(group, asked);
    asked.catch(() => this.#resources.delete(group));
    return asked;
  }
}

function messageOf(text: string): string {
  try {
    return (JSON.parse(text) as { readonly message?: string }).message ?? text;
  } catch {
    return text;
  }
}
