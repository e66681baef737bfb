/**
 * Long work, in slices.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"

/** Milliseconds of a slice. */
const longest = 10

const turn = Effect.async<void>((resume) => {
  const next = setImmediate(() => resume(Effect.void))
  return Effect.sync(() => clearImmediate(next))
})

/**
 * For one who does much at somebody's request: before each step, `next` lets sockets and timers have their turn if it has
 * taken long by then. Whoever is interrupted meanwhile takes no further step.
 *
 * @internal
 */
export class Slices {
  private began = performance.now()

  readonly next: Effect.Effect<void> = Effect.suspend(() => {
    const now = performance.now()
    const { began } = this
    if (now - began < longest) return Effect.void
    return Effect.flatMap(turn, () => {
      // Of several that waited, the first begins a slice.
      if (this.began !== began) return this.next
      this.began = performance.now()
      return Effect.void
    })
  })
}
