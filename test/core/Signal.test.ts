/** Waiting for a change, where the fiber that wakes runs before the others have been woken. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, type Scheduler } from "effect"
import { HubTest } from "effect-ws-hub/testing"
import { Signal } from "../../src/core/Signal.js"

/** Runs a fiber inside of whatever wakes it, as the hub does for a message. */
const atOnce: Scheduler.Scheduler = {
  scheduleTask: (task) => task(),
  shouldYield: () => false
}

describe("Signal", () => {
  it.effect("who waits again while others are woken is woken by the next change, and not before", () =>
    Effect.gen(function*() {
      const signal = new Signal()
      const woken = [0, 0, 0]
      const fibers = yield* Effect.forEach(woken, (_, who) =>
        signal.next(() => false).pipe(
          Effect.zipRight(Effect.sync(() => woken[who] = (woken[who] ?? 0) + 1)),
          Effect.forever,
          Effect.withScheduler(atOnce),
          Effect.fork
        ))
      yield* HubTest.settle
      for (const times of [1, 2, 3]) {
        signal.notify()
        assert.deepStrictEqual(woken, [times, times, times])
      }
      yield* Fiber.interruptAll(fibers)
    }))

  it.effect("who is notified of a change by a change misses none of them", () =>
    Effect.gen(function*() {
      const signal = new Signal()
      let changes = 0
      const first = yield* signal.until(() => changes === 2).pipe(Effect.withScheduler(atOnce), Effect.fork)
      // Makes the second change while it is woken by the first.
      const second = yield* signal.next(() => false).pipe(
        Effect.zipRight(Effect.sync(() => {
          changes = 2
          signal.notify()
        })),
        Effect.withScheduler(atOnce),
        Effect.fork
      )
      yield* HubTest.settle
      changes = 1
      signal.notify()
      yield* HubTest.settle
      assert.isNotNull(first.unsafePoll())
      yield* Fiber.join(second)
    }))

  it.effect("a change between a look and the wait is not missed", () =>
    Effect.gen(function*() {
      const signal = new Signal()
      let looks = 0
      // Comes true at the second look: by then nobody will notify.
      yield* signal.until(() => ++looks > 1)
      assert.strictEqual(looks, 3)
    }))

  it.effect("a fiber that gave up waiting is not in the way of the others", () =>
    Effect.gen(function*() {
      const signal = new Signal()
      const [first, second, third] = yield* Effect.replicateEffect(
        Effect.fork(Effect.withScheduler(signal.next(() => false), atOnce)),
        3
      )
      yield* HubTest.settle
      if (first === undefined || second === undefined || third === undefined) return assert.fail("no fibers")
      yield* Fiber.interruptAll([first, second])
      signal.notify()
      yield* Fiber.join(third)
    }))
})
