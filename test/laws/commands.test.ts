/** The model with commands of a user's own. */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Effect, Exit, FastCheck } from "effect"
import { type Connection, Hub } from "effect-ws-hub"
import { HubModel, HubTest } from "effect-ws-hub/testing"

/** Adds up what its peer pays in. */
const account = (connection: Connection) =>
  Effect.suspend(() => {
    let balance = 0
    return connection.runForEach((amount) => connection.send(`${balance += Number(amount)}`))
  })

/** All peers pay into the same account. */
const shared = () => {
  let balance = 0
  return (connection: Connection) => connection.runForEach((amount) => connection.send(`${balance += Number(amount)}`))
}

/** Pays in, and expects the balance of this connection. */
const deposits = () => {
  const balances = new WeakMap<Connection, number>()
  let checked = 0
  const deposit = HubModel.forOne(
    "deposit",
    FastCheck.integer({ min: 1, max: 9 }),
    (participant, amount) =>
      Effect.gen(function*() {
        const { connection, peer } = participant
        yield* HubTest.settle
        if (!participant.isOpen || !participant.reads) return
        const before = (yield* peer.received).length
        const balance = (balances.get(connection) ?? 0) + amount
        balances.set(connection, balance)
        yield* peer.send(`${amount}`)
        yield* HubTest.settle
        assert.deepStrictEqual((yield* peer.received).slice(before), [`${balance}`])
        checked++
      })
  )
  return { checked: () => checked, deposit: { weight: 10, arbitrary: deposit } }
}

const failure = (exit: Exit.Exit<unknown>) => Exit.isFailure(exit) ? Cause.pretty(exit.cause) : assert.fail("holds")

describe("HubModel.check, with commands of a user's own", () => {
  it.live("among all of the lifecycle: a handler that is right passes", () =>
    Effect.gen(function*() {
      const { checked, deposit } = deposits()
      yield* HubModel.check({
        seed: 1,
        handler: account,
        commands: [...Object.values(HubModel.lifecycle), deposit]
      })
      assert.isAbove(checked(), 20)
    }))

  it.live("and one that is wrong does not: the failure tells the command", () =>
    Effect.gen(function*() {
      const message = failure(
        yield* Effect.exit(HubModel.check({
          seed: 1,
          handler: shared(),
          commands: [HubModel.lifecycle.connect, deposits().deposit]
        }))
      )
      assert.include(message, "deposit(0, ")
      assert.include(message, "seed: 1")
    }))

  it.live("some of the lifecycle: what is left out does not happen, and nothing is sent besides", () =>
    Effect.gen(function*() {
      const { connect, pauseReading } = HubModel.lifecycle
      const reasons = new Set<string>()
      let peers = 0
      yield* HubModel.check({
        seed: 1,
        numRuns: 20,
        commands: [connect, pauseReading],
        handler: (connection) => {
          peers++
          return connection.runForEach(() => Effect.sync(() => reasons.add("a message")))
        },
        invariant: (participants) =>
          Effect.flatMap(Hub.Hub, (hub) =>
            Effect.map(hub.state, (state) => {
              const isOver = state === "Draining" || state === "Closed"
              if (!isOver && participants.some(({ isOpen }) => !isOpen)) reasons.add("an end")
            }))
      })
      assert.isAbove(peers, 20)
      assert.deepStrictEqual([...reasons], [])
    }))

  it.live("messages come besides if they are given", () =>
    Effect.gen(function*() {
      const received = new Set<unknown>()
      yield* HubModel.check({
        seed: 1,
        numRuns: 20,
        commands: [HubModel.lifecycle.connect],
        messages: FastCheck.constantFrom("a", "b"),
        handler: (connection) => connection.runForEach((message) => Effect.sync(() => received.add(message)))
      })
      assert.deepStrictEqual([...received].sort(), ["a", "b"])
    }))

  it.live("they see the clock, the hub and the services of the test; their failures fail the run", () =>
    Effect.gen(function*() {
      class Limit extends Context.Tag("Limit")<Limit, number>() {}
      const patience: HubModel.Command<string, Hub.Hub | Limit> = {
        name: "patience",
        run: (world) =>
          Effect.gen(function*() {
            const hub = yield* Hub.Hub
            yield* world.advance(yield* Limit)
            yield* HubTest.settle
            if ((yield* hub.size) > 0) return yield* Effect.fail("they have patience")
          })
      }
      const run = HubModel.check({
        seed: 1,
        numRuns: 20,
        commands: [HubModel.lifecycle.connect, { weight: 1, arbitrary: FastCheck.constant(patience) }],
        handler: (connection) => Effect.raceFirst(connection.discard, Effect.sleep(1000))
      })
      yield* Effect.provideService(run, Limit, 1000)
      const message = failure(yield* Effect.exit(Effect.provideService(run, Limit, 999)))
      assert.include(message, "patience")
      assert.include(message, "they have patience")
    }))
})
