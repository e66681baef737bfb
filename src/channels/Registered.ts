/**
 * What the application has registered, for as long as a scope lives: the newest that fits decides.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/** @internal */
export class Registered<A> {
  private readonly entries: Array<A> = []
  private readonly afterwards = new Map<unknown, A>()

  /** From its end on, `afterwards` decides where nobody else does. There is one for each key. */
  add(
    entry: A,
    afterwards?: { readonly key: unknown; readonly entry: A }
  ): Effect.Effect<void, never, Scope.Scope> {
    return Effect.acquireRelease(
      Effect.sync(() => {
        this.entries.unshift(entry)
      }),
      () =>
        Effect.sync(() => {
          const index = this.entries.indexOf(entry)
          if (index >= 0) this.entries.splice(index, 1)
          if (afterwards !== undefined) this.afterwards.set(afterwards.key, afterwards.entry)
        })
    )
  }

  find(matches: (entry: A) => boolean): A | undefined {
    const found = this.entries.length === 0 ? undefined : this.entries.find(matches)
    return found !== undefined || this.afterwards.size === 0 ? found : [...this.afterwards.values()].find(matches)
  }
}
