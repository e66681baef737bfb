/** What the hub that this project comes from does besides, and this one must be able to. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Layer } from "effect"
import { Hub, NodeUpgrade } from "effect-ws-hub"
import { HubTest, TestTransport } from "effect-ws-hub/testing"
import { connect, serve } from "../node/support.js"
import * as Sessions from "./sessions.js"

const { settle } = HubTest

const subscribe = (session: string): string => JSON.stringify({ type: "subscribe", session })
const resize = (cols: number, rows: number): string => JSON.stringify({ type: "resize", cols, rows })

const join = (sessions: Sessions.Sessions) =>
  Effect.gen(function*() {
    const hub = yield* Hub.Hub
    const { peer, transport } = yield* TestTransport.make()
    yield* hub.accept(transport, sessions.handler)
    yield* settle
    return peer
  })

describe("C3: sessions", () => {
  it.scoped("who has chosen none sees all, who has chosen some sees those, and nothing twice", () =>
    Effect.gen(function*() {
      const sessions = yield* Sessions.make
      const [ada, bob] = [yield* join(sessions), yield* join(sessions)]
      yield* Effect.forEach(["1", "2", "1"], (session) => bob.send(subscribe(session)))
      yield* settle
      for (const session of [1, 2, 3]) yield* sessions.data(String(session), Uint8Array.of(session))
      yield* bob.send(subscribe(""))
      yield* settle
      yield* sessions.data("3", Uint8Array.of(4))
      yield* settle
      assert.deepStrictEqual(yield* ada.received, [1, 2, 3, 4].map((byte) => Uint8Array.of(byte)))
      assert.deepStrictEqual(yield* bob.received, [1, 2, 4].map((byte) => Uint8Array.of(byte)))
    }).pipe(Effect.provide(HubTest.layer())))

  it.scoped("the first to come attaches, the last to leave detaches, however they leave", () =>
    Effect.gen(function*() {
      const sessions = yield* Sessions.make
      const [ada, bob, eve] = [yield* join(sessions), yield* join(sessions), yield* join(sessions)]
      for (const peer of [ada, ada, bob, eve]) yield* peer.send(subscribe("1"))
      yield* eve.send(subscribe("2"))
      yield* settle
      assert.deepStrictEqual(sessions.told, ["attach 1", "attach 2"])
      yield* eve.send(subscribe(""))
      yield* ada.close(1000)
      yield* settle
      assert.deepStrictEqual(sessions.told, ["attach 1", "attach 2", "detach 2"])
      yield* bob.reset
      yield* settle
      assert.deepStrictEqual(sessions.told, ["attach 1", "attach 2", "detach 2", "detach 1"])
    }).pipe(Effect.provide(HubTest.layer())))
})

describe("C5: a terminal as it is", () => {
  it.scopedLive(
    "over a socket: every byte in both directions, and its size; what is no size is answered",
    () =>
      Effect.gen(function*() {
        const bytes = Uint8Array.from({ length: 256 }, (_, byte) => byte)
        const made = yield* Deferred.make<Sessions.Sessions>()
        const { url } = yield* serve(Layer.unwrapScoped(
          Sessions.make.pipe(
            Effect.tap((sessions) => Deferred.succeed(made, sessions)),
            Effect.map(({ handler }) => NodeUpgrade.layer("/", { handler }))
          )
        ))
        const sessions = yield* Deferred.await(made)
        const peer = yield* connect(url("/"))
        for (const byte of bytes) yield* peer.send(Uint8Array.of(byte))
        yield* peer.send(resize(80, 24))
        assert.strictEqual(yield* peer.ask(resize(0, 24)), "invalid message format")
        assert.deepStrictEqual(sessions.typed.map((typed) => Array.from(typed)), Array.from(bytes, (byte) => [byte]))
        assert.deepStrictEqual(sessions.told, ["resize 80 24"])
        assert.strictEqual(yield* sessions.data("1", bytes), 1)
        assert.deepStrictEqual(yield* peer.next, bytes)
      }),
    10_000
  )
})
