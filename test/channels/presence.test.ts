import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, TestClock } from "effect"
import { PresenceLaws } from "effect-ws-hub/testing"
import { Presence } from "../../src/channels/Presence.js"
import * as PresenceMemory from "../../src/channels/PresenceMemory.js"
import { VirtualClock } from "../../src/testing/VirtualClock.js"

const { MemoryPresence } = PresenceMemory

const long = process.env["TEST_LONG"] === undefined ? 1 : 10

/** `TestClock` takes some milliseconds of real time for each step, and the laws take thousands. */
class Time extends Context.Tag("Time")<Time, VirtualClock>() {}

const settle = Effect.repeatN(Effect.yieldNow(), 5)

const onVirtualTime = Layer.provideMerge(
  Layer.scoped(Presence, Effect.flatMap(Time, (clock) => Effect.withClock(PresenceMemory.make, clock))),
  Layer.sync(Time, () => new VirtualClock())
)

describe("the laws hold of presence in memory", () => {
  const options = {
    wait: (millis: number) => Effect.flatMap(Time, (clock) => clock.advance(millis, settle)),
    numRuns: 500 * long
  }
  for (const { check, name } of PresenceLaws.laws(options)) it.scoped(name, () => Effect.provide(check, onVirtualTime))
})

describe("the laws hold of the layer, with the clock of the test", () => {
  for (const { check, name } of PresenceLaws.laws({ wait: TestClock.adjust, numRuns: 10 })) {
    it.scoped(name, () => Effect.provide(check, PresenceMemory.layer))
  }
})

describe("the laws, where time is real and operations take a good part of it", () => {
  /** Takes up to so many milliseconds before and after it; leases end after a part of theirs. */
  const slow = (most: number, part: number) =>
    Layer.scoped(
      Presence,
      Effect.map(PresenceMemory.make, (presence) => {
        const late = <A, E>(effect: Effect.Effect<A, E>) => {
          const before = Effect.suspend(() => Effect.sleep(most * Math.random()))
          return Effect.zipLeft(Effect.zipRight(before, effect), before)
        }
        return Presence.of({
          add: (channel, info, ttl) => late(presence.add(channel, info, ttl * part)),
          remove: (channel, info) => late(presence.remove(channel, info)),
          get: (channel) => late(presence.get(channel)),
          stats: (channel) => late(presence.stats(channel))
        })
      })
    )
  const laws = (most: number, part: number) =>
    Effect.forEach(
      PresenceLaws.laws({ wait: Effect.sleep, tick: 60, numRuns: 4, seed: 7 }),
      ({ check, name }) =>
        Effect.match(Effect.provide(check, slow(most, part)), {
          onFailure: (error) => [name, error.message.slice(-200)] as const,
          onSuccess: () => [name, undefined] as const
        }),
      { concurrency: "unbounded" }
    )

  it.live("hold of what keeps them", () =>
    Effect.gen(function*() {
      for (const [name, error] of yield* laws(15, 1)) assert.isUndefined(error, name)
    }))

  it.live("are broken by leases that are too short", () =>
    Effect.gen(function*() {
      const broken = (yield* laws(0, 0.25)).flatMap(([name, error]) => error === undefined ? [] : [name])
      assert.deepStrictEqual(broken, [
        "1: a lease ends ttl after it was made, and no other with it",
        "2: add again renews the lease",
        "any operations in any order have the results that the laws predict"
      ])
    }))

  it.live("are broken by leases that are too long", () =>
    Effect.gen(function*() {
      const broken = (yield* laws(0, 2)).flatMap(([name, error]) => error === undefined ? [] : [name])
      assert.includeMembers([...broken], ["any operations in any order have the results that the laws predict"])
    }))
})

describe("presence in memory", () => {
  it.scoped("a lease ends at the millisecond", () =>
    Effect.gen(function*() {
      const presence = yield* PresenceMemory.make
      yield* presence.add("a", { client: "1", user: "ada" }, 60_000)
      yield* TestClock.adjust(59_999)
      assert.deepStrictEqual(yield* presence.stats("a"), { clients: 1, users: 1 })
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(yield* presence.stats("a"), { clients: 0, users: 0 })
    }))

  it.scoped("what was listed does not change", () =>
    Effect.gen(function*() {
      const presence = yield* PresenceMemory.make
      yield* presence.add("a", { client: "1", user: "ada" }, 60_000)
      const listed = yield* presence.get("a")
      yield* presence.add("a", { client: "2", user: "bob" }, 60_000)
      assert.strictEqual((yield* presence.get("a")).size, 2)
      assert.deepStrictEqual(Array.from(listed.keys()), ["1"])
    }))

  it.scoped("the memory of abandoned channels is given back, and of empty ones at once", () =>
    Effect.gen(function*() {
      const clock = new VirtualClock()
      const { channels, presence } = yield* Effect.withClock(MemoryPresence.make, clock)
      yield* settle
      assert.strictEqual(clock.pending, 0, "no timer while nobody is there")
      for (let channel = 0; channel < 15_000; channel++) {
        yield* presence.add(`${channel}`, { client: "1", user: "ada" }, 30_000)
      }
      yield* presence.remove("7", { client: "1", user: "ada" })
      assert.strictEqual(channels.size, 14_999)
      yield* settle
      assert.strictEqual(clock.pending, 1)
      yield* clock.advance(29_000, settle)
      assert.strictEqual(channels.size, 14_999)
      yield* clock.advance(12_000, settle)
      assert.strictEqual(channels.size, 0)
      yield* settle
      assert.strictEqual(clock.pending, 0)
    }))
})
