/** What check-config accepts can be served, and what it refuses is named: for each setting, and for any few of them. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as fc from "effect/FastCheck"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import { generateKeyPairSync } from "node:crypto"
import * as Server from "../../src/server/Server.js"
import { check } from "../../src/server/ServerConfig.js"
import { settings } from "../../src/server/Settings.js"
import { type Environment, join } from "../../src/server/Sources.js"

const pem = (length: number) =>
  generateKeyPairSync("rsa", { modulusLength: length }).publicKey.export({ type: "spki", format: "pem" }).toString()

const [rsa, weak] = [pem(2048), pem(1024)]
const ec = generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey.export({ type: "spki", format: "pem" })
  .toString()

/** What was logged, or why it is refused. */
const verdict = (environment: Environment) =>
  Effect.gen(function*() {
    const lines: Array<string> = []
    const logger = Logger.make(({ message }) => {
      lines.push(String(message))
    })
    const { config } = yield* check(join(new Map(), environment, undefined))
    // What was accepted is served: a failure from here on is one of the test.
    yield* Layer.build(Server.layer({ ...config, port: 0 }, "1.2.3")).pipe(
      Effect.scoped,
      Effect.withConsole({ ...yield* Effect.console, log: () => Effect.void }),
      Effect.provide(Logger.replace(Logger.defaultLogger, logger)),
      Effect.orDie
    )
    return lines
  }).pipe(Effect.mapError(({ message }) => message.split("\n")), Effect.either)

const open = { HUB_CLIENT_ALLOW_ANONYMOUS: "true" }
const secret = { HUB_CLIENT_TOKEN_HMAC_SECRET: "a secret that is long enough for all" }
const jwks = { HUB_CLIENT_TOKEN_JWKS_URL: "https://keys.example/jwks.json" }
const news = (options: unknown, more: object = {}) => ({
  ...open,
  HUB_CHANNELS: JSON.stringify({ namespaces: { news: options }, ...more })
})

const accepted: ReadonlyArray<Environment> = [
  {},
  open,
  secret,
  jwks,
  { HUB_CLIENT_TOKEN_RSA_PUBLIC_KEY: rsa, HUB_CLIENT_TOKEN_ECDSA_PUBLIC_KEY: ec },
  { ...secret, ...jwks, HUB_CLIENT_TOKEN_AUDIENCE: "hub", HUB_CLIENT_TOKEN_ISSUER: "app" },
  { HUB_API_KEYS: "k", HUB_CLIENT_ALLOW_ANONYMOUS: "true" },
  { HUB_API_KEYS: "k", HUB_CLIENT_INSECURE: "true" },
  { HUB_CLIENT_PONG_TIMEOUT: "0" },
  { HUB_HANDSHAKE_TIMEOUT: "1 micro" },
  { HUB_HANDSHAKE_TIMEOUT: "1001" },
  { HUB_CLIENT_PING_INTERVAL: "0" },
  { HUB_CLIENT_QUEUE_MAX_SIZE: "5", HUB_OUTBOX_BYTES: "5" },
  { HUB_CLIENT_CHANNEL_LIMIT: "0" },
  { HUB_CLIENT_PRESENCE_INTERVAL: "1 second", HUB_CLIENT_PRESENCE_TTL: "2 seconds" },
  news({ coalesceWindow: 0, historyTtl: "1 hour", historySize: 1, forceRecovery: true }),
  news({ coalesceWindow: "1 milli", channelRegex: "^a" }),
  { HUB_TELEMETRY_OTLP_URL: "http://127.0.0.1:1", HUB_TELEMETRY_HEADERS: "authorization=pa55word" },
  { ...news({}), HUB_CLIENT_PERSONAL_CHANNEL_ENABLED: "true", HUB_CLIENT_PERSONAL_CHANNEL_NAMESPACE: "news" },
  { ...open, HUB_CLIENT_PERSONAL_CHANNEL_ENABLED: "false", HUB_CLIENT_PERSONAL_CHANNEL_SINGLE_CONNECTION: "false" }
]

const refused: ReadonlyArray<readonly [environment: Environment, name: string]> = [
  [{ HUB_API_KEYS: "k" }, "HUB_CLIENT_TOKEN_HMAC_SECRET"],
  [{ HUB_CHANNELS: "{}" }, "HUB_CLIENT_TOKEN_HMAC_SECRET"],
  [{ HUB_CLIENT_INSECURE: "false" }, "HUB_CLIENT_TOKEN_HMAC_SECRET"],
  [{ HUB_CLIENT_TOKEN_AUDIENCE: "x" }, "HUB_CLIENT_TOKEN_HMAC_SECRET"],
  [{ ...open, HUB_CLIENT_TOKEN_AUDIENCE: "x" }, "HUB_CLIENT_TOKEN_AUDIENCE"],
  [{ ...open, HUB_CLIENT_TOKEN_ISSUER: "x" }, "HUB_CLIENT_TOKEN_ISSUER"],
  [{ HUB_CLIENT_TOKEN_HMAC_SECRET: rsa }, "HUB_CLIENT_TOKEN_HMAC_SECRET"],
  [{ HUB_CLIENT_TOKEN_RSA_PUBLIC_KEY: weak }, "HUB_CLIENT_TOKEN_RSA_PUBLIC_KEY"],
  [{ HUB_CLIENT_TOKEN_RSA_PUBLIC_KEY: ec }, "HUB_CLIENT_TOKEN_RSA_PUBLIC_KEY"],
  [{ ...jwks, HUB_CLIENT_TOKEN_RSA_PUBLIC_KEY: rsa }, "HUB_CLIENT_TOKEN_RSA_PUBLIC_KEY"],
  [{ HUB_CLIENT_TOKEN_JWKS_URL: "https://user:pa55word@keys.example" }, "HUB_CLIENT_TOKEN_JWKS_URL"],
  [{ HUB_CLIENT_TOKEN_JWKS_URL: "https://:" }, "HUB_CLIENT_TOKEN_JWKS_URL"],
  [{ HUB_CLIENT_PING_INTERVAL: "30500" }, "HUB_CLIENT_PING_INTERVAL"],
  [{ HUB_CLIENT_PONG_TIMEOUT: "25 seconds" }, "HUB_CLIENT_PONG_TIMEOUT"],
  [{ HUB_CLIENT_STALE_TIMEOUT: "0" }, "HUB_CLIENT_STALE_TIMEOUT"],
  [{ HUB_CLIENT_PRESENCE_INTERVAL: "60 seconds" }, "HUB_CLIENT_PRESENCE_TTL"],
  [{ HUB_CLIENT_QUEUE_MAX_SIZE: "5", HUB_OUTBOX_BYTES: "6" }, "HUB_CLIENT_QUEUE_MAX_SIZE"],
  [{ HUB_CLIENT_QUEUE_MAX_SIZE: "0" }, "HUB_CLIENT_QUEUE_MAX_SIZE"],
  [{ HUB_TELEMETRY_OTLP_URL: "https://user:pa55word@otlp.example" }, "HUB_TELEMETRY_OTLP_URL"],
  [{ HUB_TELEMETRY_HEADERS: "authorization=pa55word" }, "HUB_TELEMETRY_HEADERS"],
  [{ HUB_HEARTBEAT_TIMEOUT: "0" }, "HUB_HEARTBEAT_TIMEOUT"],
  [{ ...open, HUB_CLIENT_PERSONAL_CHANNEL_ENABLED: "true" }, "HUB_CLIENT_PERSONAL_CHANNEL_NAMESPACE"],
  [{ ...news({}), HUB_CLIENT_PERSONAL_CHANNEL_NAMESPACE: "news" }, "HUB_CLIENT_PERSONAL_CHANNEL_NAMESPACE"],
  [{ ...open, HUB_CLIENT_PERSONAL_CHANNEL_SINGLE_CONNECTION: "true" }, "HUB_CLIENT_PERSONAL_CHANNEL_SINGLE_CONNECTION"],
  [news({ coalesceWindow: "1 micro" }), "HUB_CHANNELS: namespaces.news.coalesceWindow"],
  [news({ forceRecovery: true }), "HUB_CHANNELS: namespaces.news.forceRecovery"],
  [news({ historyTtl: "5 minuets" }), "HUB_CHANNELS: namespaces.news.historyTtl"],
  [news({}, { withoutNamespace: { overflow: "conflate", forcePositioning: true } }), "HUB_CHANNELS: withoutNamespace"],
  [{ ...open, HUB_CHANNELS: "{\"namespaces\":{\"n\":{}}}" }, "HUB_CHANNELS: namespaces.n"]
]

/** Values for any setting; most are wrong for most. */
const texts = [
  "0",
  "1",
  "5",
  "1000",
  "30500",
  "true",
  "false",
  "off",
  "1 micro",
  "1 second",
  "1 hour",
  "24 days",
  "news"
]

const own: Readonly<Record<string, ReadonlyArray<string>>> = {
  HUB_HOST: ["127.0.0.1", "::1"],
  HUB_CLIENT_TOKEN_RSA_PUBLIC_KEY: [rsa, weak, ec],
  HUB_CLIENT_TOKEN_ECDSA_PUBLIC_KEY: [rsa, ec],
  HUB_CLIENT_TOKEN_JWKS_URL: ["https://keys.example", "https://a:b@keys.example", "https://:"],
  HUB_CHANNELS: [
    "{}",
    "{\"withoutNamespace\":{\"forceRecovery\":true}}",
    "{\"namespaces\":{\"news\":{\"coalesceWindow\":\"1 micro\"}}}",
    "{\"namespaces\":{\"news\":{\"historySize\":1,\"historyTtl\":1,\"allowRecovery\":true}}}"
  ]
}

/** Other machines, and other programs, are not for this test. */
const varied = settings.filter(({ path }) => path[0] !== "broker" && path.at(-1) !== "port")

const environments = fc.tuple(
  fc.constantFrom<Environment>({}, open, secret, { HUB_CLIENT_INSECURE: "true" }),
  fc.array(
    fc.constantFrom(...varied).chain(({ variable }) =>
      fc.tuple(fc.constant(variable), fc.constantFrom(...(own[variable] ?? texts)))
    ),
    { maxLength: 4 }
  )
).map(([base, more]): Environment => ({ ...base, ...Object.fromEntries(more) }))

describe("check-config and serve agree", () => {
  it.live.each(accepted)(
    "%j is accepted and served",
    (environment) =>
      Effect.map(verdict(environment), (found) => assert.isTrue(Either.isRight(found), JSON.stringify(found)))
  )

  it.live.each(refused)("%j is refused by name: %s", ([environment, name]) =>
    Effect.gen(function*() {
      const lines = Either.getOrThrow(Either.flip(yield* verdict(environment)))
      assert.isTrue(lines.some((line) => line.startsWith(name)), lines.join("\n"))
      for (const line of lines) assert.notInclude(line, "pa55word")
    }))

  it.live("whatever is accepted is served, and whatever is refused is named", () =>
    Effect.promise(() => {
      const count = { accepted: 0, refused: 0 }
      return fc.assert(
        fc.asyncProperty(environments, async (environment) => {
          const found = await Effect.runPromise(verdict(environment))
          if (Either.isRight(found)) {
            count.accepted++
            return
          }
          count.refused++
          for (const line of found.left) assert.match(line, /^HUB_[A-Z0-9_]+: /)
        }),
        { numRuns: 300 }
      ).then(() => assert.isAbove(Math.min(count.accepted, count.refused), 30))
    }))

  it.live("without an API key there is no API, and one line says so", () =>
    Effect.gen(function*() {
      const about = (environment: Environment) =>
        Effect.map(
          verdict(environment),
          (found) => Either.getOrThrow(found).filter((line) => line.includes("HTTP API"))
        )
      assert.deepStrictEqual(yield* about(open), [
        "no HTTP API, since no API key is configured: HUB_API_KEYS or --api-key"
      ])
      assert.deepStrictEqual(yield* about({ ...open, HUB_API_KEYS: "k" }), [])
    }))
})
