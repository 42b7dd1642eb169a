import type { ModelDocument } from "./policy-document.ts";

/** The names that requests of its provider's dialect may say for the model `provider/model`. */
export function requestNames(id: string, model: ModelDocument): readonly string[] {
  const ownName = model.byOwnName ? [id.slice(id.indexOf("/") + 1)] : [];
  return [id, ...ownName, ...model.aliases];
}
