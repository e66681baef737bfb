/**
 * Interrupts that can land anywhere.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import * as Scheduler from "effect/Scheduler"

/**
 * Numbers from 0 to 1 that look random, the same for the same seed (mulberry32).
 *
 * @internal
 */
export const random = (seed: number): () => number => {
  let state = seed | 0
  return () => {
    state = state + 0x6d2b79f5 | 0
    let t = Math.imul(state ^ state >>> 15, 1 | state)
    t = t + Math.imul(t ^ t >>> 7, 61 | t) ^ t
    return ((t ^ t >>> 14) >>> 0) / 4294967296
  }
}

/** A yield takes operations of its own. Yielding among these as well, a fiber would make no headway. */
const costOfYield = 24

/**
 * Runs an effect, and all fibers it starts, so that a fiber yields to the others at random points. A fiber usually runs
 * on until it has to wait, and what interrupts it finds it in one of a few places; here it can be between any two of its
 * operations. The same seed gives the same points, so a failure can be repeated.
 *
 * Try many seeds, with little in each. `p` is the chance of a yield at each operation, and defaults to 0.06. Use it with
 * the real clock (`it.live`): the test clock does not work under it.
 *
 * @since 1.0.0
 * @category testing
 */
export const withChaos =
  (seed: number, p = 0.06) => <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => {
    const inner = new Scheduler.MixedScheduler(2048)
    const next = random(seed)
    const rest = new WeakMap<object, number>()
    return Effect.withScheduler(self, {
      scheduleTask: (task, priority, fiber) => inner.scheduleTask(task, priority, fiber),
      shouldYield: (fiber) => {
        const left = rest.get(fiber) ?? 0
        if (left > 0) rest.set(fiber, left - 1)
        else if (next() < p) {
          rest.set(fiber, costOfYield)
          return 0
        }
        return inner.shouldYield(fiber)
      }
    })
  }
