/**
 * A map whose values expire by themselves.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { Signal } from "../core/Signal.js"

/**
 * Something that ends with time.
 *
 * @internal
 */
export interface Expiring {
  /** Gives up what has ended by now. Returns whether nothing is left. */
  expire(now: number): boolean
}

/** Milliseconds between two sweeps. */
const interval = 10_000

/** Values that are looked at in one go, and the pause between two goes: a sweep of a million must not be felt. */
const slice = 10_000
const pause = 10

/**
 * Values by key. An expired one is never seen: it is removed when it is asked for, and by a sweep if it never is.
 *
 * @internal
 */
export class ExpiringMap<A extends Expiring> {
  private readonly values = new Map<string, A>()
  private readonly changed = new Signal()

  /** How many there are, those included that have expired since the last sweep. */
  get size(): number {
    return this.values.size
  }

  get(key: string, now: number): A | undefined {
    const value = this.values.get(key)
    if (value === undefined || !value.expire(now)) return value
    this.values.delete(key)
    return undefined
  }

  set(key: string, value: A): void {
    this.values.set(key, value)
    if (this.values.size === 1) this.changed.notify()
  }

  delete(key: string): void {
    this.values.delete(key)
  }

  /** Sweeps for ever. Sleeps without a timer while the map is empty. */
  private sweep(now: () => number): Effect.Effect<never> {
    const some = Effect.suspend(() => {
      const entries = this.values.entries()
      let ended = false
      const look = () => {
        const time = now()
        for (let count = 0; count < slice; count++) {
          const next = entries.next()
          if (next.done === true) {
            ended = true
            return Effect.void
          }
          const [key, value] = next.value
          if (value.expire(time)) this.values.delete(key)
        }
        return Effect.sleep(pause)
      }
      return Effect.whileLoop({ while: () => !ended, body: look, step: () => {} })
    })
    return Effect.forever(
      Effect.zipRight(this.changed.until(() => this.values.size > 0), Effect.zipRight(Effect.sleep(interval), some))
    )
  }

  /** Makes one that is swept for as long as the scope lives. */
  static make<A extends Expiring>(now: () => number): Effect.Effect<ExpiringMap<A>, never, Scope.Scope> {
    return Effect.suspend(() => {
      const map = new ExpiringMap<A>()
      return Effect.as(Effect.forkScoped(Effect.interruptible(map.sweep(now))), map)
    })
  }
}

/**
 * Milliseconds, from a clock that is never set back.
 *
 * @internal
 */
export const monotonic: Effect.Effect<() => number> = Effect.clockWith((clock) =>
  Effect.succeed(() => Number(clock.unsafeCurrentTimeNanos() / 1_000_000n))
)
