import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";

const BASE = join(import.meta.dirname, "..", "..", "deploy", "kustomize", "base");

/** Every query of the alerting rules and of the dashboards, with the file that asks it. */
export function monitoringQueries(): readonly { readonly file: string; readonly query: string }[] {
  const names = readdirSync(BASE, { recursive: true, encoding: "utf8" });
  return names
    .filter((name) => /(monitoring\.yaml|dashboards\/.*\.json)$/.test(name))
    .flatMap((file) => {
      // JSON is read as the YAML that it also is.
      const documents = parseAllDocuments(readFileSync(join(BASE, file), "utf8"));
      const found = documents.flatMap((document) => queriesIn(document.toJS()));
      return found.map((query) => ({ file, query }));
    });
}

function queriesIn(value: unknown): readonly string[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([member, held]) =>
    member === "expr" ? [String(held)] : queriesIn(held),
  );
}
