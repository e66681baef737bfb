/** The times of a guarded server: from options, and from `Config`. */
import * as HttpServer from "@effect/platform/HttpServer"
import { assert, describe, it } from "@effect/vitest"
import { NodeGuard } from "effect-ws-hub"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { eventually, raw } from "./support.js"

const configured = (variables: Record<string, string>, options: NodeGuard.Options = {}) =>
  Layer.build(NodeGuard.layerConfig({ ...options, host: "127.0.0.1", port: 0 })).pipe(
    Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(variables)), { pathDelim: "_" }))
  )

/** Serves nothing, and closes with the scope. */
const portOf = (variables: Record<string, string>, options: NodeGuard.Options = {}) =>
  Effect.flatMap(configured(variables, options), (context) => {
    const { address } = Context.get(context, HttpServer.HttpServer)
    return address._tag === "TcpAddress"
      ? Effect.succeed(address.port)
      : Effect.dieMessage("The server does not listen on a port.")
  })

/** A peer that says nothing is let go of. */
const timesOut = (port: number) =>
  Effect.gen(function*() {
    const peer = yield* raw(port)
    yield* eventually(() => peer.socket.readableEnded)
    assert.strictEqual(peer.status, 408)
  })

/** Whoever sends half a request is cut off by a server that closes. */
const closes = (variables: Record<string, string>, options: NodeGuard.Options = {}) =>
  Effect.gen(function*() {
    const scope = yield* Scope.make()
    const peer = yield* Effect.flatMap(Scope.extend(portOf(variables, options), scope), raw)
    yield* peer.send("GET / HTTP/1.1\r\n")
    yield* Scope.close(scope, Exit.void)
    yield* eventually(() => peer.socket.readableEnded || peer.gone)
  })

describe("the times of a guarded server", () => {
  it.scopedLive("come from Config: HUB_GUARD_HEADERS_TIMEOUT, which wins over the option", () =>
    Effect.gen(function*() {
      yield* timesOut(yield* portOf({ HUB_GUARD_HEADERS_TIMEOUT: "100" }, { headersTimeout: 0 }))
      yield* timesOut(yield* portOf({ HUB_GUARD_HEADERS_TIMEOUT: "0.1 seconds" }, { headersTimeout: 0 }))
    }))

  it.scopedLive("come from Config: HUB_GUARD_CLOSE_GRACE, which wins over the option", () =>
    Effect.gen(function*() {
      yield* closes({ HUB_GUARD_CLOSE_GRACE: "0" }, { closeGrace: "1 day" })
      yield* closes({ HUB_GUARD_CLOSE_GRACE: "1 millis" }, { closeGrace: "1 day" })
    }))

  it.scopedLive("come from the options where Config gives none, as numbers or durations", () =>
    Effect.gen(function*() {
      yield* timesOut(yield* portOf({}, { headersTimeout: 100 }))
      yield* timesOut(yield* portOf({ HUB_GUARD_CLOSE_GRACE: "1 millis" }, { headersTimeout: "100 millis" }))
      yield* closes({ HUB_GUARD_HEADERS_TIMEOUT: "0" }, { closeGrace: 0 })
    }))

  for (const key of ["HEADERS_TIMEOUT", "CLOSE_GRACE"]) {
    it.scopedLive(`an error names HUB_GUARD_${key} if it is no time`, () =>
      Effect.gen(function*() {
        for (const text of ["soon", "", "-1", "-1 seconds", "25 days", "Infinity"]) {
          const error = yield* Effect.flip(configured({ [`HUB_GUARD_${key}`]: text }))
          assert.include(String(error), key)
          assert.include(String(error), `got ${JSON.stringify(text)}`)
        }
      }))
  }

  it("are times", () => {
    for (const time of [-1, NaN, Infinity, 2 ** 31, "25 days"] as const) {
      assert.throws(() => NodeGuard.createServer({ headersTimeout: time }), RangeError, "headersTimeout")
      assert.throws(() => NodeGuard.createServer({ closeGrace: time }), RangeError, "closeGrace")
    }
    NodeGuard.createServer({ headersTimeout: 0, closeGrace: "0 seconds" })
  })

  it("have these names", () => {
    const options = { headerTimeout: 100, closeGrace: 0 }
    assert.throws(() => NodeGuard.createServer(options), RangeError, /headerTimeout.*headersTimeout and closeGrace/)
  })
})
