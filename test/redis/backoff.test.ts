/** How often a link that finds no server tries again. */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Either, Fiber, Logger, LogLevel, Random, TestClock } from "effect"
import { failure } from "../../src/redis/RedisClient.js"
import { RedisLink } from "../../src/redis/RedisLink.js"
import * as RedisOptions from "../../src/redis/RedisOptions.js"
import { eventually } from "../node/support.js"
import { isRedisInstalled, makeRedisServer } from "./support/RedisServer.js"

const config = Either.getOrThrow(RedisOptions.make({ retryInterval: 1000 }))

/** The milliseconds between one attempt and the next, when all fail, and chance is always the same. */
const pauses = (chance: number) =>
  Effect.gen(function*() {
    const attempts: Array<number> = []
    const locate = Effect.flatMap(Clock.currentTimeMillis, (now) => {
      attempts.push(now)
      return failure("nobody is there")
    })
    const fiber = yield* Effect.fork(Effect.withRandom(new RedisLink(config, locate).keep, Random.fixed([chance])))
    yield* TestClock.adjust("6 seconds")
    yield* Fiber.interrupt(fiber)
    return attempts.slice(1, 9).map((at, before) => at - (attempts[before] ?? 0))
  })

describe("a link without a server", () => {
  it.effect("tries again after pauses that double, up to a limit, and of which chance takes up to a half", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* pauses(1), [50, 100, 200, 400, 800, 1000, 1000, 1000])
      assert.deepStrictEqual(yield* pauses(0), [25, 50, 100, 200, 400, 500, 500, 500])
      assert.deepStrictEqual(yield* pauses(0.5), [37.5, 75, 150, 300, 600, 750, 750, 750])
    }))

  it.effect("warns of each reason once, and of five at most", () =>
    Effect.gen(function*() {
      const said: Array<string> = []
      const logger = Logger.make(({ logLevel, message }) => {
        if (logLevel === LogLevel.Warning) said.push(String(message))
      })
      let attempts = 0
      const locate = Effect.suspend(() => failure(`reason ${Math.floor(attempts++ / 2)}`))
      yield* new RedisLink(config, locate).keep.pipe(
        Effect.fork,
        Effect.provide(Logger.replace(Logger.defaultLogger, logger))
      )
      yield* TestClock.adjust("60 seconds")
      assert.isAbove(attempts, 20)
      assert.deepStrictEqual(said, [0, 1, 2, 3, 4].map((n) => `No connection to Redis: reason ${n}`))
    }))

  it.scoped.skipIf(!isRedisInstalled)(
    "begins with the shortest pause again after each connection",
    () =>
      Effect.gen(function*() {
        const server = yield* makeRedisServer()
        const { servers } = Either.getOrThrow(RedisOptions.make({ url: server.url }))
        const [found] = servers._tag === "Shards" ? servers.servers : []
        let attempts = 0
        let failed = 0
        const locate = Effect.suspend(() =>
          ++attempts <= 5 || found === undefined ? failure("nobody is there") : Effect.succeed(found)
        )
        const link = new RedisLink(config, locate, { onFailed: () => failed++ })
        yield* Effect.forkScoped(Effect.withRandom(link.keep, Random.fixed([0])))
        yield* TestClock.adjust("6 seconds")
        yield* eventually(() => link.isReady)
        assert.strictEqual(failed, 5)
        yield* server.cli("CLIENT", "KILL", "TYPE", "normal")
        yield* eventually(() => failed === 6)
        yield* TestClock.adjust("24 millis")
        assert.strictEqual(attempts, 6)
        yield* TestClock.adjust("1 millis")
        yield* eventually(() => link.isReady)
        assert.strictEqual(attempts, 7)
      })
  )
})
