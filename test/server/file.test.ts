import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as fc from "effect/FastCheck"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/TestClock"
import { decodeProtectedHeader, jwtVerify } from "jose"
import { execFileSync } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseJson, parseYaml, read } from "../../src/server/ConfigFile.js"
import * as GenConfig from "../../src/server/GenConfig.js"
import * as GenToken from "../../src/server/GenToken.js"
import { syntaxError } from "../../src/server/JsonSyntax.js"
import { load, loadAll } from "../../src/server/ServerConfig.js"

const flags = (values: Readonly<Record<string, string | ReadonlyArray<string>>>) =>
  new Map(Object.entries(values).map(([name, value]) => [name, Arr.ensure(value)]))

const complaints = (
  text: string,
  environment: Readonly<Record<string, string>> = {},
  given: Readonly<Record<string, string>> = {}
) =>
  Effect.map(
    Effect.flip(load(flags(given), environment, parseJson("hub.json", text))),
    ({ message }) => message.split("\n")
  )

describe("a file", () => {
  it("of JSON that is wrong: the line, the column, what was expected", () => {
    const problem = (text: string) => parseJson("hub.json", text).problems.join("\n")
    assert.strictEqual(
      problem("{\n  \"http\": {\n    port: 1 }}"),
      "hub.json: line 3, column 5: expected a key in double quotes."
    )
    assert.strictEqual(
      problem("{\"a\": 1,}"),
      "hub.json: line 1, column 9: expected a key in double quotes, got \"}\"."
    )
    assert.strictEqual(problem(""), "hub.json: line 1, column 1: expected a value, got the end of the text.")
    assert.strictEqual(problem("{\"a\":1,\n\"a\":2}"), "hub.json: line 2, column 1: the key \"a\" is there twice.")
    assert.match(problem("[".repeat(100_000)), /column 202: too deep\.$/)
  })

  it("is JSON exactly if JSON.parse says so", () => {
    const cut = fc.tuple(
      fc.json({ maxDepth: 3 }),
      fc.nat(),
      fc.constantFrom("", "}", "]", ",", "\"", "\\", "1", " ", "-")
    )
    fc.assert(fc.property(cut, ([json, at, piece]) => {
      const text = json.slice(0, at % (json.length + 1)) + piece + json.slice((at % (json.length + 1)) + 1)
      const found = syntaxError(text)
      if (found?.message.endsWith("is there twice") === true) return
      assert.strictEqual(found === undefined, Either.isRight(Either.try((): unknown => JSON.parse(text))), text)
    }))
  })

  it("of YAML that is wrong: the line and the column of each problem", () => {
    const problems = (text: string) => parseYaml("hub.yaml", text).problems
    assert.match(problems("http:\n  port: [1\n").join("\n"), /^hub\.yaml: line 3, column 1: .*\.$/)
    assert.match(problems("http: 1\nhttp: 2\n").join("\n"), /^hub\.yaml: line 2, column 1: Map keys must be unique\.$/)
    assert.match(problems("a: &a [*a]").join("\n"), /^hub\.yaml: /)
    assert.deepStrictEqual(parseYaml("hub.yaml", "# nothing\n").value, {})
  })

  it.effect("names each thing that is wrong, with its path, and what was probably meant", () =>
    Effect.gen(function*() {
      const text = JSON.stringify({
        port: 1,
        http: { prot: 1, host: 5 },
        client: { token: { hmac_secret: "s3cret", leeway: "soon" } },
        api: 5,
        channels: { namespaces: { n: {}, news: { presense: true, historyTtl: "soon" } } }
      })
      const found = yield* complaints(text, {
        HUB_PRT: "1",
        HUB_TOKEN_HMAC_SECRET: "s3cret",
        HUB_CLIENT_CHANNEL_LIMIT: "-3"
      }, {
        HUB_CLIENT_INSECURE: "yes"
      })
      assert.sameMembers(found, [
        "HUB_PRT: there is no such variable; did you mean HUB_PORT?",
        "HUB_TOKEN_HMAC_SECRET: there is no such variable; did you mean HUB_CLIENT_TOKEN_HMAC_SECRET?",
        "hub.json: port: there is no such key; did you mean http.port?",
        "hub.json: http.prot: there is no such key; did you mean port?",
        "hub.json: http.host: expected an IP address or a host name, got 5.",
        "hub.json: client.token.hmac_secret: there is no such key; did you mean hmacSecret?",
        "hub.json: client.token.leeway: expected a duration such as \"10 seconds\" or a number of milliseconds, at most 24 days, got \"soon\".",
        "--client-insecure: expected true or false, got \"yes\".",
        "HUB_CLIENT_CHANNEL_LIMIT: expected a whole number, or 0 for no limit, got \"-3\".",
        "hub.json: api: expected an object, got a number.",
        "hub.json: channels.namespaces.n: the name of a namespace has two or more letters, digits, hyphens and underscores, and is not __proto__.",
        "hub.json: channels.namespaces.news.presense: there is no such key; did you mean presence?",
        "hub.json: channels.namespaces.news.historyTtl: expected a duration such as \"5 minutes\" or a number of milliseconds, got \"soon\"."
      ])
    }))

  it.effect("what does not go together is told too, all of it", () =>
    Effect.gen(function*() {
      const found = yield* complaints(JSON.stringify({
        api: { keys: ["k"] },
        client: { queueMaxSize: 1, pingInterval: "5 seconds", personalChannel: { enabled: true, namespace: "nobody" } },
        limits: { heartbeatTimeout: 0, outboxBytes: 2 },
        channels: { namespaces: { news: { allowRecovery: true, overflow: "conflate" } } }
      }))
      assert.sameMembers(
        found,
        [
          "hub.json: limits.heartbeatTimeout: expected a duration above 0 (to switch heartbeats off, set HUB_HEARTBEAT_INTERVAL to \"off\"), got 0.",
          "HUB_CLIENT_PONG_TIMEOUT: expected less than client.pingInterval, which is 5 seconds, got the default of 8 seconds.",
          "hub.json: client.queueMaxSize: it is 1, and limits.outboxBytes is 2: both are the bytes that wait for a client. Give one of them.",
          "hub.json: client.personalChannel.namespace: expected the name of a namespace that is there, or nothing if withoutNamespace is, got \"nobody\".",
          "hub.json: channels.namespaces.news.allowRecovery: expected a history beside it: historySize and historyTtl above 0, got true.",
          "hub.json: channels.namespaces.news.overflow: expected disconnect, since allowRecovery must not lose anything, got \"conflate\".",
          "HUB_CLIENT_TOKEN_HMAC_SECRET: expected this, HUB_CLIENT_TOKEN_RSA_PUBLIC_KEY, HUB_CLIENT_TOKEN_ECDSA_PUBLIC_KEY, HUB_CLIENT_TOKEN_ED25519_PUBLIC_KEY, HUB_CLIENT_TOKEN_JWKS_URL, HUB_CLIENT_ALLOW_ANONYMOUS or HUB_CLIENT_INSECURE, or nobody can connect, got nothing."
        ]
      )
    }))

  it.effect("__proto__ and the like are keys as any other, which are not known", () =>
    Effect.gen(function*() {
      const keys = ["__proto__", "constructor", "toString"]
      for (const key of keys) {
        for (const at of ["", "http", "client"]) {
          const inner = `{"${key}":{"insecure":true,"port":1}}`
          const path = at === "" ? key : `${at}.${key}`
          const [line = ""] = yield* complaints(at === "" ? inner : `{"${at}":${inner}}`)
          assert.isTrue(line.startsWith(`hub.json: ${path}: there is no such key`), line)
        }
      }
      const [line = ""] = yield* complaints("{\"channels\":{\"namespaces\":{\"__proto__\":{}}}}")
      assert.include(line, "channels.namespaces.__proto__: the name of a namespace")
      const yaml = parseYaml("hub.yaml", "__proto__: { port: 1 }\n")
      assert.include(
        (yield* Effect.flip(load(new Map(), {}, yaml))).message,
        "hub.yaml: __proto__: there is no such key"
      )
      assert.notProperty({}, "port")
    }))

  it.effect("of JSON that is null is not an empty one", () =>
    Effect.gen(function*() {
      // Not the whole configuration, should it be taken: it is long to print.
      const message = yield* Effect.match(load(new Map(), {}, parseJson("hub.json", "null")), {
        onFailure: ({ message }) => message,
        onSuccess: () => "it was taken"
      })
      assert.strictEqual(message, "hub.json: expected an object, got null.")
    }))

  it("of YAML has one document", () => {
    assert.deepStrictEqual(parseYaml("hub.yaml", "http: { port: 1 }\n---\nnode: { name: x }\n").problems, [
      "hub.yaml: line 2, column 1: a second document begins here; a configuration is one document, so take the line --- out."
    ])
    assert.deepStrictEqual(parseYaml("hub.yaml", "---\nhttp: { port: 1 }\n").problems, [])
  })

  it.effect("of YAML may have sections in which all is a comment, but no settings without a value", () =>
    Effect.gen(function*() {
      const text = "http:\nclient:\n  allowAnonymous: true\n  token:\n  # hmacSecret: x\n  personalChannel:\napi:\n"
      const { value } = parseYaml("hub.yaml", text)
      assert.deepStrictEqual(value, { client: { allowAnonymous: true } })
      yield* load(new Map(), {}, parseYaml("hub.yaml", text))
      const wrong = "client: { token: { hmacSecret: } }\nchannels:\nbroker: { type: redis, sentinel: }\n"
      const { message } = yield* Effect.flip(load(new Map(), {}, parseYaml("hub.yaml", wrong)))
      assert.sameMembers(message.split("\n"), [
        "hub.yaml: client.token.hmacSecret: expected a text that is not empty, got null.",
        "hub.yaml: channels: expected an object, got null.",
        "hub.yaml: broker.sentinel: expected an object, got null."
      ])
    }))

  it.effect("durations that do not go together are told as they are written", () =>
    Effect.gen(function*() {
      const found = yield* complaints(
        JSON.stringify({ client: { allowAnonymous: true, pongTimeout: "30 seconds", presenceTtl: "20 seconds" } })
      )
      assert.sameMembers(found, [
        "hub.json: client.pongTimeout: expected less than HUB_CLIENT_PING_INTERVAL, which is 25 seconds, got \"30 seconds\".",
        "hub.json: client.presenceTtl: expected more than HUB_CLIENT_PRESENCE_INTERVAL, which is 27 seconds, got \"20 seconds\"."
      ])
    }))

  it.effect("that nobody can connect names client.insecure as the file does", () =>
    Effect.gen(function*() {
      const [line = ""] = yield* complaints("{\"client\":{\"insecure\":false}}")
      assert.include(line, "HUB_CLIENT_ALLOW_ANONYMOUS or client.insecure, or nobody can connect")
    }))

  const directory = Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "hub-"))),
    (path) => Effect.sync(() => rmSync(path, { recursive: true }))
  )

  it.scoped("that is no regular file is not opened; a link to one is", () =>
    Effect.gen(function*() {
      const at = yield* directory
      const path = (name: string) => join(at, name)
      execFileSync("mkfifo", [path("pipe.yaml")])
      mkdirSync(path("directory.json"))
      symlinkSync("/dev/null", path("device.yml"))
      writeFileSync(path("real"), "http: { port: 1 }")
      symlinkSync(path("real"), path("link.yaml"))
      for (
        const [name, kind] of [["pipe.yaml", "a pipe"], ["directory.json", "a directory"], ["device.yml", "a device"]]
      ) {
        const file = path(name ?? "")
        assert.deepStrictEqual((yield* read(file)).problems, [
          `${file}: expected a regular file, got ${kind}. Put the configuration into a file.`
        ])
      }
      assert.deepStrictEqual((yield* read(path("link.yaml"))).value, { http: { port: 1 } })
      for (const name of ["/dev/stdin", "/dev/fd/63"]) {
        assert.deepStrictEqual((yield* read(name)).problems, [
          `${name}: expected a name that ends in .json, .yaml or .yml.`
        ])
      }
    }).pipe(Effect.provide(NodeFileSystem.layer)))

  it.scoped("is in UTF-8, with or without a mark at its beginning", () =>
    Effect.gen(function*() {
      const file = join(yield* directory, "hub.json")
      writeFileSync(file, Buffer.from("{\"node\":{\"name\":\"\xe9\"}}", "latin1"))
      assert.deepStrictEqual((yield* read(file)).problems, [
        `${file}: it is not in UTF-8, as a configuration must be. Save it in this encoding.`
      ])
      writeFileSync(file, "\uFEFF{\"node\":{\"name\":\"é\"}}")
      assert.deepStrictEqual((yield* read(file)).value, { node: { name: "é" } })
    }).pipe(Effect.provide(NodeFileSystem.layer)))

  it.effect("whose name is empty is told by the variable", () =>
    Effect.gen(function*() {
      const { message } = yield* Effect.flip(loadAll(new Map(), { HUB_CONFIG: "" }))
      assert.strictEqual(
        message,
        "HUB_CONFIG: expected the name of a file, got \"\". Name one, or unset the variable."
      )
    }).pipe(Effect.provide(NodeFileSystem.layer)))

  it.effect("that cannot be read is told in a sentence", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual((yield* read("nowhere/hub.json")).problems, ["nowhere/hub.json: there is no such file."])
      assert.deepStrictEqual((yield* read("hub.toml")).problems, [
        "hub.toml: expected a name that ends in .json, .yaml or .yml."
      ])
    }).pipe(Effect.provide(NodeFileSystem.layer)))
})

describe("development mode", () => {
  const development = (environment: Readonly<Record<string, string>>) =>
    Effect.map(load(new Map(), environment), ({ client, development }) => [development, client.insecure])

  it.effect("is on until something says who may do what", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* development({ HUB_MESSAGE_BYTES: "1" }), [true, true])
      assert.deepStrictEqual(yield* development({ HUB_HOST: "::1" }), [true, true])
      assert.deepStrictEqual(yield* development({ HUB_CLIENT_ALLOW_ANONYMOUS: "true" }), [false, false])
      assert.deepStrictEqual(yield* development({ HUB_CLIENT_TOKEN_HMAC_SECRET: "x" }), [false, false])
      for (
        const [variable, value] of [["HUB_API_KEYS", "x"], ["HUB_CHANNELS", "{}"], ["HUB_CLIENT_INSECURE", "false"]]
      ) {
        const { message } = yield* Effect.flip(development({ [String(variable)]: value ?? "" }))
        assert.match(message, /^HUB_CLIENT_TOKEN_HMAC_SECRET: .* or nobody can connect, got nothing\.$/)
      }
    }))

  it.effect("is refused where others reach it, unless it is said in so many words", () =>
    Effect.gen(function*() {
      for (const host of ["0.0.0.0", "::", "10.0.0.1", "127.evil.example", "hub.example"]) {
        const { message } = yield* Effect.flip(development({ HUB_HOST: host }))
        assert.notInclude(message, "\n")
        assert.match(message, /^HUB_HOST: .* can be reached from other machines.*--client-insecure/)
        assert.deepStrictEqual(yield* development({ HUB_HOST: host, HUB_CLIENT_INSECURE: "true" }), [true, true])
        assert.deepStrictEqual(yield* development({ HUB_HOST: host, HUB_CLIENT_ALLOW_ANONYMOUS: "true" }), [
          false,
          false
        ])
      }
    }))
})

describe("gen-config", () => {
  for (const [format, parse] of [["yaml", parseYaml], ["json", parseJson]] as const) {
    it.effect(`--format ${format} prints what passes check-config, with secrets of its own`, () =>
      Effect.gen(function*() {
        const once = Effect.flatMap(
          GenConfig.config(flags({ "--format": format })),
          (text) => load(new Map(), {}, parse(`hub.${format}`, text))
        )
        const [first, second] = [yield* once, yield* once]
        const secrets = [first, second].flatMap(({ apiKeys, client: { token } }) =>
          [...apiKeys, ...(token.hmacSecret === undefined ? [] : [token.hmacSecret])].map(Redacted.value)
        )
        assert.strictEqual(new Set(secrets).size, 4)
        for (const secret of secrets) assert.isAtLeast(secret.length, 64)
        assert.isFalse(first.development || first.client.insecure)
        assert.deepStrictEqual(Object.keys(first.namespaces.namespaces ?? {}), ["news"])
      }))
  }
})

describe("gen-token", () => {
  const secret = "s3cret-of-the-hub"
  const token = (given: Parameters<typeof flags>[0], environment: Readonly<Record<string, string>> = {}) =>
    Effect.flatMap(
      load(new Map(), { HUB_CLIENT_TOKEN_HMAC_SECRET: secret, ...environment }),
      ({ client }) => GenToken.token(client, flags(given))
    )

  const claims = (jwt: string) =>
    Effect.map(
      Effect.promise(() => jwtVerify(jwt, new TextEncoder().encode(secret), { currentDate: new Date(1000 * 1000) })),
      ({ payload }) => payload
    )

  it.effect("signs who the client is, until when, and its channels", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(1000 * 1000)
      const jwt = yield* token({ "--user": "ada", "--channels": ["room#ada,bob", "news:b"], "--ttl": "1 minute" }, {
        HUB_CLIENT_TOKEN_AUDIENCE: "hub",
        HUB_CLIENT_TOKEN_ISSUER: "app"
      })
      assert.deepStrictEqual(decodeProtectedHeader(jwt), { alg: "HS256", typ: "JWT" })
      assert.deepStrictEqual(yield* claims(jwt), {
        sub: "ada",
        iat: 1000,
        exp: 1060,
        channels: ["room#ada,bob", "news:b"],
        aud: "hub",
        iss: "app"
      })
      const subscription = yield* token({ "--user": "ada", "--channel": "$a", "--ttl": "0" })
      assert.deepStrictEqual(yield* claims(subscription), { sub: "ada", iat: 1000, channel: "$a" })
      assert.strictEqual((yield* claims(yield* token({}))).exp, 4600)
    }))

  it.effect("is valid for as long as it takes, in whole seconds", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(1000 * 1000)
      const exp = (ttl: string) => Effect.map(Effect.flatMap(token({ "--ttl": ttl }), claims), ({ exp }) => exp)
      assert.strictEqual(yield* exp("30 days"), 1000 + 30 * 86_400)
      assert.strictEqual(yield* exp("36525 days"), 1000 + 36_525 * 86_400)
      assert.strictEqual(yield* exp("1.1 hours"), 1000 + 3960)
      assert.strictEqual(yield* exp("2000"), 1002)
      assert.strictEqual(yield* exp("0 days"), undefined)
      for (
        const ttl of ["36526 days", "1.5 seconds", "1", "-1 days", "Infinity", "0.00000000001 seconds", "0.4 nanos"]
      ) {
        const { message } = yield* Effect.flip(token({ "--ttl": ttl }))
        assert.strictEqual(
          message,
          "--ttl: expected a duration of whole seconds such as \"30 days\", at most 36525 days, " +
            `or 0 for a token that does not expire, got "${ttl}".`
        )
      }
    }))

  it.effect("says what is missing or wrong, and never the secret", () =>
    Effect.gen(function*() {
      const message = (given: Readonly<Record<string, string>>) =>
        Effect.map(Effect.flip(token(given)), ({ message }) => message)
      assert.match(yield* message({ "--ttl": "soon" }), /^--ttl: expected a duration .*, got "soon"\.$/)
      assert.match(yield* message({ "--channel": "a", "--channels": "b" }), /^--channels: /)
      const { client } = yield* load(new Map(), {})
      const { message: missing } = yield* Effect.flip(GenToken.token(client, new Map()))
      assert.match(missing, /^client\.token\.hmacSecret is not set.*HUB_CLIENT_TOKEN_HMAC_SECRET\.$/)
    }))
})
