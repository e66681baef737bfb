/** The program with Redis behind it: two of them are one hub, and it says when Redis is away. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { redisOptions } from "../../src/server/BrokerConfig.js"
import { load } from "../../src/server/ServerConfig.js"
import { eventuallyEffect } from "../node/support.js"
import { isRedisInstalled, makeRedisServer } from "../redis/support/RedisServer.js"
import { client, endpoint, get, join, refusal, run, type Server, start, without } from "./Program.js"

const until = (url: string, status: number) =>
  Effect.repeat(get(url), { until: (response) => response.status === status })

/** A hub whose nodes the API asks. */
const node = (url: string, more: Readonly<Record<string, string>> = {}) =>
  start([], {
    HUB_BROKER_TYPE: "redis",
    HUB_BROKER_URL: url,
    HUB_API_KEYS: "k",
    HUB_CLIENT_INSECURE: "true",
    HUB_CHANNELS: "{\"withoutNamespace\":{\"presence\":true,\"historySize\":10,\"historyTtl\":\"1 minute\"}}",
    ...more
  })

const api = ({ url }: Server, method: string, params: unknown): Effect.Effect<unknown> =>
  Effect.map(
    get(`${url}/api/${method}`, { method: "POST", headers: { "x-api-key": "k" }, body: JSON.stringify(params) }),
    ({ body }) => JSON.parse(body) as unknown
  )

const nodesOf = (server: Server) =>
  Effect.map(
    api(server, "info", {}) as Effect.Effect<{ result: { nodes: ReadonlyArray<unknown> } }>,
    ({ result }) => result.nodes
  )

describe.skipIf(!isRedisInstalled)("the program on Redis", () => {
  it.scopedLive("two of them are one hub", () =>
    Effect.gen(function*() {
      const { url } = yield* makeRedisServer()
      const [one, other] = yield* Effect.all([node(url), node(url)], { concurrency: 2 })
      for (const { url } of [one, other]) yield* until(`${url}/ready`, 200)
      yield* eventuallyEffect(Effect.map(nodesOf(one), (nodes) => nodes.length === 2))
      const ada = yield* join(one, "x")
      const bob = yield* join(other, "x")
      assert.deepInclude(yield* api(one, "publish", { channel: "x", data: "to both" }), {})
      assert.deepStrictEqual([yield* ada.publication, yield* bob.publication], ["to both", "to both"])
      assert.deepStrictEqual(
        yield* api(other, "presence_stats", { channel: "x" }),
        { result: { num_clients: 2, num_users: 1 } }
      )
      assert.deepStrictEqual(yield* api(one, "channels", {}), { result: { channels: { x: { num_clients: 2 } } } })
      assert.deepStrictEqual(yield* api(one, "disconnect", { user: "" }), { result: {} })
      assert.strictEqual((yield* bob.closed).code, 3503)
      yield* other.signal("SIGTERM")
      assert.strictEqual((yield* other.exit).code, 0)
      assert.strictEqual((yield* nodesOf(one)).length, 1)
    }), 30_000)

  it.scopedLive("it refuses connections until Redis is there, and says that it is away", () =>
    Effect.gen(function*() {
      const redis = yield* makeRedisServer({ stopped: true })
      const server = yield* node(redis.url)
      const answer = yield* get(`${server.url}/ready`)
      assert.deepStrictEqual([answer.status, answer.body], [503, "not ready: Redis does not answer\n"])
      assert.strictEqual((yield* get(`${server.url}/health`)).status, 200)
      assert.strictEqual((yield* refusal(server.ws(endpoint))).status, 503)
      yield* redis.start
      yield* until(`${server.url}/ready`, 200)
      yield* join(server, "x")
      yield* redis.kill
      yield* until(`${server.url}/ready`, 503)
      assert.strictEqual((yield* get(`${server.url}/health`)).status, 200)
      yield* redis.start
      yield* until(`${server.url}/ready`, 200)
      yield* server.signal("SIGTERM")
      assert.strictEqual((yield* server.exit).code, 0)
    }), 30_000)

  it.scopedLive("or serves them, and what needs Redis is error 100", () =>
    Effect.gen(function*() {
      const redis = yield* makeRedisServer({ stopped: true })
      const server = yield* node(redis.url, { HUB_BROKER_WHILE_UNAVAILABLE: "serve" })
      const ada = yield* client(server)
      assert.isUndefined((yield* ada.command({ connect: {} })).error)
      assert.strictEqual((yield* ada.command({ publish: { channel: "x", data: 1 } })).error?.code, 100)
      assert.strictEqual((yield* get(`${server.url}/ready`)).status, 503)
      assert.deepStrictEqual(yield* api(server, "refresh", { user: "nobody" }), { result: { missing: ["*"] } })
      yield* redis.start
      yield* until(`${server.url}/ready`, 200)
      assert.isUndefined((yield* ada.command({ publish: { channel: "x", data: 1 } })).error)
    }), 30_000)

  it.scopedLive("it ends while Redis was never there", () =>
    Effect.gen(function*() {
      const redis = yield* makeRedisServer({ stopped: true })
      const server = yield* node(redis.url)
      yield* server.signal("SIGTERM")
      assert.strictEqual((yield* server.exit).code, 0)
    }), 30_000)
})

describe("the client of Redis", () => {
  it.scopedLive("is not needed without Redis; with it, the program says what to install", () =>
    Effect.gen(function*() {
      const options = { NODE_OPTIONS: without("redis") }
      yield* join(yield* start([], options), "x")
      const { code, stderr, stdout } = yield* run(["--broker-type", "redis", "--port", "0"], options)
      assert.deepStrictEqual([code, stdout], [1, ""])
      assert.strictEqual(
        stderr,
        "effect-ws-hub: broker.type is redis, and its client is not installed. " +
          "Install it beside effect-ws-hub: npm install redis@6\n"
      )
    }), 30_000)
})

describe("the configuration of the broker", () => {
  const broker = (environment: Readonly<Record<string, string>>) =>
    load(
      new Map(),
      Object.fromEntries(Object.entries(environment).map(([name, value]) => [`HUB_BROKER_${name}`, value]))
    )

  it.effect("is what the connection takes", () =>
    Effect.gen(function*() {
      const config = yield* broker({
        TYPE: "redis",
        SENTINEL_NAME: "main",
        SENTINEL_URLS: "redis://a.example:26379,redis://b.example:26379",
        USERNAME: "hub",
        PASSWORD: "s3cret",
        PREFIX: "mine",
        COMMAND_TIMEOUT: "2 seconds",
        NODE_TIMEOUT: "400",
        WHILE_UNAVAILABLE: "serve"
      })
      assert.deepStrictEqual(redisOptions(config.broker), {
        url: undefined,
        urls: undefined,
        cluster: undefined,
        sentinel: { name: "main", urls: ["redis://a.example:26379", "redis://b.example:26379"] },
        username: "hub",
        password: Redacted.make("s3cret"),
        prefix: "mine",
        commandTimeout: 2000
      })
      assert.deepInclude(config.broker, { nodeTimeout: 400, whileUnavailable: "serve" })
    }))

  const wrong: ReadonlyArray<readonly [environment: Readonly<Record<string, string>>, complaint: RegExp]> = [
    [{ TYPE: "rabbit" }, /^HUB_BROKER_TYPE: expected memory or redis, got "rabbit"\.$/],
    [{ URL: "redis://:s3cret@a" }, /^HUB_BROKER_URL: is for broker\.type: redis\.$/],
    [{ TYPE: "redis", URL: "http://:s3cret@a" }, /^HUB_BROKER_URL: expected an address such as redis:\/\/.*TLS\.$/],
    [{ TYPE: "redis", URLS: "redis://a,redis://a" }, /^HUB_BROKER_URLS: expected each server once\.$/],
    [{ TYPE: "redis", URL: "redis://a", CLUSTER: "redis://b" }, /^HUB_BROKER_CLUSTER: only one of url, urls, cluster/],
    [{ TYPE: "redis", CLUSTER: "redis://b/2" }, /^HUB_BROKER_CLUSTER: a Redis Cluster has no databases\.$/],
    [{ TYPE: "redis", SENTINEL_URLS: "redis://b" }, /^HUB_BROKER_SENTINEL_NAME: it is missing/],
    [{ TYPE: "redis", SENTINEL_NAME: "b" }, /^HUB_BROKER_SENTINEL_URLS: expected a list of an address/],
    [{ TYPE: "redis", PREFIX: "a{b" }, /^HUB_BROKER_PREFIX: expected a text without \{ and \}, got/],
    [{ TYPE: "redis", COMMAND_TIMEOUT: "0" }, /^HUB_BROKER_COMMAND_TIMEOUT: expected a duration of at least 1 ms/],
    [{ TYPE: "redis", NODE_TIMEOUT: "1" }, /^HUB_BROKER_NODE_TIMEOUT: expected a duration from 10 ms/],
    [
      { TYPE: "redis", WHILE_UNAVAILABLE: "wait" },
      /^HUB_BROKER_WHILE_UNAVAILABLE: expected refuse or serve, got "wait"/
    ]
  ]
  for (const [environment, complaint] of wrong) {
    it.effect(`refuses ${JSON.stringify(environment)}`, () =>
      Effect.gen(function*() {
        const { message } = yield* Effect.flip(broker(environment))
        assert.match(message, complaint)
        assert.notInclude(message, "s3cret")
      }))
  }
})
