/** A connection to one server: when it is given up, and when what it waits for is late. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Either, Fiber } from "effect"
import { failure } from "../../src/redis/RedisClient.js"
import { RedisHearing } from "../../src/redis/RedisHearing.js"
import { type LinkEvents, RedisLink } from "../../src/redis/RedisLink.js"
import * as RedisOptions from "../../src/redis/RedisOptions.js"
import { eventually } from "../node/support.js"
import { isRedisInstalled, makeRedisServer } from "./support/RedisServer.js"

const commandTimeout = 1000

const stage = (options: RedisOptions.RedisOptions = {}) =>
  Effect.gen(function*() {
    const server = yield* makeRedisServer()
    const config = Either.getOrThrow(RedisOptions.make({ url: server.url, commandTimeout, ...options }))
    const [located] = config.servers._tag === "Shards" ? config.servers.servers : []
    if (located === undefined) return yield* Effect.dieMessage("one server")
    const link = (events: LinkEvents = {}) =>
      Effect.gen(function*() {
        const link = new RedisLink(config, Effect.succeed(located), events)
        yield* link.forkKeep
        yield* eventually(() => link.isReady)
        return link
      })
    return { server, config, located, link }
  })

/** What was begun in this turn has been written after it. */
const written = Effect.async<void>((resume) => void setImmediate(() => setImmediate(() => resume(Effect.void))))

/** Keeps the event loop until what waits for an answer is due, though it is there. */
const busy = Effect.sync(() => {
  const end = performance.now() + commandTimeout + 200
  while (performance.now() < end) {
    // Nothing else is done.
  }
})

describe.skipIf(!isRedisInstalled)("a link", () => {
  it.scopedLive("is dropped while it is asked where the server is: it asks again", () =>
    Effect.gen(function*() {
      const { config, located } = yield* stage()
      let asked = 0
      const locate = Effect.suspend(() => ++asked === 1 ? Effect.never : Effect.succeed(located))
      const link = new RedisLink(config, locate)
      yield* link.forkKeep
      yield* eventually(() => asked === 1)
      link.drop(failure("there is another master"))
      yield* eventually(() => link.isReady)
      assert.strictEqual(asked, 2)
    }))

  it.scopedLive("takes an answer that came while the process was busy, and its command is not late", () =>
    Effect.gen(function*() {
      const { link: make, server } = yield* stage({ pingInterval: 60_000 })
      const link = yield* make()
      yield* server.signal("SIGSTOP")
      const asked = yield* Effect.fork(
        Effect.async<unknown>((resume) =>
          link.command(["PING"], 1, (error, reply) => resume(Effect.succeed(error ?? reply)))
        )
      )
      yield* written
      yield* server.signal("SIGCONT")
      yield* busy
      assert.strictEqual(yield* Fiber.join(asked), "PONG")
    }))

  it.scopedLive("takes a sign of life that came while the process was busy, and is not given up", () =>
    Effect.gen(function*() {
      let lost = 0
      let signs = 0
      const { link: make, server } = yield* stage({ pingInterval: 10 })
      yield* make({ onLost: () => lost++, onPing: () => signs++ })
      yield* eventually(() => signs > 0)
      yield* server.signal("SIGSTOP")
      // By then it waits for one.
      yield* Effect.sleep(50)
      const before = signs
      yield* server.signal("SIGCONT")
      yield* busy
      yield* eventually(() => signs > before + 1)
      assert.strictEqual(lost, 0)
    }))

  it.scopedLive("that hears: who subscribes is told that it is, though the process was busy", () =>
    Effect.gen(function*() {
      const { config, located, server } = yield* stage({ pingInterval: 60_000 })
      const ear = { onMessage: () => {}, onGap: () => {} }
      const hearing = new RedisHearing(config, Effect.succeed(located), ear, { onReady: () => {} })
      yield* Effect.addFinalizer(() => Effect.sync(() => hearing.close()))
      yield* hearing.link.forkKeep
      yield* eventually(() => hearing.link.isReady)
      yield* server.signal("SIGSTOP")
      const asked = yield* Effect.fork(
        Effect.async<unknown>((resume) => hearing.subscribe("a", "hub:{a}", (error) => resume(Effect.succeed(error))))
      )
      yield* Effect.zipRight(written, written)
      yield* server.signal("SIGCONT")
      yield* busy
      assert.isUndefined(yield* Fiber.join(asked))
    }))
})
