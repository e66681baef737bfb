import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber } from "effect"
import * as fc from "fast-check"
import { beginWithin, Lock, Locks } from "../../src/channels/Lock.js"

describe("a lock", () => {
  it.effect("is had by one at a time, in the order of who asked, whoever is interrupted", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(
          fc.array(
            fc.record({
              yields: fc.nat(3),
              interruptedAfter: fc.option(fc.nat(8)),
              ifFree: fc.boolean(),
              comesAfter: fc.nat(8)
            }),
            {
              maxLength: 12
            }
          ),
          (all) =>
            Effect.runPromise(Effect.gen(function*() {
              const locks = new Locks()
              const [asked, order]: [Array<number>, Array<number>] = [[], []]
              let inside = 0
              const work = (n: number, yields: number) =>
                Effect.gen(function*() {
                  assert.strictEqual(++inside, 1)
                  order.push(n)
                  yield* Effect.repeatN(Effect.yieldNow(), yields)
                }).pipe(Effect.ensuring(Effect.sync(() => inside--)))
              const fibers = yield* Effect.forEach(
                all,
                ({ comesAfter, ifFree, yields }, n) =>
                  Effect.fork(Effect.zipRight(
                    Effect.repeatN(Effect.yieldNow(), comesAfter),
                    Effect.suspend(() => {
                      asked.push(n)
                      return ifFree ? locks.ifFree("a", work(n, yields), Effect.void) : locks.with("a", work(n, yields))
                    })
                  ))
              )
              yield* Effect.forEach(
                all,
                ({ interruptedAfter }, n) => {
                  const fiber = fibers[n]
                  return interruptedAfter === null || fiber === undefined ? Effect.void : Effect.zipRight(
                    Effect.repeatN(Effect.yieldNow(), interruptedAfter),
                    Fiber.interrupt(fiber)
                  )
                },
                { concurrency: "unbounded", discard: true }
              )
              const exits = yield* Effect.forEach(fibers, Fiber.await)
              for (const exit of exits) {
                if (Exit.isFailure(exit)) {
                  assert.isTrue(Exit.isInterrupted(exit))
                }
              }
              assert.deepStrictEqual(order, asked.filter((n) => order.includes(n)))
              exits.forEach((exit, n) => {
                if (Exit.isSuccess(exit) && all[n]?.ifFree === false) assert.include(order, n)
              })
              assert.strictEqual(locks.size, 0)
            }))
        ),
        { numRuns: 1000 }
      )
    ))

  it.effect("wakes only who is next", () =>
    Effect.gen(function*() {
      const lock = new Lock()
      const done: Array<number> = []
      // If each release woke all, or looked at all, this would be billions of times.
      yield* Effect.forEach(
        Array.from({ length: 50_000 }, (_, n) => n),
        (n) => lock.with(Effect.zipRight(Effect.yieldNow(), Effect.sync(() => done.push(n)))),
        { concurrency: "unbounded", discard: true }
      )
      assert.deepStrictEqual(done, Array.from({ length: 50_000 }, (_, n) => n))
    }))

  it.effect("of names: each has its own, for as long as it is of use", () =>
    Effect.gen(function*() {
      const locks = new Locks()
      const gate = yield* Deferred.make<void>()
      const names = Array.from({ length: 300 }, (_, n) => `name ${n}`)
      const begun: Array<string> = []
      const hold = (name: string) =>
        locks.with(name, Effect.zipRight(Effect.sync(() => begun.push(name)), Deferred.await(gate)))
      const all = yield* Effect.forEach([...names, ...names], (name) => Effect.fork(hold(name)))
      yield* Effect.repeatN(Effect.yieldNow(), 3)
      assert.deepStrictEqual(begun, names)
      assert.strictEqual(locks.size, 300)
      yield* Fiber.interruptAll(all.slice(300, 400))
      yield* Deferred.succeed(gate, undefined)
      yield* Effect.forEach(all, Fiber.await)
      assert.strictEqual(begun.length, 500)
      assert.strictEqual(locks.size, 0)
    }))

  it.live("within a time: it is not interrupted once begun, and not begun once late", () =>
    Effect.gen(function*() {
      const lock = new Lock()
      const locked = <A, E, R>(effect: Effect.Effect<A, E, R>) => lock.with(effect)
      const slow = Effect.as(Effect.sleep(50), "done")
      assert.strictEqual(yield* beginWithin(locked, slow, 10, Effect.succeed("late")), "done")
      const gate = yield* Deferred.make<void>()
      const held = yield* Effect.fork(lock.with(Deferred.await(gate)))
      yield* Effect.yieldNow()
      assert.isFalse(lock.isFree)
      assert.strictEqual(yield* beginWithin(locked, Effect.die("begun"), 10, Effect.succeed("late")), "late")
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(held)
      assert.isTrue(lock.isFree)
    }))
})
