/** What code of the application runs with that answers calls and takes messages. */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import * as Channel from "../../src/channels/Channel.js"
import { Channels } from "../../src/channels/Channels.js"
import { eventuallyEffect } from "../node/support.js"
import { call, open, refusal, serve, user } from "./support.js"

describe("a method, and what takes messages", () => {
  it.scopedLive("have a scope for each call", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      let [acquired, released] = [0, 0]
      const own = Effect.acquireRelease(Effect.sync(() => acquired++), () => Effect.sync(() => released++))
      yield* server.channels.rpc("own", () => Effect.as(own, "answer"))
      yield* server.channels.onMessage(() => own)
      const ada = yield* user(server, "ada")
      for (let n = 1; n <= 3; n++) {
        yield* call(() => ada.client.rpc("own", null))
        assert.deepStrictEqual([acquired, released], [n, n])
      }
      yield* call(() => ada.client.send("hello"))
      yield* eventuallyEffect(Effect.sync(() => released === 4))
      assert.strictEqual(acquired, 4)
    }))

  it.scopedLive("are waited for by what they use", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const scope = yield* Scope.make()
      const [begun, gate] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      let isOpen = true
      yield* Scope.addFinalizer(scope, Effect.sync(() => isOpen = false))
      const slow = Deferred.succeed(begun, undefined).pipe(
        Effect.zipRight(Deferred.await(gate)),
        Effect.zipRight(Effect.sync(() => isOpen))
      )
      yield* Scope.extend(server.channels.rpc("slow", () => slow), scope)
      const [ada, eve] = [yield* user(server, "ada"), yield* user(server, "eve")]
      const answer = yield* Effect.fork(call(() => ada.client.rpc("slow", null)))
      yield* Deferred.await(begun)
      const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
      // Nobody is let in any more.
      yield* eventuallyEffect(Effect.map(refusal(() => eve.client.rpc("slow", null)), (code) => code === 108))
      yield* Deferred.succeed(gate, undefined)
      assert.deepStrictEqual((yield* Fiber.join(answer)).data, true)
      yield* Fiber.join(closing)
      assert.isFalse(isOpen)
    }))

  it.scopedLive("are no part of the span that they were registered in", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const parents: Array<string> = []
      const parent = Effect.map(
        Effect.serviceOption(Tracer.ParentSpan),
        Option.match({ onNone: () => "none", onSome: ({ spanId }) => spanId })
      )
      const registered = server.channels.rpc("x", () => Effect.map(parent, (id) => void parents.push(id)))
      yield* Effect.withParentSpan(registered, Tracer.externalSpan({ spanId: "startup", traceId: "t" }))
      const ada = yield* user(server, "ada")
      yield* call(() => ada.client.rpc("x", null))
      assert.deepStrictEqual(parents, ["none"])
    }))
})

describe("code that waits for what was interrupted", () => {
  it.scopedLive("fails with 100 and a line in the log, and everything goes on", () => {
    const said: Array<string> = []
    const logger = Logger.make(({ logLevel, message }) => {
      if (logLevel._tag === "Error") said.push(String(message))
    })
    return Effect.gen(function*() {
      const server = yield* serve({ namespaces: { typed: open } })
      const dead = Effect.suspend(() => Effect.failCause(Cause.interrupt(FiberId.none)))
      const Room = Channel.make("typed:{id}", {
        params: { id: Schema.String },
        receive: Schema.String,
        send: Schema.String
      })
      yield* Layer.build(
        Channel.handler(Room, {
          join: ({ params }) => params.id === "dead" ? dead : Effect.void,
          handle: () => dead
        })
      ).pipe(Effect.provideService(Channels, server.channels))
      yield* server.channels.rpc("dead", () => dead)
      yield* server.channels.onMessage(() => dead)
      const ada = yield* user(server, "ada")
      yield* ada.subscribe("typed:alive")
      assert.strictEqual(yield* refusal(() => ada.client.rpc("dead", null)), 100)
      assert.strictEqual(yield* refusal(() => ada.client.publish("typed:alive", "x")), 100)
      const sub = ada.sub("typed:dead")
      assert.strictEqual((yield* sub.next("error")).error.code, 100)
      sub.sub.unsubscribe()
      yield* call(() => ada.client.send("x"))
      const called = yield* Effect.either(server.channels.call("dead", null))
      assert.strictEqual(called._tag === "Left" && called.left._tag, "ProtocolError")
      yield* eventuallyEffect(Effect.sync(() => said.some((line) => line.includes("operation send"))))
      assert.isTrue(said.some((line) => line.includes("operation rpc")))
      assert.isTrue(said.some((line) => line.includes("handler of a channel")))
      assert.lengthOf(ada.heard("connecting"), 1)
    }).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
  })
})

describe("what the application says that cannot be said", () => {
  it.scopedLive("is its own fault, not the client's, and disconnects nobody", () =>
    Effect.gen(function*() {
      const server = yield* serve({ namespaces: { typed: open }, hub: { outboxBytes: 60_000 } })
      const large = "x".repeat(60_000)
      const Room = Channel.make("typed:{id}", {
        params: { id: Schema.String },
        receive: Schema.Unknown,
        send: Schema.String
      })
      yield* Layer.build(
        Channel.handler(Room, {
          join: ({ params }) =>
            Effect.succeed({ data: params.id === "large" ? large : params.id === "none" ? { n: 1n } : 1 }),
          handle: ({ message }) => Effect.succeed(message === "large" ? large : { n: 1n })
        })
      ).pipe(Effect.provideService(Channels, server.channels))
      const ada = yield* user(server, "ada")
      assert.deepInclude(yield* ada.sub("typed:large").next("unsubscribed"), { code: 106 })
      const none = ada.sub("typed:none")
      assert.strictEqual((yield* none.next("error")).error.code, 100)
      none.sub.unsubscribe()
      yield* ada.subscribe("typed:x")
      for (const message of ["large", "none"]) {
        assert.strictEqual(yield* refusal(() => ada.client.publish("typed:x", message)), 100)
      }
      for (const data of [large, { n: 1n }]) {
        assert.strictEqual((yield* Effect.flip(server.channels.subscribeUser("ada", "typed:y", { data }))).code, 107)
      }
      assert.lengthOf(ada.heard("connecting"), 1)
      const eve = yield* Effect.exit(Effect.timeout(user(server, "eve", { data: large }), 500))
      assert.isTrue(Exit.isFailure(eve))
    }))
})
