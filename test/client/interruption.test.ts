import { assert, describe, it } from "@effect/vitest"
import { withChaos } from "effect-ws-hub/testing"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { serve, type Server } from "../channels/support.js"
import { connect, data, Network, until } from "./support.js"

/** `TEST_LONG=1` tries ten times the seeds; `SEED=…` tries that one alone. */
const long = process.env["TEST_LONG"] === undefined ? 1 : 10
const only = process.env["SEED"]
const seeds = (count: number) =>
  only === undefined ? Array.from({ length: count * long }, (_, i) => i + 1) : [Number(only)]

/** The choices of one seed: whole numbers below `n`. */
const choices = (seed: number) => {
  let state = Math.imul(seed, 2654435761) >>> 0
  return (n: number) => {
    state = Math.imul(state ^ state >>> 15, 2246822519) + 0x9e3779b9 >>> 0
    return (state >>> 8) % n
  }
}

const channels = ["recovered:a", "joined:b", "closed:c"]

/** One life of a client: subscribers come, read and leave, and are interrupted wherever they are; the network is cut. */
const life = (server: Server, seed: number) =>
  Effect.gen(function*() {
    const pick = choices(seed)
    const network = new Network()
    const scope = yield* Scope.make()
    // Its scope closes while it may still be connecting.
    const hasty = yield* Effect.fork(Effect.scoped(Effect.zipRight(connect(server, { network }), Effect.never)))
    const client = yield* Scope.extend(connect(server, { network }), scope)
    yield* Fiber.interrupt(hasty)
    const left = yield* Scope.make()
    const subscribers = yield* Effect.forEach(Array.from({ length: 8 }, (_, i) => i), (i) =>
      Effect.gen(function*() {
        const channel = channels[pick(3)] ?? ""
        const subscribe = client.subscribe(channel, { joinLeave: true })
        const fiber = yield* Effect.fork(
          // Half of them leave what they have to a scope that outlives them.
          i % 2 === 0
            ? Effect.zipRight(Scope.extend(subscribe, left), Effect.never)
            : Effect.scoped(Effect.flatMap(subscribe, ({ publications }) => Stream.runDrain(publications)))
        )
        yield* Effect.repeatN(Effect.yieldNow(), pick(30))
        if (pick(4) === 0) yield* network.cut
        if (pick(2) === 0) yield* Fiber.interrupt(fiber)
        return fiber
      }))
    yield* Effect.forEach(subscribers, Fiber.interrupt, { concurrency: "unbounded" })
    yield* Scope.close(left, Exit.void)

    // Nothing is left of them, here or there; and nothing is in the way of those who come.
    yield* client.connected
    yield* until(() => Effect.runSync(server.channels.channels()).channels.size === 0)
    yield* Effect.scoped(Effect.gen(function*() {
      const subscription = yield* client.subscribe("recovered:a", { data: { seed } })
      yield* server.channels.publish("recovered:a", seed)
      assert.deepStrictEqual(yield* data(subscription, 1), [seed])
    }))
    yield* Scope.close(scope, Exit.void)
    yield* until(() => network.open === 0)
  })

describe("interruption", () => {
  it.scopedLive("at any point leaves no subscription and no socket", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      for (const seed of seeds(60)) {
        yield* life(server, seed).pipe(
          withChaos(seed),
          Effect.timeoutFail({ duration: "10 seconds", onTimeout: () => "it hangs" }),
          Effect.mapError((error) => `SEED=${seed}: ${String(error)}`)
        )
      }
    }), 120_000)
})
