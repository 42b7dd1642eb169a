import type { MeshRecord } from "../mesh/record.ts";
import { controlSubject } from "../proto/subjects.ts";

/** Which scope is meant by a subject, whether the record is in the stream, committed or on the fast path. */
export class RecordSubjects {
  readonly #scopes = new Map<string, string>();

  learn({ parsed, scope }: MeshRecord): void {
    this.#scopes.set(tailOf(controlSubject(parsed)), scope);
  }

  /** No record of that scope is known any more. */
  forget({ parsed }: MeshRecord): void {
    this.#scopes.delete(tailOf(controlSubject(parsed)));
  }

  /** `undefined` for one of which no record is known. */
  scopeOf(subject: string): string | undefined {
    return this.#scopes.get(tailOf(subject));
  }
}

/** `kill.global` of `alt.ctl.kill.global`, `alt.bc.kill.global` and `alt.fast.kill.global`. */
function tailOf(subject: string): string {
  return subject.slice(subject.indexOf(".", "alt.".length) + 1);
}
