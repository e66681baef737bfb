import { assert, describe, it } from "@effect/vitest"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as fc from "effect/FastCheck"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { generateKeyPairSync } from "node:crypto"
import { readFileSync } from "node:fs"
import { inspect } from "node:util"
import { NamespaceOptions } from "../../src/channels/Namespace.js"
import * as Tokens from "../../src/channels/Tokens.js"
import { Configuration } from "../../src/server/Configuration.js"
import * as JsonSchema from "../../src/server/JsonSchema.js"
import * as LibraryOptions from "../../src/server/LibraryOptions.js"
import { check } from "../../src/server/ServerConfig.js"
import { type Setting, settings } from "../../src/server/Settings.js"
import { type Environment, type Flags, join } from "../../src/server/Sources.js"
import * as Summary from "../../src/server/Summary.js"
import { accepts } from "./jsonSchema.js"

const nested = (path: ReadonlyArray<string>, value: unknown): unknown =>
  path.reduceRight((inner, key) => ({ [key]: inner }), value)

const load = (flags: Flags, environment: Environment, value?: unknown) =>
  check(join(flags, environment, value === undefined ? undefined : { name: "hub.json", value, problems: [] }))

/** With secrets in the clear, so that equality sees them. */
const plain = (value: unknown): unknown =>
  Redacted.isRedacted(value)
    ? { secret: Redacted.value(value) }
    : Array.isArray(value)
    ? value.map(plain)
    : typeof value === "object" && value !== null
    ? Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]))
    : value

const pem = (type: "rsa" | "ec" | "ed25519"): string => {
  const pair = type === "rsa"
    ? generateKeyPairSync("rsa", { modulusLength: 2048 })
    : type === "ec"
    ? generateKeyPairSync("ec", { namedCurve: "P-256" })
    : generateKeyPairSync("ed25519")
  return pair.publicKey.export({ type: "spki", format: "pem" }).toString().trim()
}

const keys = { rsaPublicKey: "rsa", ecdsaPublicKey: "ec", ed25519PublicKey: "ed25519" } as const

/** Three values that a setting may have, as a variable says them and as a file does. */
const values = (setting: Setting): ReadonlyArray<readonly [text: string, value: unknown]> => {
  const key = setting.path.at(-1) ?? ""
  const three = (make: (n: number) => readonly [string, unknown]) => [1, 2, 3].map(make)
  const same = (...texts: ReadonlyArray<string>) => texts.map((text) => [text, text] as const)
  if (key in keys) return [1, 2, 3].flatMap(() => same(pem(keys[key as keyof typeof keys])))
  if (key === "host") return same("127.0.0.1", "127.0.0.2", "127.0.0.3")
  if (key === "allowedOrigins") return three((n) => [`https://${n}.example`, [`https://${n}.example`]])
  if (key === "trustedProxies") return three((n) => [`10.0.0.${n},::${n}/64`, [`10.0.0.${n}`, `::${n}/64`]])
  if (key === "jwksUrl") return same("https://1.example/keys", "https://2.example", "http://3.example/")
  if (key === "overflow") return same("conflate", "drop-newest", "drop-oldest")
  if (key === "rateLimit") return same("drop", "close", "drop")
  if (key === "type") return same("redis", "memory", "redis")
  if (key === "whileUnavailable") return same("serve", "refuse", "serve")
  if (key === "url") return three((n) => [`redis://:secret@${n}.example`, `redis://:secret@${n}.example`])
  if (["urls", "cluster"].includes(key)) {
    return three((n) => [`redis://${n}.example, redis://b.example`, [`redis://${n}.example`, "redis://b.example"]])
  }
  if (key === "otlpUrl") return same("http://127.0.0.1:4318", "https://otlp.example", "https://otlp.example/hub")
  if (key === "headers") return three((n) => [`a=${n}, b=c=d`, [`a=${n}`, "b=c=d"]])
  if (key === "nodeTimeout") return three((n) => [`${n} seconds`, n * 1000])
  if (key === "namespace") return same("news", "sport", "chat_1")
  if (["pingInterval", "presenceTtl"].includes(key)) return three((n) => [`${n} minutes`, n * 60_000])
  switch (setting.kind) {
    case "boolean":
      return [["true", true], ["false", false], ["true", true]]
    case "list":
      return three((n) => [`first${n},second`, [`first${n}`, "second"]])
    case "json":
      return three((n) => [`{"withoutNamespace":{"publishRate":${n}}}`, { withoutNamespace: { publishRate: n } }])
    case "text":
      return three((n) => [`value-${n}`, `value-${n}`])
    case "number":
      return three((n) => [String(n), n])
  }
}

/** What a setting of the broker, of traces or of personal channels needs beside it. */
const beside = ({ path: [section, ...path] }: Setting): Environment => {
  const key = path.join(".")
  if (/^personalChannel\.(?!enabled)/.test(key)) return { HUB_CLIENT_PERSONAL_CHANNEL_ENABLED: "true" }
  if (section === "telemetry" && key !== "otlpUrl") return { HUB_TELEMETRY_OTLP_URL: "http://127.0.0.1:4318" }
  return section !== "broker" ? {} : {
    ...(key === "type" ? {} : { HUB_BROKER_TYPE: "redis" }),
    ...(key === "sentinel.name" ? { HUB_BROKER_SENTINEL_URLS: "redis://a.example" } : {}),
    ...(key === "sentinel.urls" ? { HUB_BROKER_SENTINEL_NAME: "a" } : {})
  }
}

/** Somebody can connect, whatever the setting is. */
const access = ({ path }: Setting): Environment =>
  path.at(-1) === "hmacSecret"
    ? { HUB_CLIENT_ALLOW_ANONYMOUS: "true" }
    : { HUB_CLIENT_TOKEN_HMAC_SECRET: "a secret that is long enough for all" }

describe("precedence", () => {
  it.effect.each(settings)(
    "$variable: a flag wins over a variable, that over the file, that over the default",
    (setting) =>
      Effect.gen(function*() {
        const base: Environment = setting.kind === "json" ? access(setting) : {
          ...access(setting),
          ...beside(setting),
          HUB_CHANNELS: "{\"withoutNamespace\":{}, \"namespaces\":{\"news\":{},\"sport\":{},\"chat_1\":{}}}"
        }
        const effective = (given: {
          readonly flag?: string | undefined
          readonly variable?: string | undefined
          readonly file?: unknown
        }) =>
          load(
            new Map(
              given.flag === undefined
                ? []
                : [[setting.variable, setting.list ? given.flag.split(/, */) : [given.flag]]]
            ),
            given.variable === undefined ? base : { ...base, [setting.variable]: given.variable },
            given.file === undefined ? undefined : nested(setting.path, given.file)
          )
        const all = values(setting)
        for (const start of [0, 1, 2]) {
          const [a, b, c] = [0, 1, 2].map((n) => all[(start + n) % 3] ?? ["", ""])
          const told = [
            yield* effective({ flag: a?.[0], variable: b?.[0], file: c?.[1] }),
            yield* effective({ variable: a?.[0], file: b?.[1] }),
            yield* effective({ file: a?.[1] })
          ]
          const alone = plain((yield* effective({ flag: a?.[0] })).config)
          assert.deepStrictEqual(told.map(({ config }) => plain(config)), [alone, alone, alone])
          assert.deepStrictEqual(told.map(({ sourceAt }) => sourceAt(setting.path)?.label), [
            setting.flag,
            setting.variable,
            "hub.json"
          ])
        }
        const configs = yield* Effect.forEach(all, ([flag]) => effective({ flag }))
        const texts = configs.map(({ config }) => JSON.stringify(plain(config)))
        assert.isAbove(new Set(texts).size, 1, "the setting changes something")
      })
  )

  it("every flag and variable is there once", () => {
    for (const names of [settings.map(({ flag }) => flag), settings.map(({ variable }) => variable)]) {
      assert.strictEqual(new Set(names).size, settings.length)
    }
    const variables = new Map(settings.map(({ path, variable }) => [path.join("."), variable]))
    assert.strictEqual(variables.get("client.token.hmacSecret"), "HUB_CLIENT_TOKEN_HMAC_SECRET")
    assert.strictEqual(variables.get("client.token.ed25519PublicKey"), "HUB_CLIENT_TOKEN_ED25519_PUBLIC_KEY")
    assert.strictEqual(variables.get("api.keys"), "HUB_API_KEYS")
    assert.strictEqual(variables.get("channels"), "HUB_CHANNELS")
  })
})

describe("the summary", () => {
  const summary = (environment: Environment, file?: unknown) =>
    Effect.map(load(new Map(), { HUB_CLIENT_ALLOW_ANONYMOUS: "true", ...environment }, file), Summary.lines)

  it.effect("shows what follows from another setting, and from which", () =>
    Effect.gen(function*() {
      assert.includeMembers([...yield* summary({ HUB_CLIENT_QUEUE_MAX_SIZE: "5000", HUB_MESSAGES_PER_SECOND: "5" })], [
        "client.queueMaxSize = 5000 [HUB_CLIENT_QUEUE_MAX_SIZE]",
        "limits.outboxBytes = 5000 [client.queueMaxSize: HUB_CLIENT_QUEUE_MAX_SIZE]",
        "limits.messageBurst = 10 [limits.messagesPerSecond: HUB_MESSAGES_PER_SECOND]"
      ])
      assert.includeMembers([
        ...yield* summary({ HUB_MESSAGE_BURST: "7" }, { limits: { outboxBytes: 6000, messagesPerSecond: 5 } })
      ], [
        "client.queueMaxSize = 6000 [limits.outboxBytes: hub.json]",
        "limits.outboxBytes = 6000 [hub.json]",
        "limits.messageBurst = 7 [HUB_MESSAGE_BURST]"
      ])
      assert.includeMembers([...yield* summary({ HUB_MESSAGES_PER_SECOND: "off" })], [
        "client.queueMaxSize = 1048576 [default]",
        "limits.outboxBytes = 1048576 [default]",
        "limits.messageBurst = 2000 [default]"
      ])
    }))

  it.effect("shows what lists and texts with nothing in them mean", () =>
    Effect.gen(function*() {
      const personalChannel = { enabled: true, namespace: "" }
      const file = {
        http: { allowedOrigins: [], trustedProxies: [] },
        api: { keys: [] },
        client: { personalChannel },
        channels: { withoutNamespace: {} }
      }
      assert.includeMembers([...yield* summary({}, file)], [
        "http.allowedOrigins = same origin [hub.json]",
        "http.trustedProxies = none [hub.json]",
        "api.keys = none [hub.json]",
        "client.personalChannel.namespace = none [hub.json]"
      ])
      assert.include(
        yield* summary({ HUB_ALLOWED_ORIGINS: "https://A.example:443,any" }),
        "http.allowedOrigins = any [HUB_ALLOWED_ORIGINS]"
      )
      const onlyHere = "http.allowedOrigins = same origin, and of this machine"
      assert.include(Summary.lines(yield* load(new Map(), {})), `${onlyHere} [client.insecure]`)
      assert.include(
        yield* summary({ HUB_CLIENT_INSECURE: "true" }, { http: { allowedOrigins: [] } }),
        `${onlyHere} [hub.json]`
      )
      assert.include(
        yield* summary({ HUB_CLIENT_INSECURE: "true", HUB_HOST: "0.0.0.0" }),
        "http.allowedOrigins = same origin [default]"
      )
    }))

  it.effect("ends with the warnings of serve", () =>
    Effect.gen(function*() {
      for (const secret of ["x".repeat(31), "x".repeat(32)]) {
        const loaded = yield* load(new Map(), { HUB_CLIENT_TOKEN_HMAC_SECRET: secret })
        const logged: Array<unknown> = []
        const logger = Logger.make(({ message }) => void logged.push(...Arr.ensure(message)))
        yield* Tokens.make(LibraryOptions.tokens(loaded.config)).pipe(
          Effect.scoped,
          Effect.provide(Logger.replace(Logger.defaultLogger, logger))
        )
        assert.strictEqual(logged.length, secret.length < 32 ? 1 : 0)
        assert.deepStrictEqual(Summary.lines(loaded).slice(settings.length), logged)
      }
    }))
})

describe("secrets", () => {
  const secret = "s3cret-of-the-hub"
  const secrets = settings.filter((setting) => setting.secret)

  it("are these", () => {
    assert.deepStrictEqual(secrets.map(({ path }) => path.join(".")), [
      "client.token.hmacSecret",
      "api.keys",
      "broker.url",
      "broker.urls",
      "broker.cluster",
      "broker.sentinel.urls",
      "broker.password",
      "telemetry.headers"
    ])
  })

  it.effect.each(secrets)(
    "$variable is in no summary, no inspection and no complaint",
    (setting) =>
      Effect.gen(function*() {
        // An address has the password in it.
        const right = setting.placeholder === "URL"
          ? `redis://:${secret}@example`
          : setting.placeholder === "NAME=VALUE"
          ? `authorization=${secret}`
          : secret
        const base = { ...access(setting), ...beside(setting) }
        const results = [
          yield* load(new Map([[setting.variable, [right]]]), base),
          yield* load(new Map(), { ...base, [setting.variable]: right }),
          yield* load(new Map(), base, nested(setting.path, setting.list ? [right] : right))
        ]
        for (const result of results) {
          const { config, sourceAt } = result
          assert.include(JSON.stringify(plain(config)), secret)
          const shown = [...Summary.lines(result), inspect(config, { depth: 9 }), JSON.stringify(config)]
          for (const text of shown) assert.notInclude(text, secret)
          assert.isTrue(shown.includes(`${setting.path.join(".")} = (hidden) [${sourceAt(setting.path)?.label}]`))
        }
        const wrong = [
          ...(setting.placeholder === "URL"
            ? [secret, [secret], `redis:/${secret}`, [`http://:${secret}@example`]]
            : []),
          ...(setting.path.at(-1) === "hmacSecret" ? [`-----BEGIN PRIVATE KEY-----\n${secret}`] : []),
          [secret, 1],
          { [secret]: secret },
          { key: secret },
          [[secret]]
        ]
        for (const value of wrong) {
          const { message } = yield* Effect.flip(load(new Map(), base, nested(setting.path, value)))
          assert.notInclude(message, secret)
        }
      })
  )
})

const pool: ReadonlyArray<unknown> = [
  ...[true, false, 0, 1, 1.5, -1, 65535, 65536, 2 ** 31, 2 ** 53, null, "", " ", "true", "1", "off", "any", "a b"],
  ...["10 seconds", "1.5 hours", "-1 seconds", "10 s", "soon", " 10 seconds", "close", "drop", "conflate", "stream"],
  ...["127.0.0.1", "10.0.0.0/8", "https://app.example", "https://app.example/", "http://a b", "news", "x", "a.b"],
  ...[[], {}, [1], [""], ["k"], ["any", "https://a.example"], ["10.0.0.1"], { x: 1 }, { enabled: true }],
  "-----BEGIN PUBLIC KEY-----\nx",
  "-----BEGIN PRIVATE KEY-----\nx"
]

/** A pattern must be a regular expression, which no editor checks: the pool has one in every text that is given here. */
const namespaceKeys = Object.keys(NamespaceOptions.fields)

const merge = (a: unknown, b: unknown): unknown =>
  typeof a === "object" && typeof b === "object" && a !== null && b !== null && !Array.isArray(a) && !Array.isArray(b)
    ? Object.entries(b).reduce<Record<string, unknown>>(
      (sum, [key, value]) => ({ ...sum, [key]: key in sum ? merge(sum[key], value) : value }),
      { ...a }
    )
    : b

const one = fc.oneof(
  fc.tuple(fc.constantFrom(...settings.map(({ path }) => path)), fc.constantFrom(...pool)),
  fc.tuple(
    fc.constantFrom(["$schema"], ["port"], ["http"], ["client", "token"], ["client", "tokens"], ["api", "key"], []),
    fc.constantFrom(...pool)
  ),
  fc.tuple(
    fc.tuple(
      fc.constantFrom(["withoutNamespace"], ["namespaces", "news"], ["namespaces", "x"], ["namespaces", "a-_1"]),
      fc.constantFrom(...namespaceKeys, "presense")
    ).map(([at, key]) => ["channels", ...at, key]),
    fc.constantFrom(...pool)
  )
).map(([path, value]) => nested(path, value))

const sample = fc.array(one, { minLength: 1, maxLength: 3 }).map((parts) => parts.reduce(merge, {}))

describe("hub.schema.json", () => {
  const schema = readFileSync(new URL("../../hub.schema.json", import.meta.url), "utf8")

  it("is what the schema says: npm run schema", () => {
    assert.strictEqual(schema, JsonSchema.text())
  })

  it("takes what the loader takes, and nothing else", () => {
    const decode = Schema.decodeUnknownEither(Configuration, { onExcessProperty: "error" })
    const taken = { yes: 0, no: 0 }
    fc.assert(
      fc.property(sample, (value) => {
        const expected = Either.isRight(decode(value))
        taken[expected ? "yes" : "no"]++
        assert.strictEqual(accepts(JSON.parse(schema), value), expected, JSON.stringify(value))
      }),
      { numRuns: 6000 }
    )
    assert.isAbove(Math.min(taken.yes, taken.no), 100)
  })

  it.effect("takes the shape that a configuration was asked to have, as the program does", () =>
    Effect.gen(function*() {
      const shape = {
        http: { host: "127.0.0.1", port: 8000, allowedOrigins: ["https://app.example"] },
        client: {
          allowAnonymous: false,
          insecure: false,
          token: {
            hmacSecret: "0123456789abcdef0123456789abcdef",
            jwksUrl: "https://id.example/jwks.json",
            audience: "hub",
            issuer: "https://id.example"
          },
          pingInterval: "25 seconds",
          pongTimeout: "8 seconds",
          channelLimit: 128,
          queueMaxSize: 1048576,
          personalChannel: { enabled: false, namespace: "" }
        },
        limits: {
          connections: 100000,
          connectionsPerAddress: 0,
          messageBytes: 65536,
          messagesPerSecond: 1000,
          handshakeTimeout: "10 seconds",
          drainDeadline: "10 seconds"
        },
        api: { keys: ["0123456789abcdef0123456789abcdef"] },
        channels: {
          withoutNamespace: {
            presence: true,
            joinLeave: true,
            historySize: 100,
            historyTtl: "300 seconds",
            forceRecovery: true
          },
          namespaces: { news: { historySize: 10, historyTtl: "60 seconds", allowSubscribeForClient: true } }
        }
      }
      assert.isTrue(accepts(JSON.parse(schema), shape))
      const { config } = yield* load(new Map(), {}, shape)
      assert.strictEqual(config.port, 8000)
      assert.strictEqual(config.hub.connectionsPerAddress, Infinity)
    }))

  it("takes the defaults of all settings that a value is given for above", () => {
    for (const setting of settings) {
      for (const [, value] of values(setting)) {
        assert.isTrue(accepts(JSON.parse(schema), nested(setting.path, value)), setting.variable)
      }
    }
  })
})
