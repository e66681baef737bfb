/**
 * One at a time.
 *
 * @since 1.0.0
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Hash from "effect/Hash"
import { Signal } from "../core/Signal.js"

/**
 * A semaphore of one permit, which no interrupt loses: Effect's own takes the permit while it can be interrupted, and a
 * fiber that yields just then and is interrupted never gives it back. Whoever waits for a lock here may be interrupted;
 * who has it cannot be before it is certain that it is given back.
 *
 * @internal
 */
export class Lock {
  private isHeld = false
  private readonly released = new Signal()

  private take(): boolean {
    if (this.isHeld) return false
    this.isHeld = true
    return true
  }

  private get release(): Effect.Effect<void> {
    return Effect.sync(() => {
      this.isHeld = false
      this.released.notify()
    })
  }

  /** Runs the effect when nobody else has the lock. */
  with<A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.uninterruptibleMask((restore) =>
      Effect.zipRight(
        Effect.whileLoop({
          while: () => !this.take(),
          body: () => restore(this.released.next(() => !this.isHeld)),
          step: () => {}
        }),
        Effect.ensuring(restore(effect), this.release)
      )
    )
  }

  /** Runs the effect if nobody else has the lock now, or `otherwise`. Once begun it is not interrupted. */
  ifFree<A, E, R>(effect: Effect.Effect<A, E, R>, otherwise: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.uninterruptible(
      Effect.suspend(() => this.take() ? Effect.ensuring(effect, this.release) : otherwise)
    )
  }

  /**
   * Runs the effect when nobody else has the lock, or `late` instead if that takes too long. Once begun it is not
   * interrupted.
   */
  within<A, E, R>(
    effect: Effect.Effect<A, E, R>,
    patience: Duration.DurationInput,
    late: Effect.Effect<A, E, R>
  ): Effect.Effect<A, E, R> {
    return Effect.uninterruptibleMask((restore) => {
      if (this.take()) return Effect.ensuring(effect, this.release)
      let begun = false
      const work = this.with(Effect.suspend(() => {
        begun = true
        return Effect.uninterruptible(effect)
      }))
      const tooLate = Effect.suspend(() => begun ? Effect.never : late)
      return restore(Effect.raceFirst(work, Effect.zipRight(Effect.sleep(patience), tooLate)))
    })
  }
}

const stripes = 64

const stripeOf = (name: string): number => (Hash.string(name) >>> 0) % stripes

/**
 * Locks of names; each is shared by many.
 *
 * @internal
 */
export class Locks {
  private readonly last = new Lock()
  private readonly others = Array.from({ length: stripes - 1 }, () => new Lock())

  of(name: string): Lock {
    return this.others[stripeOf(name)] ?? this.last
  }
}
