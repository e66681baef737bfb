/** The program sends its traces to a collector, tells it no secret, and does without it. */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Queue from "effect/Queue"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/TestClock"
import * as TokenSigner from "../../src/channels/TokenSigner.js"
import * as OtlpTraces from "../../src/server/OtlpTraces.js"
import { load } from "../../src/server/ServerConfig.js"
import * as Telemetry from "../../src/server/Telemetry.js"
import { sdk } from "../channels/support.js"
import * as Collector from "./Collector.js"
import { endpoint, get, run, type Server, start, without } from "./Program.js"

/** In every secret of these tests. */
const mark = "s3cret"
const secret = Redacted.make(`${mark}-that-is-long-enough-for-any-token`)
const apiKey = `${mark}-key`

const settings = {
  HUB_API_KEYS: apiKey,
  HUB_CLIENT_TOKEN_HMAC_SECRET: Redacted.value(secret),
  HUB_CHANNELS: JSON.stringify({
    namespaces: { news: { allowSubscribeForClient: true, allowPublishForSubscriber: true } }
  })
}

/** A program with traces, its settings and those of a test. */
const traced = (otlpUrl: string, more: Readonly<Record<string, string>> = {}) =>
  start([], { ...settings, HUB_TELEMETRY_OTLP_URL: otlpUrl, ...more })

const token = (options: Partial<Parameters<typeof TokenSigner.connection>[0]> = {}) =>
  TokenSigner.connection({ secret, user: "ada", ...options })

/** A client of the SDK that connects, subscribes and hears what it publishes. */
const useHub = (server: Server) =>
  Effect.gen(function*() {
    const client = yield* sdk({ url: server.ws(`${endpoint}?token=${mark}-query`) }, { token: yield* token() })
    yield* client.connect
    const sub = yield* client.subscribe("news:a")
    yield* Effect.promise(() => sub.sub.publish(`${mark}-data`))
    assert.deepStrictEqual(yield* sub.data(1), [`${mark}-data`])
  })

const publish = ({ url }: Server, key: string) =>
  get(`${url}/api/publish?api_key=${mark}-query`, {
    method: "POST",
    headers: { "x-api-key": key, "x-other": `${mark}-header` },
    body: JSON.stringify({ channel: "news:a", data: `${mark}-data` })
  })

/** Tells the program to end, and what it said. */
const stop = (server: Server) =>
  Effect.gen(function*() {
    yield* server.signal("SIGTERM")
    const { code, signal, stderr } = yield* server.exit
    assert.deepStrictEqual([code, signal], [0, null])
    return stderr
  })

describe("traces", () => {
  it.scopedLive("of connections, subscriptions and requests are sent, the last ones at the end, and no secret is in them", () =>
    Effect.gen(function*() {
      const collector = yield* Collector.make()
      const server = yield* traced(`${collector.url}/`, {
        HUB_NODE_NAME: "one",
        HUB_TELEMETRY_SERVICE_NAME: "hub of the test",
        HUB_TELEMETRY_HEADERS: "authorization=Bearer a=b,x-tenant=t"
      })
      yield* useHub(server)
      const bad = yield* sdk({ url: server.ws(endpoint) }, { token: yield* token({ secret: Redacted.make(mark) }) })
      bad.client.connect()
      assert.deepInclude(yield* bad.next("disconnected"), { code: 3500 })
      assert.strictEqual((yield* publish(server, apiKey)).status, 200)
      assert.strictEqual((yield* publish(server, `${mark}-of-nobody`)).status, 401)
      for (const path of ["/health", "/ready", "/metrics"]) yield* get(server.url + path)

      // While it runs, every five seconds.
      const first = yield* collector.take
      assert.strictEqual(first.line, "POST /v1/traces")
      assert.deepInclude(first.headers, { authorization: "Bearer a=b", "x-tenant": "t" })
      assert.deepInclude(first.resource, { "service.name": "hub of the test", "service.instance.id": "one" })
      const stderr = yield* stop(server)
      const exports = [first, ...yield* collector.rest]
      const spans = exports.flatMap(({ spans }) => spans)
      const seen = spans.map(({ attributes, name }) =>
        [name, attributes["channel"] ?? attributes["url.path"], attributes["http.response.status_code"]].filter((
          part
        ) => part !== undefined).join(" ")
      )
      assert.sameMembers(seen, [
        "http.server GET /connection/websocket 101",
        "http.server GET /connection/websocket 101",
        "Session.connect",
        "Session.connect",
        "Session.subscribe news:a",
        "http.server POST /api/publish 200",
        "http.server POST /api/publish 401",
        "Hub.drain"
      ])
      for (const { text } of exports) assert.notInclude(text, mark)
      assert.notInclude(stderr, "traces")
    }))

  it.scopedLive("that nobody takes disturb nothing, and one line says so", () =>
    Effect.gen(function*() {
      const free = yield* Effect.scoped(Collector.make())
      const server = yield* traced(free.url)
      yield* useHub(server)
      assert.strictEqual((yield* publish(server, apiKey)).status, 200)
      const lines = (yield* stop(server)).split("\n").filter((line) => line.includes("traces"))
      assert.strictEqual(lines.length, 1, lines.join("\n"))
      const [, reason] =
        /level=WARN .*message="traces cannot be sent to \S+\/v1\/traces: (.*)\. Until they can, they are lost\."$/
          .exec(lines[0] ?? "") ?? []
      assert.match(reason ?? "", /ECONNREFUSED/)
    }))

  it.scopedLive("that are never answered do not hold the end", () =>
    Effect.gen(function*() {
      const collector = yield* Collector.make(() => "nothing")
      const server = yield* traced(collector.url)
      yield* useHub(server)
      const [took] = yield* Effect.timed(stop(server))
      assert.isBelow(Duration.toMillis(took), 20_000)
      assert.isNotEmpty((yield* collector.take).spans)
    }))

  it.scopedLive("need their package only where they are configured, and then the program says what to install", () =>
    Effect.gen(function*() {
      const options = { ...settings, NODE_OPTIONS: without("@effect/opentelemetry") }
      yield* useHub(yield* start([], options))
      const { code, stderr, stdout } = yield* run(
        ["--port", "0", "--telemetry-otlp-url", "http://127.0.0.1:4318"],
        options
      )
      assert.deepStrictEqual([code, stdout], [1, ""])
      assert.strictEqual(
        stderr,
        "effect-ws-hub: telemetry.otlpUrl is set, and what sends traces is not installed. " +
          "Install it beside effect-ws-hub: npm install @effect/opentelemetry@0.64\n"
      )
    }))
})

describe("a collector that fails", () => {
  /** What is logged of it while one span after another is sent. */
  const watch = (collector: Collector.Collector) =>
    Effect.gen(function*() {
      const lines = yield* Queue.unbounded<string>()
      const config = Telemetry.make({ otlpUrl: collector.url })
      if (config === undefined) return yield* Effect.dieMessage("no traces")
      const logger = Logger.make<unknown, void>(({ logLevel, message }) => {
        if (logLevel.label !== "DEBUG") lines.unsafeOffer(`${logLevel.label} ${String(message)}`)
      })
      const stopped = yield* Deferred.make<void>()
      const spans = yield* Queue.unbounded<string>()
      yield* Effect.forever(Effect.flatMap(Queue.take(spans), (name) => Effect.withSpan(Effect.void, name))).pipe(
        Effect.raceFirst(Deferred.await(stopped)),
        Effect.provide(OtlpTraces.layer(config, "one", "1.2.3")),
        Effect.provide(Logger.replace(Logger.defaultLogger, logger)),
        Effect.forkScoped
      )
      return {
        /** A span, and the request that carries it. */
        send: (name: string) =>
          Effect.gen(function*() {
            yield* Queue.offer(spans, name)
            yield* Effect.repeatN(Effect.yieldNow(), 30)
            yield* TestClock.adjust("5 seconds")
            assert.deepStrictEqual((yield* collector.take).spans.map(({ name }) => name), [name])
          }),
        line: Queue.take(lines)
      }
    })

  it.scoped("is told of once, and told of again when it takes spans", () =>
    Effect.gen(function*() {
      let status = 403
      const collector = yield* Collector.make(() => status)
      const { line, send } = yield* watch(collector)
      yield* send("first")
      assert.match(yield* line, /^WARN traces cannot be sent to http:\S+\/v1\/traces: .*403.*\. Until they can, they/)
      yield* TestClock.adjust("1 minute")
      yield* send("second")
      yield* TestClock.adjust("1 minute")
      status = 200
      yield* send("third")
      assert.strictEqual(yield* line, `INFO traces are sent to ${collector.url}/v1/traces again`)
      yield* send("fourth")
      status = 401
      yield* send("fifth")
      assert.match(yield* line, /^WARN .*401/)
    }))

  it.scoped("is not waited for longer than ten seconds", () =>
    Effect.gen(function*() {
      const { line, send } = yield* watch(yield* Collector.make(() => "nothing"))
      yield* send("first")
      yield* TestClock.adjust("10 seconds")
      assert.match(yield* line, /^WARN traces cannot be sent to \S+: .*no answer within 10 seconds/)
    }))
})

describe("the configuration of traces", () => {
  const telemetry = (environment: Readonly<Record<string, string>>) =>
    load(
      new Map(),
      Object.fromEntries(Object.entries(environment).map(([name, value]) => [`HUB_TELEMETRY_${name}`, value]))
    )

  it.effect("is off unless there is an address", () =>
    Effect.gen(function*() {
      assert.isUndefined((yield* telemetry({})).telemetry)
      assert.deepStrictEqual((yield* telemetry({ OTLP_URL: "https://otlp.example/hub", HEADERS: "a=b=c" })).telemetry, {
        otlpUrl: "https://otlp.example/hub",
        serviceName: "effect-ws-hub",
        headers: [["a", Redacted.make("b=c")]]
      })
    }))

  const hidden =
    "HUB_TELEMETRY_OTLP_URL: expected a URL without a user, a query and a fragment, got something else (it is not shown)."
  const wrong: ReadonlyArray<readonly [environment: Readonly<Record<string, string>>, complaint: string]> = [
    [
      { OTLP_URL: "127.0.0.1:4318" },
      "HUB_TELEMETRY_OTLP_URL: expected a URL with http or https, got \"127.0.0.1:4318\"."
    ],
    [{ OTLP_URL: `https://a.example?key=${mark}` }, hidden],
    [{ OTLP_URL: `https://ada:${mark}@a.example` }, hidden],
    [{ OTLP_URL: "http://a.example:99999" }, hidden],
    [{ SERVICE_NAME: "hub" }, "HUB_TELEMETRY_SERVICE_NAME: is for telemetry.otlpUrl, which is not set."],
    [{ HEADERS: `a=${mark}` }, "HUB_TELEMETRY_HEADERS: is for telemetry.otlpUrl, which is not set."],
    [
      { OTLP_URL: "http://a.example", HEADERS: `a:${mark}` },
      "HUB_TELEMETRY_HEADERS: expected headers such as authorization=TOKEN, got something else (it is not shown)."
    ]
  ]
  for (const [environment, complaint] of wrong) {
    it.effect(`refuses ${JSON.stringify(environment)}`, () =>
      Effect.gen(function*() {
        assert.strictEqual((yield* Effect.flip(telemetry(environment))).message, complaint)
      }))
  }
})
