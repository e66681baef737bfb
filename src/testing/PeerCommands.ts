/**
 * What peers, their handlers and time do to a hub.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FastCheck from "effect/FastCheck"
import { CloseCode } from "../core/CloseReason.js"
import { HubUnavailable, TooManyConnections } from "../core/HubError.js"
import type { Fate } from "./Client.js"
import { anyone, type Command, forClient, kinds, topic } from "./Command.js"
import { expect } from "./Expectation.js"

/** @internal */
export const connect = kinds(
  FastCheck.record({
    serve: FastCheck.boolean(),
    slow: FastCheck.boolean(),
    joins: FastCheck.option(topic, { nil: undefined }),
    echoes: FastCheck.boolean(),
    cleanup: FastCheck.constantFrom(0, 0, 0, 200, 700),
    overshoot: FastCheck.nat(2)
  }),
  (behaviour): Command => ({
    name: `connect(${
      [
        behaviour.serve ? "serve" : "accept",
        behaviour.slow ? "slow" : "",
        behaviour.joins === undefined ? "" : `joins ${behaviour.joins}`,
        behaviour.echoes ? "echoes" : "",
        behaviour.cleanup > 0 ? `cleanup ${behaviour.cleanup}` : "",
        behaviour.overshoot > 0 ? `overshoot ${behaviour.overshoot}` : ""
      ].filter((word) => word !== "").join(", ")
    })`,
    run: (world) =>
      Effect.gen(function*() {
        const state = yield* world.hub.state
        const full = (yield* world.hub.size) >= world.setup.limit
        const exit = yield* Effect.exit(Effect.provide(world.connect(behaviour), world.runtime))
        if (Exit.isSuccess(exit)) {
          expect(state === "Open" && !full, "L10", () => `accepted while ${state}${full ? " and full" : ""}`)
          return
        }
        const error = exit.cause._tag === "Fail" ? exit.cause.error : exit.cause
        expect(
          state === "Open" ? full && error instanceof TooManyConnections : error instanceof HubUnavailable,
          "L10",
          () => `refused while ${state}: ${String(error)}`
        )
        if (error instanceof HubUnavailable) {
          expect(error.state === state, "L10", () => `refused as ${error.state} while ${state}`)
        }
      })
  })
)

/** @internal */
export const receive = kinds(
  FastCheck.tuple(anyone, FastCheck.integer({ min: 1, max: 4 })),
  ([at, times]): Command => ({
    name: `receive(${at}, ${times} times)`,
    run: (world) => {
      const client = world.pick(at)
      return client === undefined
        ? Effect.void
        : Effect.repeatN(Effect.suspend(() => client.peer.send(world.message("in"))), times - 1)
    }
  })
)

/** @internal */
export const pauseReading = forClient("pauseReading", (_, client) => {
  client.reads = client.keepsUp = false
  client.wasDeaf = true
  return client.peer.pauseReading
})

/** @internal */
export const resumeReading = forClient("resumeReading", (_, client) => {
  client.reads = true
  return client.peer.resumeReading
})

/** @internal */
export const peerClose = kinds(
  FastCheck.tuple(anyone, FastCheck.constantFrom(1000, 1001, 4005, undefined)),
  ([at, code]): Command => ({
    name: `peerClose(${at}, ${code})`,
    run: (world) => world.pick(at)?.peer.close(code, code === undefined ? undefined : "bye") ?? Effect.void
  })
)

/** @internal */
export const reset = forClient("reset", (_, client) => client.peer.reset)

/** @internal */
export const protocolError = forClient(
  "protocolError",
  (_, client) => client.peer.protocolError(CloseCode.invalidPayload)
)

/** @internal */
export const ignorePings = forClient("ignorePings", (_, client) => {
  client.pongs = false
  return client.peer.answerPings(false)
})

/** @internal */
export const ignoreClose = forClient("ignoreClose", (_, client) => {
  client.mute = true
  return client.peer.answerClose(false)
})

/** @internal */
export const finishGreeting = forClient("finishGreeting", (_, client) => client.greetingGate.open)

/** @internal */
export const stall = forClient("stallHandler", (_, client) => {
  client.stalled = client.wasStalled = true
  return client.handlerGate.close
})

/** @internal */
export const unstall = forClient("resumeHandler", (_, client) => {
  client.stalled = false
  return client.handlerGate.open
})

/** @internal */
export const tell = kinds(
  FastCheck.tuple(anyone, FastCheck.constantFrom<Fate>("end", "fail", "disconnect", "die")),
  ([at, fate]): Command => ({
    name: `handler(${at}, ${fate})`,
    run: (world) =>
      Effect.sync(() => {
        const client = world.pick(at)
        if (client !== undefined) world.tell(client, fate)
      })
  })
)

/** @internal */
export const advance = kinds(FastCheck.constantFrom(50, 150, 400, 1200, 3000), (millis): Command => ({
  name: `advance(${millis} ms)`,
  run: (world) => world.advance(millis)
}))
