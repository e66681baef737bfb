/**
 * Lets fibers wait for a change that synchronous code makes.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"

const none: Array<() => void> = []

/** @internal */
export class Signal {
  private waiting = none

  /** Something changed: whoever waits looks again. */
  notify(): void {
    if (this.waiting === none) return
    const waiting = this.waiting
    this.waiting = none
    for (const resume of waiting) resume()
  }

  /** Completes when the condition holds. */
  until(condition: () => boolean): Effect.Effect<void> {
    return Effect.whileLoop({ while: () => !condition(), body: () => this.next(condition), step: () => {} })
  }

  private next(condition: () => boolean): Effect.Effect<void> {
    return Effect.async((resume) => {
      if (condition()) return resume(Effect.void)
      const wake = () => resume(Effect.void)
      if (this.waiting === none) this.waiting = [wake]
      else this.waiting.push(wake)
      return Effect.sync(() => {
        const others = this.waiting.filter((other) => other !== wake)
        this.waiting = others.length === 0 ? none : others
      })
    })
  }
}
