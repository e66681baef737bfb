import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpApiClient from "@effect/platform/HttpApiClient"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import * as Http from "node:http"
import { Channels } from "../../src/channels/Channels.js"
import * as ServerApi from "../../src/channels/ServerApi.js"
import * as ServerApiKeys from "../../src/channels/ServerApiKeys.js"
import * as Recorder from "./recorder.js"

const key = "k-1"
const options: ServerApi.Options = { keys: [Redacted.make("k-0"), Redacted.make(key)] }

/** A server on a port of its own, for as long as the scope lives. */
const start = (serverOptions: ServerApi.Options = options) =>
  Effect.gen(function*() {
    const server = Http.createServer()
    const { calls, service } = Recorder.make()
    const logs: Array<string> = []
    const logger = Logger.make(({ logLevel, message }) => {
      logs.push(`${logLevel.label}: ${String(message)}`)
    })
    yield* HttpLayerRouter.serve(ServerApi.layer(serverOptions), { disableLogger: true, disableListenLog: true })
      .pipe(
        Layer.provide(Layer.succeed(Channels, service)),
        Layer.provide(NodeHttpServer.layer(() => server, { port: 0, host: "127.0.0.1" })),
        Layer.provide(Logger.replace(Logger.defaultLogger, logger)),
        Layer.build
      )
    const address = server.address()
    const url = `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`
    const raw = (path: string, init: RequestInit) =>
      Effect.promise(async () => {
        const response = await fetch(url + path, init)
        return { status: response.status, headers: response.headers, text: await response.text() }
      })
    const send = (path: string, body: string | Uint8Array, headers: Record<string, string> = {}) =>
      Effect.map(
        raw(`/api/${path}`, { method: "POST", body, headers: { "x-api-key": key, ...headers } }),
        ({ status, text }) => ({ status, body: JSON.parse(text) as unknown })
      )
    const post = (path: string, body: unknown, headers: Record<string, string> = {}) =>
      send(path, JSON.stringify(body), headers)
    const transport = (path: string, body: unknown) => post(path, body, { "x-centrifugo-error-mode": "transport" })
    return { url, calls, logs, raw, send, post, transport }
  })

const ok = (result: unknown) => ({ status: 200, body: { result } })
const refused = (code: number, message: string) => ({ status: 200, body: { error: { code, message } } })
const bad = (reason: string) => refused(107, `bad request: ${reason}`)

const none = {
  tags: undefined,
  skipHistory: undefined,
  idempotencyKey: undefined,
  version: undefined,
  versionEpoch: undefined
}

describe("the methods", () => {
  it.scopedLive("publish", () =>
    Effect.gen(function*() {
      const { calls, post } = yield* start()
      assert.deepStrictEqual(
        yield* post("publish", {
          channel: "news",
          data: { a: [1, null] },
          tags: { a: "b" },
          skip_history: true,
          idempotency_key: "i",
          version: 3,
          version_epoch: "v",
          delta: true,
          nobody: "knows this field"
        }),
        ok({ offset: 1, epoch: "e" })
      )
      assert.deepStrictEqual(yield* post("publish", { channel: "free", data: null }), ok({}))
      assert.deepStrictEqual(
        yield* post("publish", { channel: "free", data: null, b64data: btoa("{\"x\":1}"), tags: null }),
        ok({})
      )
      assert.deepStrictEqual(
        yield* post("publish", { channel: "free", data: 0, b64data: "", idempotency_key: "", version: 0 }),
        ok({})
      )
      assert.deepStrictEqual(calls, [
        {
          method: "publish",
          args: ["news", { a: [1, null] }, {
            tags: { a: "b" },
            skipHistory: true,
            idempotencyKey: "i",
            version: 3,
            versionEpoch: "v"
          }]
        },
        { method: "publish", args: ["free", null, none] },
        { method: "publish", args: ["free", { x: 1 }, none] },
        { method: "publish", args: ["free", 0, none] }
      ])
    }))

  it.scopedLive("broadcast", () =>
    Effect.gen(function*() {
      const { calls, post } = yield* start()
      assert.deepStrictEqual(
        yield* post("broadcast", { channels: ["news", "unknown:a", "free"], data: false }),
        ok({
          responses: [
            { result: { offset: 1, epoch: "e" } },
            { error: { code: 102, message: "unknown channel" } },
            { result: {} }
          ]
        })
      )
      assert.deepStrictEqual(calls[0]?.args, [["news", "unknown:a", "free"], false, none])
    }))

  it.scopedLive("subscribe, unsubscribe, disconnect, refresh", () =>
    Effect.gen(function*() {
      const { calls, post } = yield* start()
      assert.deepStrictEqual(
        yield* post("subscribe", {
          user: "ada",
          channel: "news",
          client: "c1",
          info: { i: 1 },
          b64data: btoa("[2]"),
          recover_since: { offset: 7, epoch: "e" },
          expire_at: 99,
          override: { presence: { value: true }, force_recovery: { value: false } }
        }),
        ok({})
      )
      assert.deepStrictEqual(yield* post("subscribe", { user: "", channel: "news", expire_at: 0 }), ok({}))
      assert.deepStrictEqual(yield* post("unsubscribe", { user: "ada", channel: "news", client: "" }), ok({}))
      assert.deepStrictEqual(
        yield* post("disconnect", {
          user: "ada",
          client: "c1",
          whitelist: ["c2"],
          disconnect: { code: 4000, reason: "bye" }
        }),
        ok({})
      )
      assert.deepStrictEqual(yield* post("disconnect", { user: "ada" }), ok({}))
      assert.deepStrictEqual(
        yield* post("refresh", { user: "ada", client: "c1", expired: true, expire_at: 5, info: "i" }),
        ok({})
      )
      assert.deepStrictEqual(JSON.parse(JSON.stringify(calls)), [
        {
          method: "subscribeUser",
          args: ["ada", "news", {
            client: "c1",
            info: { i: 1 },
            data: [2],
            expireAt: 99,
            recoverSince: { offset: 7, epoch: "e" },
            override: { presence: true, forceRecovery: false }
          }]
        },
        { method: "subscribeUser", args: ["", "news", {}] },
        { method: "unsubscribe", args: ["ada", "news", {}] },
        {
          method: "disconnect",
          args: ["ada", { client: "c1", except: ["c2"], disconnect: { code: 4000, reason: "bye", _tag: "Disconnect" } }]
        },
        { method: "disconnect", args: ["ada", {}] },
        { method: "refresh", args: ["ada", { client: "c1", expired: true, expireAt: 5, info: "i" }] }
      ])
    }))

  it.scopedLive("a node that is missing is said", () =>
    Effect.gen(function*() {
      const { post } = yield* start()
      for (
        const [method, params] of Object.entries({
          subscribe: { channel: "news" },
          unsubscribe: { channel: "news" },
          disconnect: {},
          refresh: {}
        })
      ) {
        assert.deepStrictEqual(yield* post(method, { user: "eve", ...params }), ok({ missing: ["n2"] }), method)
      }
    }))

  it.scopedLive("presence, presence_stats, channels, info", () =>
    Effect.gen(function*() {
      const { calls, post, raw } = yield* start()
      const text = (path: string, body: string) =>
        Effect.map(raw(`/api/${path}`, { method: "POST", body, headers: { "x-api-key": key } }), (_) => _.text)
      assert.strictEqual(
        yield* text("presence", "{\"channel\":\"news\"}"),
        "{\"result\":{\"presence\":{\"c1\":{\"user\":\"ada\",\"client\":\"c1\",\"conn_info\":{\"name\":\"Ada\"},\"chan_info\":null}," +
          "\"__proto__\":{\"user\":\"\",\"client\":\"__proto__\"}}}}"
      )
      assert.deepStrictEqual(yield* post("presence_stats", { channel: "news" }), ok({ num_clients: 2, num_users: 1 }))
      assert.strictEqual(
        yield* text("channels", "{\"pattern\":\"n*\"}"),
        "{\"result\":{\"channels\":{\"news\":{\"num_clients\":3},\"__proto__\":{\"num_clients\":1}}}}"
      )
      yield* post("channels", {})
      assert.deepStrictEqual(calls.filter(({ method }) => method === "channels").map(({ args }) => args), [
        ["n*"],
        [undefined]
      ])
      assert.deepStrictEqual(
        yield* post("info", {}),
        ok({
          nodes: [{
            uid: "u",
            name: "n",
            version: "v",
            num_clients: 1,
            num_users: 2,
            num_channels: 3,
            num_subs: 4,
            uptime: 5
          }]
        })
      )
    }))

  it.scopedLive("history, history_remove", () =>
    Effect.gen(function*() {
      const { calls, post, raw } = yield* start()
      const position = ok({ publications: [], offset: 2, epoch: "e" })
      assert.deepStrictEqual(yield* post("history", { channel: "news" }), position)
      assert.deepStrictEqual(yield* post("history", { channel: "news", limit: 0 }), position)
      const all = yield* raw("/api/history", {
        method: "POST",
        headers: { "x-api-key": key },
        body: "{\"channel\":\"news\",\"limit\":-1,\"since\":{\"epoch\":\"e\"}}"
      })
      assert.strictEqual(
        all.text,
        "{\"result\":{\"publications\":[{\"data\":{\"n\":1},\"info\":{\"user\":\"ada\",\"client\":\"c1\"," +
          "\"conn_info\":{\"name\":\"Ada\"},\"chan_info\":null},\"offset\":1,\"tags\":{\"__proto__\":\"x\"}}," +
          "{\"data\":null}],\"offset\":2,\"epoch\":\"e\"}}"
      )
      yield* post("history", { channel: "news", limit: 5, since: { offset: 3, epoch: "e" }, reverse: true })
      assert.deepStrictEqual(calls.map(({ args }) => args), [
        ["news", { limit: 0, since: undefined, reverse: undefined }],
        ["news", { limit: 0, since: undefined, reverse: undefined }],
        ["news", { limit: undefined, since: { offset: 0, epoch: "e" }, reverse: undefined }],
        ["news", { limit: 5, since: { offset: 3, epoch: "e" }, reverse: true }]
      ])
      assert.deepStrictEqual(
        yield* post("history", { channel: "news", since: { epoch: "e" }, reverse: true }),
        bad("nothing comes before since.offset 0: reverse needs an offset of 1 or more")
      )
      assert.deepStrictEqual(yield* post("history_remove", { channel: "news" }), ok({}))
    }))

  it.scopedLive("rpc", () =>
    Effect.gen(function*() {
      const { logs, post } = yield* start()
      assert.deepStrictEqual(
        yield* post("rpc", { method: "echo", params: [1, { a: null }] }),
        ok({ data: [1, { a: null }] })
      )
      assert.deepStrictEqual(yield* post("rpc", { method: "nothing" }), ok({}))
      assert.deepStrictEqual(yield* post("rpc", { method: "missing" }), refused(104, "method not found"))
      assert.deepStrictEqual(yield* post("rpc", { method: "own" }), refused(1400, "not today"))
      assert.deepStrictEqual(yield* post("rpc", { method: "kick" }), refused(4501, "go away"))
      assert.deepStrictEqual(logs, [])
      assert.deepStrictEqual(yield* post("rpc", { method: "bigint" }), refused(100, "internal server error"))
      assert.deepStrictEqual(logs.length, 1)
    }))

  it.scopedLive("batch", () =>
    Effect.gen(function*() {
      const { post, transport } = yield* start()
      const commands = [
        { publish: { channel: "news", data: 1 } },
        { publish: { channel: 5, data: 1 } },
        { nothing: {} },
        { batch: { commands: [] } },
        { publish: {}, history: {} },
        {},
        5,
        { history: { channel: "unknown:a" } },
        { rpc: { method: "bigint" } },
        { info: null },
        { rpc: { method: "echo", params: "x" } }
      ]
      const shape = { code: 107, message: "bad request: a command is an object with one key, a method" }
      const expected = {
        status: 200,
        body: {
          replies: [
            { publish: { offset: 1, epoch: "e" } },
            { error: { code: 107, message: "bad request: channel must be a string" } },
            { error: { code: 104, message: "method not found" } },
            { error: { code: 104, message: "method not found" } },
            { error: shape },
            { error: shape },
            { error: shape },
            { error: { code: 102, message: "unknown channel" } },
            { error: { code: 100, message: "internal server error" } },
            { error: { code: 107, message: "bad request: the parameters must be a JSON object" } },
            { rpc: { data: "x" } }
          ]
        }
      }
      assert.deepStrictEqual(yield* post("batch", { commands }), expected)
      assert.strictEqual((yield* transport("batch", { commands, parallel: true })).status, 200)
      assert.deepStrictEqual(yield* post("batch", {}), bad("commands is missing"))
      assert.strictEqual((yield* transport("batch", {})).status, 400)
    }))

  it.scopedLive("a parallel batch does not wait for one command before the next, and keeps their order", () =>
    Effect.gen(function*() {
      const { post } = yield* start()
      const commands = [{ publish: { channel: "held:wait", data: 1 } }, {
        publish: { channel: "held:release", data: 1 }
      }]
      const { body } = yield* post("batch", { parallel: true, commands })
      assert.deepStrictEqual(body, {
        replies: [{ publish: { offset: 1, epoch: "e" } }, { publish: { offset: 1, epoch: "e" } }]
      })
    }))

  it.scopedLive("the definition is a client's too", () =>
    Effect.gen(function*() {
      const { url } = yield* start()
      const client = yield* HttpApiClient.make(ServerApi.api, {
        baseUrl: url,
        transformClient: HttpClient.mapRequest(HttpClientRequest.setHeader("X-API-Key", key))
      })
      const headers = {}
      const answers = [
        yield* client.publish({ headers, payload: { channel: "news", data: 1 } }),
        yield* client.broadcast({ headers, payload: { channels: ["a", "unknown:a"], data: 1 } }),
        yield* client.subscribe({ headers, payload: { user: "ada", channel: "news" } }),
        yield* client.unsubscribe({ headers, payload: { user: "ada", channel: "news" } }),
        yield* client.disconnect({ headers, payload: { user: "ada" } }),
        yield* client.refresh({ headers, payload: { user: "ada" } }),
        yield* client.presence({ headers, payload: { channel: "news" } }),
        yield* client.presence_stats({ headers, payload: { channel: "news" } }),
        yield* client.history({ headers, payload: { channel: "news", limit: -1 } }),
        yield* client.history_remove({ headers, payload: { channel: "news" } }),
        yield* client.channels({ headers, payload: {} }),
        yield* client.info({ headers, payload: {} }),
        yield* client.rpc({ headers, payload: { method: "echo", params: 1 } })
      ]
      for (const answer of answers) assert.property(answer, "result")
      const { error } = (yield* client.history({ headers, payload: { channel: "unknown:a" } })) as {
        readonly error: unknown
      }
      assert.deepStrictEqual(error, { code: 102, message: "unknown channel" })
      assert.property(yield* client.batch({ headers, payload: { commands: [{ info: {} }] } }), "replies")
      const failure = yield* Effect.flip(client.history({
        headers: { "x-centrifugo-error-mode": "transport" },
        payload: { channel: "unknown:a" }
      }))
      assert.deepStrictEqual({ ...failure }, { code: 102, message: "unknown channel" })
      const later = yield* Effect.flip(client.history({
        headers: { "x-centrifugo-error-mode": "transport" },
        payload: { channel: "temporary:a" }
      }))
      assert.deepStrictEqual({ ...later }, { code: 450, message: "later" })
    }).pipe(Effect.provide(FetchHttpClient.layer)))
})

describe("refusals", () => {
  it.scopedLive("both error modes, by code", () =>
    Effect.gen(function*() {
      const { logs, post, transport } = yield* start()
      const cases = [
        ["broken:a", 100, 500, "internal server error"],
        ["defect:", 100, 500, "internal server error"],
        ["unknown:a", 102, 404, "unknown channel"],
        ["denied:a", 103, 403, "permission denied"],
        ["", 107, 400, "bad request: a channel's name has 1 to 255 characters"],
        ["plain:a", 108, 400, "not available"],
        ["busy:a", 111, 429, "too many requests"],
        ["lost:a", 112, 416, "unrecoverable position"],
        ["conflict:a", 113, 409, "conflict"],
        ["temporary:a", 450, 503, "later"]
      ] as const
      for (const [channel, code, status, message] of cases) {
        assert.deepStrictEqual(yield* post("presence", { channel }), refused(code, message))
        assert.deepStrictEqual(yield* transport("presence", { channel }), { status, body: { code, message } })
      }
      assert.deepStrictEqual(
        yield* transport("rpc", { method: "missing" }),
        { status: 404, body: { code: 104, message: "method not found" } }
      )
      assert.strictEqual((yield* transport("rpc", { method: "own" })).status, 400)
      assert.strictEqual((yield* transport("publish", {})).status, 400)
      assert.deepStrictEqual(logs.length, 4, "each failure of the server is logged, and nothing else")
    }))

  it.scopedLive("wrong parameters are 107 with a sentence that names the field", () =>
    Effect.gen(function*() {
      const { calls, post, send } = yield* start()
      const cases: ReadonlyArray<readonly [string, unknown, string]> = [
        ["publish", { data: 1 }, "channel is missing"],
        ["publish", { channel: null, data: 1 }, "channel must be a string"],
        ["publish", { channel: "a" }, "data is missing"],
        ["publish", { channel: "a", b64data: "%" }, "b64data must be JSON text in base64"],
        ["publish", { channel: "a", b64data: btoa("{") }, "b64data must be JSON text in base64"],
        ["publish", { channel: "a", b64data: "/w==" }, "b64data must be JSON text in base64"],
        ["publish", { channel: "a", b64data: 5 }, "b64data must be a string"],
        ["publish", { channel: "a", data: 1, tags: { a: 1 } }, "tags must be an object whose values are strings"],
        ["publish", { channel: "a", data: 1, tags: [] }, "tags must be an object whose values are strings"],
        ["publish", { channel: "a", data: 1, skip_history: "yes" }, "skip_history must be true or false"],
        ["publish", { channel: "a", data: 1, version: -1 }, "version must be an integer, 0 or more"],
        ["broadcast", { data: 1 }, "channels is missing"],
        ["broadcast", { channels: "a", data: 1 }, "channels must be an array of strings"],
        ["broadcast", { channels: ["a", 2], data: 1 }, "channels[1] must be a string"],
        ["subscribe", { channel: "a" }, "user is missing"],
        ["subscribe", { user: "u", channel: "a", expire_at: 1.5 }, "expire_at must be an integer, 0 or more"],
        [
          "subscribe",
          { user: "u", channel: "a", recover_since: { offset: -1 } },
          "recover_since.offset must be an integer, 0 or more"
        ],
        [
          "subscribe",
          { user: "u", channel: "a", override: { presence: { value: 1 } } },
          "override.presence.value must be true or false"
        ],
        ["subscribe", { user: "u", channel: "a", override: { presence: {} } }, "override.presence.value is missing"],
        ["subscribe", { user: "u", channel: "a", b64info: "%" }, "b64info must be JSON text in base64"],
        ["unsubscribe", { user: 1, channel: "a" }, "user must be a string"],
        ["subscribe", { user: "u", channel: "a", recover_since: 5 }, "recover_since must be an object"],
        ["subscribe", { user: "u", channel: "a", override: [] }, "override must be an object"],
        ["subscribe", { user: "u", channel: "a", override: { presence: true } }, "override.presence must be an object"],
        ["disconnect", { user: "u", whitelist: [1] }, "whitelist[0] must be a string"],
        ["disconnect", { user: "u", whitelist: 5 }, "whitelist must be an array of strings"],
        ["disconnect", { user: "u", disconnect: "x".repeat(1000) }, "disconnect must be an object"],
        [
          "disconnect",
          { user: "u", disconnect: { code: 1000 } },
          "disconnect.code must be an integer from 3000 to 4999"
        ],
        ["disconnect", { user: "u", disconnect: {} }, "disconnect.code is missing"],
        ["refresh", { user: "u", expired: 1 }, "expired must be true or false"],
        ["presence", [], "the parameters must be a JSON object"],
        ["presence_stats", null, "the parameters must be a JSON object"],
        ["history", { channel: "a", limit: -2 }, "limit must be an integer, -1 or more"],
        ["history", { channel: "a", limit: "1" }, "limit must be an integer, -1 or more"],
        ["history", { channel: "a", since: "x".repeat(1000) }, "since must be an object"],
        ["history_remove", 5, "the parameters must be a JSON object"],
        ["channels", { pattern: {} }, "pattern must be a string"],
        ["info", "x", "the parameters must be a JSON object"],
        ["rpc", {}, "method is missing"],
        ["batch", { commands: {} }, "commands must be an array"],
        ["batch", { commands: "x".repeat(1000) }, "commands must be an array"],
        ["batch", { commands: [], parallel: 1 }, "parallel must be true or false"]
      ]
      for (const [path, body, reason] of cases) {
        assert.deepStrictEqual(yield* post(path, body), bad(reason), `${path} ${JSON.stringify(body)}`)
      }
      assert.deepStrictEqual(
        yield* send("history", "{\"channel\":\"a\",\"limit\":1e999}"),
        bad("limit must be an integer, -1 or more")
      )
      assert.deepStrictEqual(calls, [])
    }))

  it.scopedLive("what would widen a request is refused instead of ignored", () =>
    Effect.gen(function*() {
      const { calls, post } = yield* start()
      for (const path of ["subscribe", "unsubscribe", "disconnect", "refresh"]) {
        assert.deepStrictEqual(
          yield* post(path, { user: "ada", channel: "news", session: "s" }),
          refused(108, "not available: session is not supported")
        )
      }
      assert.deepStrictEqual(calls, [])
    }))

  it.scopedLive("keys: either header, any of them, and nothing else", () =>
    Effect.gen(function*() {
      const { raw } = yield* start()
      const status = (headers: Record<string, string>, path = "/api/info") =>
        Effect.map(raw(path, { method: "POST", body: "{}", headers }), (_) => _.status)
      for (
        const headers of [
          { "x-api-key": key },
          { "X-API-Key": "k-0" },
          { authorization: `apikey ${key}` },
          { authorization: `ApiKey ${key}` },
          { "x-api-key": "wrong", authorization: `apikey ${key}` }
        ]
      ) assert.strictEqual(yield* status(headers), 200, JSON.stringify(headers))
      for (
        const headers of [
          {},
          { "x-api-key": "" },
          { "x-api-key": "k" },
          { "x-api-key": `${key}1` },
          { "x-api-key": `apikey ${key}` },
          { authorization: key },
          { authorization: `Bearer ${key}` },
          { authorization: "apikey" },
          { authorization: "apikey " }
        ]
      ) assert.strictEqual(yield* status(headers), 401, JSON.stringify(headers))
      assert.strictEqual(yield* status({}, `/api/info?api_key=${key}`), 401)
      const { headers, text } = yield* raw("/api/info", { method: "POST", body: "not even JSON" })
      assert.strictEqual(text, "{\"code\":101,\"message\":\"unauthorized\"}")
      assert.include(headers.get("content-type") ?? "", "application/json")
    }))

  it.scopedLive("no key: no API", () =>
    Effect.gen(function*() {
      for (const keys of [[], [Redacted.make("")]]) {
        const { raw } = yield* start({ keys })
        for (const path of ["/api/info", "/api/docs", "/api/openapi.json"]) {
          const method = path === "/api/info" ? "POST" : "GET"
          assert.strictEqual((yield* raw(path, { method, headers: { "x-api-key": "" } })).status, 404)
        }
      }
    }))

  it.scopedLive("unreadable bodies are 400, in both modes", () =>
    Effect.gen(function*() {
      const { send } = yield* start()
      for (const mode of ["", "transport"]) {
        for (const body of ["{", "{'a':1}", Uint8Array.of(0x22, 0xff, 0x22)]) {
          assert.deepStrictEqual(yield* send("info", body, { "x-centrifugo-error-mode": mode }), {
            status: 400,
            body: { code: 107, message: "bad request: the body is no JSON" }
          })
        }
        assert.strictEqual((yield* send("info", "", { "x-centrifugo-error-mode": mode })).status, 400)
      }
      assert.strictEqual(
        (yield* send("info", "{}", { "content-type": "application/x-www-form-urlencoded" })).status,
        200
      )
    }))

  it.scopedLive("bodies over the limit are 413, whether they say their length or not", () =>
    Effect.gen(function*() {
      const { calls, send, url } = yield* start({ ...options, maxBodySize: 1000 })
      const body = (size: number) => {
        const frame = "{\"channel\":\"free\",\"data\":\"\"}"
        return frame.replace("\"\"", `"${"x".repeat(size - frame.length)}"`)
      }
      const tooLarge = { status: 413, body: { code: 107, message: "bad request: the body is larger than 1000 bytes" } }
      assert.strictEqual((yield* send("publish", body(1000))).status, 200)
      assert.deepStrictEqual(yield* send("publish", body(1001)), tooLarge)
      const chunked = (size: number) =>
        Effect.async<{ status: number | undefined; body: unknown }>((resume) => {
          const request = Http.request(`${url}/api/publish`, { method: "POST", headers: { "x-api-key": key } })
          request.on("response", (response) => {
            let text = ""
            response.setEncoding("utf8").on("data", (chunk: string) => {
              text += chunk
            })
            response.on(
              "end",
              () => resume(Effect.succeed({ status: response.statusCode, body: JSON.parse(text) as unknown }))
            )
          })
          const whole = body(size)
          request.write(whole.slice(0, 500))
          request.end(whole.slice(500))
        })
      assert.strictEqual((yield* chunked(1000)).status, 200)
      assert.deepStrictEqual(yield* chunked(1001), tooLarge)
      assert.deepStrictEqual(yield* chunked(300_000), tooLarge)
      assert.strictEqual(calls.length, 2)
    }))

  it.scopedLive("the limit is 1 MiB unless told otherwise", () =>
    Effect.gen(function*() {
      const { send } = yield* start()
      const padded = (size: number) => "{}" + " ".repeat(size - 2)
      assert.strictEqual((yield* send("info", padded(1048576))).status, 200)
      assert.strictEqual((yield* send("info", padded(1048577))).status, 413)
    }))

  it.scopedLive("other paths and verbs are 404", () =>
    Effect.gen(function*() {
      const { post, raw } = yield* start()
      for (const path of ["nothing", "__proto__", "constructor", "publish/x"]) {
        assert.deepStrictEqual(yield* post(path, {}), { status: 404, body: { code: 104, message: "method not found" } })
      }
      assert.strictEqual((yield* raw("/api/info", { headers: { "x-api-key": key } })).status, 404)
    }))
})

describe("hostile input", () => {
  it.scopedLive("names of prototypes are names like any other", () =>
    Effect.gen(function*() {
      const { calls, send } = yield* start()
      for (const name of ["__proto__", "constructor", "toString", "hasOwnProperty"]) {
        const at = calls.length
        const { body } = yield* send(
          "publish",
          `{"channel":"${name}","data":{"${name}":{"polluted":1}},"tags":{"${name}":"x"},"__proto__":{"skip_history":true}}`
        )
        assert.property(body, "result")
        const [channel, data, given] = calls[at]?.args ?? []
        assert.strictEqual(channel, name)
        assert.strictEqual(JSON.stringify(data), `{"${name}":{"polluted":1}}`)
        const { skipHistory, tags } = given as { readonly tags: object; readonly skipHistory: unknown }
        assert.deepStrictEqual(Object.entries(tags), [[name, "x"]])
        assert.strictEqual(Object.getPrototypeOf(tags), Object.prototype)
        assert.strictEqual(skipHistory, undefined)

        yield* send("disconnect", `{"user":"${name}"}`)
        assert.strictEqual(calls[at + 1]?.args[0], name)
        assert.deepStrictEqual(yield* send("batch", `{"commands":[{"${name}":{}}]}`), {
          status: 200,
          body: { replies: [{ error: { code: 104, message: "method not found" } }] }
        })
        assert.deepStrictEqual(yield* send("rpc", `{"method":"${name}"}`), refused(104, "method not found"))
      }
      assert.notProperty({}, "polluted")
    }))

  it.scopedLive("a hundred thousand brackets", () =>
    Effect.gen(function*() {
      const { send } = yield* start()
      const deep = "[".repeat(100_000) + "]".repeat(100_000)
      assert.strictEqual((yield* send("publish", `{"channel":"news","data":${deep}}`)).status, 200)
      assert.strictEqual((yield* send("info", deep)).status, 200)
      assert.deepStrictEqual(
        yield* send("rpc", `{"method":"echo","params":${deep}}`),
        refused(100, "internal server error")
      )
      assert.strictEqual((yield* send("info", "{}")).status, 200)
    }))

  const names = [...Object.keys(ServerApi.requests), "batch"]
  const fields = [
    "channel",
    "channels",
    "data",
    "b64data",
    "user",
    "client",
    "session",
    "tags",
    "limit",
    "since",
    "reverse",
    "whitelist",
    "disconnect",
    "override",
    "recover_since",
    "expire_at",
    "method",
    "params",
    "commands",
    "pattern",
    "__proto__",
    "constructor"
  ]
  /** Often an object with fields that are known, so that it gets past the first check. */
  const body = FastCheck.oneof(
    FastCheck.json(),
    FastCheck.array(
      FastCheck.tuple(
        FastCheck.constantFrom(...fields),
        FastCheck.oneof(
          FastCheck.jsonValue(),
          FastCheck.constantFrom<unknown>("news", ["a"], "echo", 1, 0, -1, true, { offset: 1 }, [{ publish: {} }])
        )
      ),
      { maxLength: 8 }
    ).map((entries) => JSON.stringify(Object.fromEntries(entries)))
  )

  it.scopedLive("whatever JSON is sent is answered with a result, replies or an error that is not the server's", () =>
    Effect.gen(function*() {
      const { logs, send } = yield* start()
      const runtime = yield* Effect.runtime()
      const { runPromise } = yield* Effect.succeed({
        runPromise: <A>(effect: Effect.Effect<A>) => Effect.runPromise(Effect.provide(effect, runtime))
      })
      yield* Effect.promise(() =>
        FastCheck.assert(
          FastCheck.asyncProperty(
            FastCheck.constantFrom(...names),
            body,
            FastCheck.boolean(),
            (name, json, transport) =>
              runPromise(Effect.map(
                send(name, json, { "x-centrifugo-error-mode": transport ? "transport" : "" }),
                ({ body, status }) => {
                  const answer = body as {
                    readonly result?: object
                    readonly replies?: ReadonlyArray<{ readonly error?: { readonly code: number } }>
                    readonly error?: { readonly code: number }
                    readonly code?: number
                  }
                  if (!transport) assert.strictEqual(status, 200)
                  assert.isBelow(status, 500)
                  const known = answer.result ?? answer.replies ?? answer.error?.code ?? answer.code
                  assert.isDefined(known)
                  for (
                    const code of [
                      answer.error?.code,
                      answer.code,
                      ...(answer.replies ?? []).map((_) => _.error?.code)
                    ]
                  ) {
                    assert.notStrictEqual(code, 100)
                  }
                }
              ))
          ),
          { numRuns: process.env["TEST_LONG"] === undefined ? 500 : 5000 }
        )
      )
      assert.deepStrictEqual(logs, [])
    }))

  it.scopedLive("whatever bytes are sent are refused, and the next request is answered", () =>
    Effect.gen(function*() {
      const { raw, send } = yield* start()
      yield* Effect.promise(() =>
        FastCheck.assert(
          FastCheck.asyncProperty(FastCheck.uint8Array({ maxLength: 64 }), async (bytes) => {
            const { status } = await Effect.runPromise(
              raw("/api/publish", { method: "POST", body: bytes, headers: { "x-api-key": key } })
            )
            assert.include([200, 400], status)
          }),
          { numRuns: 100 }
        )
      )
      assert.strictEqual((yield* send("info", "{}")).status, 200)
    }))
})

describe("the description", () => {
  it.scopedLive("is complete, and needs no key", () =>
    Effect.gen(function*() {
      const { raw } = yield* start()
      const { status, text } = yield* raw("/api/openapi.json", {})
      assert.strictEqual(status, 200)
      const spec = JSON.parse(text) as {
        readonly openapi: string
        readonly paths: Record<string, { readonly post: { readonly security: unknown; readonly responses: object } }>
        readonly components: {
          readonly securitySchemes: Record<string, { readonly in: string; readonly name: string }>
        }
      }
      assert.strictEqual(spec.openapi, "3.1.0")
      assert.deepStrictEqual(
        Object.keys(spec.paths).sort(),
        [...Object.keys(ServerApi.requests), "batch"].map((name) => `/api/${name}`).sort()
      )
      for (const { post } of Object.values(spec.paths)) {
        assert.deepStrictEqual(post.security, [{ key: [] }, { authorization: [] }])
        assert.containsAllKeys(post.responses, [
          "200",
          "400",
          "401",
          "403",
          "404",
          "409",
          "413",
          "416",
          "429",
          "500",
          "503"
        ])
      }
      assert.deepStrictEqual(
        Object.values(spec.components.securitySchemes).map(({ in: where, name }) => [where, name]),
        [["header", "X-API-Key"], ["header", "Authorization"]]
      )
      assert.notInclude(text, "HttpApiDecodeError")
    }))

  it.scopedLive("has a page that loads nothing from elsewhere", () =>
    Effect.gen(function*() {
      const { raw } = yield* start()
      const { headers, status, text } = yield* raw("/api/docs", {})
      assert.strictEqual(status, 200)
      assert.include(headers.get("content-type") ?? "", "text/html")
      assert.include(text, "/api/presence_stats")
      assert.notMatch(text, /<(script|link|img)[^>]+(src|href)=["']?https?:/)
    }))
})

describe("keys", () => {
  it.scopedLive("an empty one is left out; without any there is no API", () =>
    Effect.gen(function*() {
      const one = yield* start({ keys: [Redacted.make(""), Redacted.make(key)] })
      assert.strictEqual((yield* one.post("info", {}, { "x-api-key": "" })).status, 401)
      assert.strictEqual((yield* one.post("info", {})).status, 200)
      const none = yield* start({ keys: [Redacted.make("")] })
      assert.strictEqual((yield* none.raw("/api/info", { method: "POST", body: "{}" })).status, 404)
    }))

  const acceptsAll = (keys: ReadonlyArray<string>, given: ReadonlyArray<string>) =>
    Effect.flatMap(
      ServerApiKeys.accepts(keys.map((key) => Redacted.make(key))),
      (accepts) => Effect.forEach(given, accepts)
    )

  it.effect("accepts exactly what it was given", () =>
    Effect.gen(function*() {
      const given = ["a", "b", "", "c", "ab", "A"]
      assert.deepStrictEqual(yield* acceptsAll(["a", "b"], given), [true, true, false, false, false, false])
      assert.deepStrictEqual(yield* acceptsAll([], [""]), [false])
    }))

  it.effect("compares every byte of a digest", () =>
    Effect.gen(function*() {
      // Among so many digests there are some that are like those of the keys in any one byte.
      const others = Array.from({ length: 4000 }, (_, n) => `other-${n}`)
      const accepted = yield* acceptsAll(["a", "b"], [...others, "b"])
      assert.deepStrictEqual(accepted.flatMap((is, n) => is ? [n] : []), [others.length])
    }))
})
