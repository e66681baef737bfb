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

  /** Whether somebody waits, or has waited and was interrupted. */
  get isAwaited(): boolean {
    return this.first !== undefined || this.others !== none
  }

  /** Something changed: whoever waits looks again. */
  notify(): void {
    const { first, others } = this
    // Cleared before anyone wakes: whoever runs at once may wait again.
    this.first = undefined
    this.others = none
    first?.()
    for (const wake of others) wake()
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

/**
 * Gives up on the effect after so many milliseconds, even in a finalizer, and even if the effect cannot be interrupted:
 * then it goes on by itself.
 *
 * @internal
 */
export const within = (effect: Effect.Effect<unknown>, millis: number): Effect.Effect<void> =>
  effect.pipe(Effect.interruptible, Effect.disconnect, Effect.interruptible, Effect.timeout(millis), Effect.ignore)
