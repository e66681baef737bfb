import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Exit, FastCheck as fc, Fiber, Logger, Scope, TestClock } from "effect"
import { Coalesce, Hub } from "effect-ws-hub"
import { TestTransport, withChaos } from "effect-ws-hub/testing"

interface Published {
  readonly at: number
  readonly key: string
  readonly text: string
}

/** A coalescer of text whose publications are recorded with their time. */
const recorded = (options?: Partial<Coalesce.Options<string>>) =>
  Effect.gen(function*() {
    const published: Array<Published> = []
    const coalesce = yield* Coalesce.make<string>({
      window: 100,
      combine: (earlier, later) => earlier + later,
      publish: (key, text) => Effect.map(Clock.currentTimeMillis, (at) => published.push({ at, key, text })),
      ...options
    })
    return { published, coalesce }
  })

const settle = Effect.repeatN(Effect.yieldNow(), 20)

/** A clock that moves by hand, and quickly: `TestClock` takes some milliseconds of real time for each step. */
class ManualClock implements Clock.Clock {
  readonly [Clock.ClockTypeId]: Clock.ClockTypeId = Clock.ClockTypeId
  private time = 0
  private sleeping: Array<{ readonly until: number; readonly wake: () => void }> = []
  readonly currentTimeMillis = Effect.sync(() => this.time)
  readonly currentTimeNanos = Effect.sync(() => this.unsafeCurrentTimeNanos())

  unsafeCurrentTimeMillis() {
    return this.time
  }

  unsafeCurrentTimeNanos() {
    return BigInt(this.time) * 1_000_000n
  }

  scheduler(): Clock.ClockScheduler {
    throw new Error("not needed")
  }

  sleep(duration: Duration.Duration) {
    return Effect.async<void>((resume) => {
      const entry = { until: this.time + Duration.toMillis(duration), wake: () => resume(Effect.void) }
      this.sleeping.push(entry)
      return Effect.sync(() => {
        this.sleeping = this.sleeping.filter((other) => other !== entry)
      })
    })
  }

  /** Moves on, from one thing that is due to the next. */
  adjust(millis: number): Effect.Effect<void> {
    return Effect.gen(this, function*() {
      const end = this.time + millis
      for (;;) {
        yield* settle
        const next = this.sleeping.reduce((least, { until }) => Math.min(least, until), Infinity)
        this.time = Math.min(end, next)
        const due = this.sleeping.filter(({ until }) => until <= this.time)
        if (due.length === 0) return
        this.sleeping = this.sleeping.filter(({ until }) => until > this.time)
        for (const { wake } of due) wake()
      }
    })
  }
}

describe("Coalesce", () => {
  it.scoped("joins what arrives within a window, by key, in order", () =>
    Effect.gen(function*() {
      const { coalesce, published } = yield* recorded()
      yield* coalesce.offer("a", "1")
      yield* TestClock.adjust(50)
      yield* coalesce.offer("a", "2")
      yield* coalesce.offer("b", "x")
      yield* coalesce.offer("a", "3")
      assert.deepStrictEqual(published, [])
      yield* TestClock.adjust(50)
      assert.deepStrictEqual(published, [{ at: 100, key: "a", text: "123" }])
      yield* coalesce.offer("a", "4")
      yield* TestClock.adjust(50)
      assert.deepStrictEqual(published.slice(1), [{ at: 150, key: "b", text: "x" }])
      yield* TestClock.adjust(1000)
      assert.deepStrictEqual(published.slice(2), [{ at: 200, key: "a", text: "4" }])
    }).pipe(Effect.provide(Hub.layer())))

  it.scoped("leading: publishes the first at once, and then at most one for each window", () =>
    Effect.gen(function*() {
      const { coalesce, published } = yield* recorded({ leading: true })
      yield* coalesce.offer("a", "1")
      assert.deepStrictEqual(published, [{ at: 0, key: "a", text: "1" }])
      yield* TestClock.adjust(30)
      yield* coalesce.offer("a", "2")
      yield* coalesce.offer("a", "3")
      yield* TestClock.adjust(70)
      assert.deepStrictEqual(published.slice(1), [{ at: 100, key: "a", text: "23" }])
      yield* TestClock.adjust(99)
      yield* coalesce.offer("a", "4")
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(published.slice(2), [{ at: 200, key: "a", text: "4" }])
      yield* TestClock.adjust(100)
      yield* coalesce.offer("a", "5")
      assert.deepStrictEqual(published.slice(3), [{ at: 300, key: "a", text: "5" }])
    }).pipe(Effect.provide(Hub.layer())))

  it.scoped("leading: a flush with nothing to publish does not shorten the window", () =>
    Effect.gen(function*() {
      const { coalesce, published } = yield* recorded({ leading: true })
      yield* coalesce.offer("a", "1")
      yield* coalesce.flush
      yield* coalesce.flushKey("a")
      yield* TestClock.adjust(1)
      yield* coalesce.offer("a", "2")
      yield* TestClock.adjust(1000)
      assert.deepStrictEqual(published.map(({ at }) => at), [0, 100])
    }).pipe(Effect.provide(Hub.layer())))

  it.scoped("does not join across a boundary, and keeps the order", () =>
    Effect.gen(function*() {
      const isPrompt = (text: string) => text.startsWith("?")
      const { coalesce, published } = yield* recorded({
        canCombine: (earlier, later) => isPrompt(earlier) === isPrompt(later)
      })
      for (const text of ["1", "2", "?", "3", "4"]) yield* coalesce.offer("a", text)
      yield* TestClock.adjust(100)
      assert.deepStrictEqual(published.map(({ text }) => text), ["12", "?", "34"])
    }).pipe(Effect.provide(Hub.layer())))

  it.scoped("flush and flushKey publish at once what is pending", () =>
    Effect.gen(function*() {
      const { coalesce, published } = yield* recorded()
      yield* coalesce.offer("a", "1")
      yield* coalesce.offer("b", "2")
      yield* coalesce.offer("c", "3")
      yield* coalesce.flushKey("b")
      yield* coalesce.flushKey("unknown")
      assert.deepStrictEqual(published.map(({ key }) => key), ["b"])
      yield* coalesce.flush
      assert.deepStrictEqual(published.map(({ key }) => key), ["b", "a", "c"])
      yield* TestClock.adjust(1000)
      assert.strictEqual(published.length, 3)
    }).pipe(Effect.provide(Hub.layer())))

  it.scoped("publishes what is pending when its scope closes, and at once what is offered after that", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const { coalesce, published } = yield* Scope.extend(recorded(), scope)
      yield* coalesce.offer("a", "1")
      yield* coalesce.offer("a", "2")
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(published.map(({ text }) => text), ["12"])
      yield* coalesce.offer("a", "3")
      assert.deepStrictEqual(published.map(({ text }) => text), ["12", "3"])
    }).pipe(Effect.provide(Hub.layer())))

  it.scoped("what is pending when the hub drains reaches its connections before they are closed", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const coalesce = yield* Coalesce.make<string>({
        window: "1 hour",
        combine: (earlier, later) => earlier + later,
        publish: (topic, text) => hub.publish(topic, text)
      })
      const { peer, transport } = yield* TestTransport.make()
      const connection = yield* hub.accept(transport, (connection) => Effect.exit(connection.take))
      yield* connection.join("room")
      yield* coalesce.offer("room", "1")
      yield* coalesce.offer("room", "2")
      const draining = yield* Effect.fork(hub.drain)
      assert.strictEqual(yield* peer.next, "12")
      assert.strictEqual((yield* peer.closed).code, 1001)
      yield* Fiber.join(draining)
    }).pipe(Effect.provide(Hub.layer())))

  it.scoped("ends a window early rather than let a key grow beyond its bound", () =>
    Effect.gen(function*() {
      const { coalesce, published } = yield* recorded({ keyBytes: 200 })
      yield* coalesce.offer("a", "x".repeat(50))
      assert.strictEqual(published.length, 0)
      yield* coalesce.offer("a", "y".repeat(50))
      assert.deepStrictEqual(published.map(({ text }) => text), ["x".repeat(50)])
      yield* coalesce.offer("a", "z".repeat(1000))
      assert.strictEqual(published.length, 2)
      yield* coalesce.flush
      assert.strictEqual(published[2]?.text.length, 1000)
    }).pipe(Effect.provide(Hub.layer())))

  it.scoped("messages that replace each other are as large as the last one, for the bounds of their key and of all", () =>
    Effect.gen(function*() {
      const { coalesce, published } = yield* recorded({
        combine: (_, later) => later,
        size: (text) => text.length,
        keyBytes: 1000,
        totalBytes: 2000
      })
      for (let i = 0; i < 100; i++) yield* coalesce.offer("a", String(i).padEnd(400))
      assert.deepStrictEqual(published, [])
      // What it counts for is what it was last.
      yield* coalesce.offer("a", "small")
      for (const key of ["b", "c"]) yield* coalesce.offer(key, key.repeat(700))
      assert.deepStrictEqual(published, [])
      yield* coalesce.offer("a", "a".repeat(700))
      assert.deepStrictEqual(published.map(({ key, text }) => [key, text.length]), [["a", 700]])
      yield* TestClock.adjust(100)
      assert.deepStrictEqual(published.slice(1).map(({ key }) => key), ["b", "c"])
    }).pipe(Effect.provide(Hub.layer())))

  it.scoped("messages that are joined count together, with a size of the application's and without", () =>
    Effect.gen(function*() {
      for (const options of [{}, { size: (text: string) => text.length }]) {
        const { coalesce, published } = yield* recorded({ keyBytes: 1000, ...options })
        for (let i = 0; i < 8; i++) yield* coalesce.offer("a", "x".repeat(100))
        assert.deepStrictEqual(published, [])
        yield* coalesce.offer("a", "x".repeat(100))
        assert.deepStrictEqual(published.map(({ text }) => text.length), [800])
      }
    }).pipe(Effect.provide(Hub.layer())))

  for (const leading of [false, true]) {
    it.scoped(`a flood of keys ends the oldest windows early, and loses nothing (leading: ${leading})`, () =>
      Effect.gen(function*() {
        const { coalesce, published } = yield* recorded({ totalBytes: 10_000, leading })
        for (let i = 0; i < 1000; i++) yield* coalesce.offer(`key-${i}`, "1")
        const early = published.length
        assert.isAtLeast(early, 900)
        yield* coalesce.flush
        assert.deepStrictEqual(published.map(({ key }) => key), Array.from({ length: 1000 }, (_, i) => `key-${i}`))
      }).pipe(Effect.provide(Hub.layer())))
  }

  it.scoped("a defect in publish is logged, and the next is published", () =>
    Effect.gen(function*() {
      const published: Array<string> = []
      const coalesce = yield* Coalesce.make<string>({
        window: 100,
        combine: (earlier, later) => earlier + later,
        publish: (key, text) => key === "bad" ? Effect.dieMessage("boom") : Effect.sync(() => published.push(text))
      })
      yield* coalesce.offer("bad", "1")
      yield* coalesce.offer("good", "2")
      yield* TestClock.adjust(100)
      yield* coalesce.offer("good", "3")
      yield* TestClock.adjust(100)
      assert.deepStrictEqual(published, ["2", "3"])
    }).pipe(Effect.provide([Hub.layer(), Logger.remove(Logger.defaultLogger)])))

  it.scoped("what is offered later does not overtake a publish that takes its time", () =>
    Effect.gen(function*() {
      const published: Array<string> = []
      const gate = yield* Effect.makeLatch(false)
      const coalesce = yield* Coalesce.make<string>({
        window: 100,
        combine: (earlier, later) => earlier + later,
        leading: true,
        publish: (_key, text) =>
          Effect.zipRight(text === "1" ? gate.await : Effect.void, Effect.sync(() => published.push(text)))
      })
      const first = yield* Effect.fork(coalesce.offer("a", "1"))
      yield* settle
      yield* coalesce.offer("a", "2")
      const flushed = yield* Effect.fork(coalesce.flush)
      yield* settle
      assert.deepStrictEqual(published, [])
      yield* gate.open
      yield* Fiber.join(first)
      yield* Fiber.join(flushed)
      assert.deepStrictEqual(published, ["1", "2"])
    }).pipe(Effect.provide(Hub.layer())))

  it.scoped("an interrupted offer is published all the same", () =>
    Effect.gen(function*() {
      const published: Array<string> = []
      const gate = yield* Effect.makeLatch(false)
      const coalesce = yield* Coalesce.make<string>({
        window: 100,
        combine: (earlier, later) => earlier + later,
        leading: true,
        publish: (_key, text) => Effect.zipRight(gate.await, Effect.sync(() => published.push(text)))
      })
      const first = yield* Effect.fork(coalesce.offer("a", "1"))
      const second = yield* Effect.fork(coalesce.offer("b", "2"))
      yield* settle
      yield* Fiber.interruptFork(first)
      yield* Fiber.interruptFork(second)
      yield* settle
      yield* gate.open
      yield* Fiber.await(second)
      assert.deepStrictEqual(published, ["1", "2"])
    }).pipe(Effect.provide(Hub.layer())))

  it.live("under chaos, what was offered is published once and in order, whoever is interrupted", () => {
    const round = (seed: number) =>
      Effect.gen(function*() {
        const published: Array<number> = []
        const accepted: Array<number> = []
        yield* Effect.scoped(Effect.gen(function*() {
          const coalesce = yield* Coalesce.make<ReadonlyArray<number>>({
            window: 1,
            leading: seed % 2 === 0,
            keyBytes: 150,
            combine: (earlier, later) => [...earlier, ...later],
            publish: (_key, numbers) =>
              Effect.zipRight(Effect.yieldNow(), Effect.sync(() => published.push(...numbers)))
          })
          const fibers = yield* Effect.forEach([0, 100, 200], (first) =>
            Effect.fork(Effect.forEach(
              Array.from({ length: 20 }, (_, i) => first + i),
              (number) => Effect.tap(coalesce.offer("key", [number]), () => accepted.push(number))
            )))
          const [first] = fibers
          if (first !== undefined) {
            yield* Fiber.interrupt(first)
          }
          if (seed % 3 === 0) yield* Effect.forEach(fibers, Fiber.await)
        }))
        for (const first of [0, 100, 200]) {
          const of = (numbers: ReadonlyArray<number>) => numbers.filter((n) => n >= first && n < first + 100)
          const all = of(published)
          assert.deepStrictEqual(all, Array.from(all, (_, i) => first + i), `seed ${seed}: lost or out of order`)
          assert.isAtLeast(all.length, of(accepted).length, `seed ${seed}: lost`)
        }
      }).pipe(Effect.provide(Hub.layer({ heartbeatInterval: "off" })), withChaos(seed))
    return Effect.forEach(
      Array.from({ length: process.env.TEST_LONG === "1" ? 3000 : 150 }, (_, seed) => seed),
      round,
      {
        discard: true
      }
    )
  })

  it.scoped("a wrong option is named", () =>
    Effect.gen(function*() {
      const wrong: ReadonlyArray<readonly [string, Partial<Coalesce.Options<string>>]> = [
        ["window", { window: 0 }],
        ["window", { window: Infinity }],
        ["keyBytes", { keyBytes: 0 }],
        ["totalBytes", { totalBytes: 1.5 }]
      ]
      for (const [key, options] of wrong) assert.strictEqual((yield* Effect.flip(recorded(options))).key, key)
    }).pipe(Effect.provide(Hub.layer())))

  it.effect("nothing is lost, order is kept by key, and a key is published at most once a window", () => {
    const key = fc.constantFrom("a", "b", "c")
    const step = fc.oneof(
      { weight: 5, arbitrary: fc.record({ do: fc.constant("offer" as const), key, boundary: fc.boolean() }) },
      {
        weight: 2,
        arbitrary: fc.record({ do: fc.constant("wait" as const), millis: fc.integer({ min: 1, max: 150 }) })
      },
      { weight: 1, arbitrary: fc.record({ do: fc.constant("flush" as const), key: fc.option(key) }) }
    )
    const run = (
      steps: ReadonlyArray<typeof step extends fc.Arbitrary<infer S> ? S : never>,
      leading: boolean,
      drain: boolean
    ) =>
      Effect.gen(function*() {
        const clock = new ManualClock()
        const offered: Record<string, Array<number>> = { a: [], b: [], c: [] }
        const published: Array<{ readonly at: number; readonly key: string; readonly parts: ReadonlyArray<number> }> =
          []
        let beforeEnd = 0
        let number = 0
        let flushes: ReadonlyArray<number> = []
        yield* Effect.gen(function*() {
          const coalesce = yield* Coalesce.make<{ readonly boundary: boolean; readonly parts: ReadonlyArray<number> }>({
            window: 100,
            leading,
            combine: (earlier, later) => ({ ...earlier, parts: [...earlier.parts, ...later.parts] }),
            canCombine: (earlier, later) => earlier.boundary === later.boundary,
            publish: (key, { parts }) =>
              Effect.sync(() => published.push({ at: clock.unsafeCurrentTimeMillis(), key, parts }))
          })
          for (const step of steps) {
            if (step.do === "offer") {
              offered[step.key]?.push(number)
              yield* coalesce.offer(step.key, { boundary: step.boundary, parts: [number++] })
            } else if (step.do === "wait") yield* clock.adjust(step.millis)
            else {
              flushes = [...flushes, clock.unsafeCurrentTimeMillis()]
              yield* step.key === null ? coalesce.flush : coalesce.flushKey(step.key)
            }
          }
          beforeEnd = published.length
          if (drain) yield* Effect.flatMap(Hub.Hub, (hub) => hub.drain)
        }).pipe(Effect.scoped, Effect.provide(Hub.layer({ heartbeatInterval: "off" })), Effect.withClock(clock))
        for (const key of ["a", "b", "c"]) {
          const parts = published.filter((one) => one.key === key).flatMap(({ parts }) => parts)
          assert.deepStrictEqual(parts, offered[key], "lost or out of order")
          const ofKey = published.slice(0, beforeEnd).filter((one) => one.key === key)
          const times = Array.from(new Set(ofKey.map(({ at }) => at)))
          for (const [i, at] of times.entries()) {
            const before = times[i - 1]
            if (before === undefined || flushes.includes(at)) continue
            assert.isAtLeast(at - before, 100, `${key} was published twice within a window`)
          }
        }
      })
    return Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 40 }), fc.boolean(), fc.boolean(), (steps, leading, drain) =>
          Effect.runPromise(run(steps, leading, drain))),
        { numRuns: process.env.TEST_LONG === "1" ? 5000 : 500 }
      )
    )
  })
})
