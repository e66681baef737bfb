/**
 * Lets fibers wait for a change that synchronous code makes.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"

const none: Array<() => void> = []

/** @internal */
export class Signal {
  /**
   * The first to wait, without the cost of a cleanup: at most this one entry of an interrupted fiber is left behind, and
   * waking it does nothing.
   */
  private first: (() => void) | undefined = undefined
  private others = none

  /** Something changed: whoever waits looks again. */
  notify(): void {
    const { first, others } = this
    if (first !== undefined) {
      this.first = undefined
      first()
    }
    if (others !== none) {
      this.others = none
      for (const wake of others) wake()
    }
  }

  /** Completes when the condition holds. */
  until(condition: () => boolean): Effect.Effect<void> {
    return Effect.whileLoop({ while: () => !condition(), body: () => this.next(condition), step: () => {} })
  }

  /** Completes at the next change, or at once if the condition holds: it may have come true since it was looked at. */
  next(condition: () => boolean): Effect.Effect<void> {
    return Effect.async((resume) => {
      if (condition()) return resume(Effect.void)
      const wake = () => resume(Effect.void)
      if (this.first === undefined) {
        this.first = wake
        return
      }
      this.others = [...this.others, wake]
      return Effect.sync(() => {
        const others = this.others.filter((other) => other !== wake)
        this.others = others.length === 0 ? none : others
      })
    })
  }
}
