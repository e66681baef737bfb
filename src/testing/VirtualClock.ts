/**
 * A clock that stands until it is moved.
 *
 * @since 1.0.0
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

interface Sleeper {
  readonly until: number
  readonly wake: () => void
}

/**
 * As the `TestClock` of Effect, for runs by the thousand: moving it costs no real time, and what still sleeps can be
 * counted.
 *
 * @internal
 */
export class VirtualClock implements Clock.Clock {
  readonly [Clock.ClockTypeId]: Clock.ClockTypeId = Clock.ClockTypeId
  now = 0
  private readonly sleepers = new Set<Sleeper>()

  /** How many sleep. */
  get pending(): number {
    return this.sleepers.size
  }

  unsafeCurrentTimeMillis(): number {
    return this.now
  }

  unsafeCurrentTimeNanos(): bigint {
    return BigInt(this.now) * 1_000_000n
  }

  get currentTimeMillis(): Effect.Effect<number> {
    return Effect.sync(() => this.now)
  }

  get currentTimeNanos(): Effect.Effect<bigint> {
    return Effect.sync(() => this.unsafeCurrentTimeNanos())
  }

  sleep(duration: Duration.Duration): Effect.Effect<void> {
    return Effect.async((resume) => {
      const sleeper = { until: this.now + Duration.toMillis(duration), wake: () => resume(Effect.void) }
      this.sleepers.add(sleeper)
      return Effect.sync(() => this.sleepers.delete(sleeper))
    })
  }

  /** Moves the clock: those who sleep wake in the order of their times, and `between` runs after each. */
  advance(millis: number, between: Effect.Effect<void>): Effect.Effect<void> {
    return Effect.suspend(() => {
      const target = this.now + millis
      const next = () => {
        let first: Sleeper | undefined
        for (const sleeper of this.sleepers) {
          if (sleeper.until <= target && (first === undefined || sleeper.until < first.until)) first = sleeper
        }
        return first
      }
      return Effect.zipRight(
        Effect.whileLoop({
          while: () => next() !== undefined,
          body: () => {
            const until = next()?.until ?? target
            this.now = Math.max(this.now, until)
            for (const sleeper of Array.from(this.sleepers)) {
              if (sleeper.until <= this.now && this.sleepers.delete(sleeper)) sleeper.wake()
            }
            return between
          },
          step: () => {}
        }),
        Effect.sync(() => void (this.now = target))
      )
    })
  }
}
