import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Scope, TestClock } from "effect"
import { BrokerLaws } from "effect-ws-hub/testing"
import { Broker, type BrokerEvent, type StreamOptions } from "../../src/channels/Broker.js"
import * as BrokerMemory from "../../src/channels/BrokerMemory.js"
import { VirtualClock } from "../../src/testing/VirtualClock.js"

const { MemoryNetwork } = BrokerMemory

const long = process.env["TEST_LONG"] === undefined ? 1 : 10

/** `TestClock` takes some milliseconds of real time for each step, and the laws take thousands. */
class Stage extends Context.Tag("Stage")<Stage, {
  readonly clock: VirtualClock
  readonly network: BrokerMemory.MemoryNetwork
}>() {}

const stage = Layer.scoped(
  Stage,
  Effect.suspend(() => {
    const clock = new VirtualClock()
    return Effect.map(Effect.withClock(MemoryNetwork.make, clock), (network) => ({ clock, network }))
  })
)

const settle = Effect.repeatN(Effect.yieldNow(), 5)

const suites = {
  "one node": [
    Layer.provideMerge(Layer.effect(Broker, Effect.map(Stage, ({ network }) => network.node())), stage),
    {}
  ],
  "two nodes": [
    Layer.provideMerge(Layer.effect(Broker, Effect.map(Stage, ({ network }) => network.node())), stage),
    {
      another: Effect.map(Stage, ({ network }) => network.node()),
      lose: (channel: string) => Effect.map(Stage, ({ network }) => network.lose(channel))
    }
  ]
} as const

for (const [name, [layer, more]] of Object.entries(suites)) {
  describe(`the laws hold of the broker in memory, on ${name}`, () => {
    const options: BrokerLaws.BrokerLawsOptions<Stage> = {
      wait: (millis) => Effect.flatMap(Stage, ({ clock }) => clock.advance(millis, settle)),
      numRuns: 300 * long,
      ...more
    }
    for (const { check, name } of BrokerLaws.laws(options)) it.scoped(name, () => Effect.provide(check, layer))
  })
}

describe("the laws hold of the layer, with the clock of the test", () => {
  for (const { check, name } of BrokerLaws.laws({ wait: TestClock.adjust, numRuns: 10 })) {
    it.scoped(name, () => Effect.provide(check, BrokerMemory.layer))
  }
})

const stream: StreamOptions = { size: 10, ttl: 60_000, metaTtl: 600_000 }

describe("the broker in memory", () => {
  it.scoped("an epoch is eight letters", () =>
    Effect.gen(function*() {
      const broker = yield* BrokerMemory.make
      const epochs = new Set<string>()
      for (let channel = 0; channel < 200; channel++) {
        const { position: { epoch } } = yield* broker.history(`${channel}`, { stream })
        assert.match(epoch, /^[a-zA-Z]{8}$/)
        epochs.add(epoch)
      }
      assert.strictEqual(epochs.size, 200)
    }))

  it.scoped("times end at the millisecond", () =>
    Effect.gen(function*() {
      const broker = yield* BrokerMemory.make
      const read = Effect.map(broker.history("a", { stream }), ({ position, publications }) => ({
        ...position,
        kept: publications.length
      }))
      const publish = Effect.map(broker.publish("b", { data: "0", stream, idempotencyKey: "key" }), (at) => at?.offset)
      const at = yield* broker.publish("a", { data: "0", stream })
      assert.strictEqual(yield* publish, 1)
      yield* TestClock.adjust(59_999)
      assert.deepStrictEqual(yield* read, { ...at, kept: 1, offset: 1, epoch: at?.epoch ?? "" })
      yield* TestClock.adjust(1)
      assert.strictEqual((yield* read).kept, 0)
      yield* TestClock.adjust(239_999)
      assert.strictEqual(yield* publish, 1, "the window is 300 seconds")
      yield* TestClock.adjust(1)
      assert.strictEqual(yield* publish, 2)
      yield* TestClock.adjust(299_999 + 60_000)
      assert.strictEqual((yield* read).epoch, at?.epoch, "read 300 seconds after the start, and kept for 600 more")
      yield* TestClock.adjust(599_999)
      assert.strictEqual((yield* read).epoch, at?.epoch)
      yield* TestClock.adjust(600_000)
      assert.notStrictEqual((yield* read).epoch, at?.epoch)
    }))

  it.scoped("channel and key are two things", () =>
    Effect.gen(function*() {
      const broker = yield* BrokerMemory.make
      const first = yield* broker.publish("a", { data: "0", stream, idempotencyKey: "bc" })
      const second = yield* broker.publish("ab", { data: "0", stream, idempotencyKey: "c" })
      assert.strictEqual(first?.offset, 1)
      assert.notStrictEqual(second?.epoch, first?.epoch)
    }))

  it.scoped("the memory of abandoned channels is given back, and only then", () =>
    Effect.gen(function*() {
      const clock = new VirtualClock()
      const network = yield* Effect.withClock(MemoryNetwork.make, clock)
      const broker = network.node()
      yield* settle
      assert.strictEqual(clock.pending, 0, "no timer while there is nothing to expire")
      const advance = (millis: number) => clock.advance(millis, settle)
      yield* broker.publish("none", { data: "0" })
      yield* settle
      assert.strictEqual(clock.pending, 0, "no timer for what leaves nothing")

      // More than one slice of a sweep.
      for (let channel = 0; channel < 25_000; channel++) {
        yield* broker.publish(`${channel}`, { data: "0", stream, idempotencyKey: "key", idempotencyWindow: 30_000 })
      }
      yield* settle
      assert.strictEqual(clock.pending, 2, "one timer for streams and one for keys")
      yield* advance(29_000)
      assert.strictEqual(network.outcomes.size, 25_000)
      yield* advance(12_000)
      assert.strictEqual(network.outcomes.size, 0)
      assert.strictEqual(network.streams.size, 25_000)
      yield* advance(500_000)
      yield* broker.history("7", { stream, limit: 0 })
      yield* advance(58_000)
      assert.strictEqual(network.streams.size, 25_000)
      yield* advance(13_000)
      assert.strictEqual(network.streams.size, 1)
      yield* advance(600_000)
      assert.strictEqual(network.streams.size, 0)
      yield* settle
      assert.strictEqual(clock.pending, 0)
    }))

  it.scoped("publications that have expired are given back though nobody reads", () =>
    Effect.gen(function*() {
      const clock = new VirtualClock()
      const network = yield* Effect.withClock(MemoryNetwork.make, clock)
      const broker = network.node()
      yield* broker.publish("a", { data: "0", stream })
      const kept = network.streams.get("a", 0)
      yield* settle
      yield* clock.advance(59_000, settle)
      assert.strictEqual(kept?.count, 1)
      yield* clock.advance(11_000, settle)
      assert.strictEqual(kept?.count, 0)
    }))

  it.scoped("names that are only read do not fill the memory", () =>
    Effect.gen(function*() {
      const network = yield* MemoryNetwork.make
      const broker = network.node()
      network.mostRead = 10
      for (let channel = 0; channel < 100; channel++) yield* broker.history(`${channel}`, { stream })
      assert.strictEqual(network.streams.size, 10)
      const known = yield* broker.history("9", { stream })
      assert.deepStrictEqual(yield* broker.history("9", { stream }), known)
      const at = yield* broker.publish("99", { data: "1", stream })
      assert.deepStrictEqual((yield* broker.history("99", { stream })).position, at)
    }))

  it.scoped("what a stream has dropped is given back", () =>
    Effect.gen(function*() {
      const network = yield* MemoryNetwork.make
      const broker = network.node()
      for (const size of [1, 10, 1000]) {
        for (let data = 0; data < 5000; data++) {
          yield* broker.publish(`${size}`, { data: `${data}`, stream: { ...stream, size } })
          assert.isAtMost(network.streams.get(`${size}`, 0)?.slots ?? Infinity, 2 * size + 64)
        }
        const { publications } = yield* broker.history(`${size}`, { stream: { ...stream, size } })
        assert.deepStrictEqual(
          publications.map((publication) => Number(publication.data)),
          Array.from({ length: size }, (_, index) => 5000 - size + index)
        )
      }
    }))

  it.scoped("the size that rules is the newest: of the last publication, and of who reads", () =>
    Effect.gen(function*() {
      const broker = yield* BrokerMemory.make
      const read = (size: number) =>
        Effect.map(
          broker.history("a", { stream: { ...stream, size } }),
          ({ publications }) => publications.map((publication) => Number(publication.data))
        )
      for (let data = 1; data <= 10; data++) yield* broker.publish("a", { data: `${data}`, stream })
      assert.deepStrictEqual(yield* read(2), [9, 10])
      assert.deepStrictEqual((yield* read(10)).length, 10)
      yield* broker.publish("a", { data: "11", stream: { ...stream, size: 3 } })
      assert.deepStrictEqual(yield* read(10), [9, 10, 11])
    }))

  it.effect("nothing is left when the scope closes", () =>
    Effect.gen(function*() {
      const clock = new VirtualClock()
      const scope = yield* Scope.make()
      const events: Array<BrokerEvent> = []
      yield* Effect.gen(function*() {
        const broker = yield* BrokerMemory.make
        yield* broker.listen((event) => events.push(event))
        yield* broker.subscribe("a")
        yield* broker.publish("a", { data: "0", stream, idempotencyKey: "key" })
        yield* settle
        assert.strictEqual(clock.pending, 2)
      }).pipe(Scope.extend(scope), Effect.withClock(clock), Effect.onExit((exit) => Scope.close(scope, exit)))
      assert.strictEqual(clock.pending, 0)
      assert.strictEqual(events.length, 1)
    }))
})
