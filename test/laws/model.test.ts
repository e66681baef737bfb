import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, FastCheck, Ref } from "effect"
import { Hub } from "effect-ws-hub"
import { HubModel } from "effect-ws-hub/testing"

/** `TEST_LONG=1` runs ten times as much; `SEED=…` repeats a run, whose seed a failure tells. */
const long = process.env["TEST_LONG"] === undefined ? 1 : 10
const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000)

describe(`L1 to L11: the lifecycle agrees with its model (seed ${seed})`, () => {
  it.live("for any order of commands", () => HubModel.checkHub({ numRuns: 1000 * long, seed }), 120_000 * long)

  it.live("for an application's handler: what one says in a room, all in it hear", () =>
    Effect.gen(function*() {
      const said = yield* Ref.make(0)
      yield* HubModel.check({
        numRuns: 100 * long,
        seed,
        messages: FastCheck.constantFrom("hello", "how are you?"),
        greeting: (connection) => Effect.zipRight(connection.join("room"), connection.send("welcome")),
        handler: (connection) =>
          Effect.flatMap(Hub.Hub, (hub) =>
            connection.runForEach((message) =>
              Effect.zipRight(
                Ref.update(said, (n) => n + 1),
                hub.publish("room", message)
              )
            )),
        invariant: (participants) =>
          Effect.forEach(participants, ({ peer }) =>
            Effect.map(peer.received, (received) => {
              if (received.length > 0) assert.strictEqual(received[0], "welcome")
              assert.strictEqual(received.indexOf("welcome", 1), -1)
            }))
      })
      assert.isAbove(yield* Ref.get(said), 0)
    }))

  it.live("and finds what is wrong with a handler, and says how to repeat it", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(HubModel.check({
        seed: 1,
        messages: FastCheck.constant("hi"),
        // What it sends is not what its invariant says.
        handler: (connection) => connection.runForEach(() => connection.send("late")),
        invariant: (participants) =>
          Effect.forEach(participants, ({ peer }) =>
            Effect.map(peer.received, (received) => assert.isBelow(received.length, 2)))
      }))
      assert.isTrue(Exit.isFailure(exit))
      const message = Exit.isFailure(exit) ? Cause.pretty(exit.cause) : ""
      assert.include(message, "seed: 1")
      assert.include(message, "receive(")
    }))
})
