import { assert, describe, it } from "@effect/vitest"
import { Effect, Either, Encoding, FastCheck as fc, Logger, LogLevel, Option, Redacted, TestClock } from "effect"
import * as Jose from "jose"
import { generateKeyPairSync } from "node:crypto"
import { createServer } from "node:http"
import { vi } from "vitest"
import { Authenticator, type ConnectRequest } from "../../src/channels/Authenticator.js"
import { Faults } from "../../src/channels/Faults.js"
import { ProtocolError } from "../../src/channels/ProtocolCode.js"
import * as Tokens from "../../src/channels/Tokens.js"
import * as TokenSigner from "../../src/channels/TokenSigner.js"
import type { Disconnect, InvalidOption } from "../../src/core/HubError.js"

const runs = process.env.TEST_LONG === undefined ? 200 : 2000

const hmac = "a secret of this test, and of nothing else"
const hmacSecret = Redacted.make(hmac)
const hmacKey = new TextEncoder().encode(hmac)

/** Signs any text, so that a payload may be what no library would make. */
const signText = (key: Parameters<Jose.CompactSign["sign"]>[0], alg: string, payload: string, kid?: string) =>
  Effect.promise(() =>
    new Jose.CompactSign(new TextEncoder().encode(payload))
      .setProtectedHeader({ alg, ...(kid === undefined ? {} : { kid }) })
      .sign(key)
  )

const sign = (claims: unknown) => signText(hmacKey, "HS256", JSON.stringify(claims))

const connecting = (token: string): ConnectRequest => ({
  token,
  data: undefined,
  name: "js",
  version: "",
  headers: new Map(),
  client: "c1",
  handshake: {
    url: "/",
    headers: {},
    remoteAddress: Option.none(),
    subprotocol: Option.none(),
    principal: undefined
  }
})

/** The value, or the code: "error 109", "close 3500". */
const outcome = <A>(effect: Effect.Effect<A, ProtocolError | Disconnect>) =>
  Effect.map(Effect.either(effect), (result) =>
    Either.isRight(result)
      ? result.right
      : `${result.left._tag === "ProtocolError" ? "error" : "close"} ${result.left.code}`)

type Service = Authenticator["Type"]

const connect = (service: Service, token: string) => outcome(service.connect(connecting(token)))

const user = (service: Service, token: string) =>
  Effect.map(connect(service, token), (result) => typeof result === "string" ? result : `user ${result.user}`)

const subscribe = (service: Service, token: string, request: Partial<Parameters<Service["subscribe"]>[1]> = {}) =>
  outcome(service.subscribe(token, { channel: "news", user: "ada", client: "c1", ...request }))

const secretly = (options?: Tokens.TokensOptions) => Tokens.make({ hmacSecret, ...options })

const pair = (alg: string) => Effect.promise(() => Jose.generateKeyPair(alg, { extractable: true }))

const pem = (alg: string) =>
  Effect.gen(function*() {
    const keys = yield* pair(alg)
    return { ...keys, pem: yield* Effect.promise(() => Jose.exportSPKI(keys.publicKey)) }
  })

const families = Effect.gen(function*() {
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 })
  const pkcs8 = rsa.privateKey.export({ format: "pem", type: "pkcs8" }).toString()
  const rsaPublicKey = rsa.publicKey.export({ format: "pem", type: "spki" }).toString()
  const rsaPrivate = (alg: string) => Effect.promise(() => Jose.importPKCS8(pkcs8, alg))
  const [p256, p384, p521, ed] = yield* Effect.all([pem("ES256"), pem("ES384"), pem("ES512"), pem("EdDSA")])
  return [
    {
      options: { hmacSecret },
      signers: [["HS256", hmacKey], ["HS384", hmacKey], ["HS512", hmacKey]]
    },
    {
      options: { rsaPublicKey },
      signers: [
        ["RS256", yield* rsaPrivate("RS256")],
        ["RS384", yield* rsaPrivate("RS384")],
        ["RS512", yield* rsaPrivate("RS512")]
      ]
    },
    { options: { ecdsaPublicKey: p256.pem }, signers: [["ES256", p256.privateKey]] },
    { options: { ecdsaPublicKey: p384.pem }, signers: [["ES384", p384.privateKey]] },
    { options: { ecdsaPublicKey: p521.pem }, signers: [["ES512", p521.privateKey]] },
    { options: { ed25519PublicKey: ed.pem }, signers: [["EdDSA", ed.privateKey]] }
  ] satisfies ReadonlyArray<{
    options: Tokens.TokensOptions
    signers: ReadonlyArray<readonly [string, Parameters<typeof signText>[0]]>
  }>
})

describe("algorithms", () => {
  it.scoped("each is accepted with its own key, and with no other", () =>
    Effect.gen(function*() {
      const all = yield* families
      for (const family of all) {
        const service = yield* Tokens.make(family.options)
        for (const other of all) {
          for (const [alg, key] of other.signers) {
            const token = yield* signText(key, alg, JSON.stringify({ sub: "ada" }))
            assert.strictEqual(yield* user(service, token), other === family ? "user ada" : "close 3500", alg)
          }
        }
      }
      const some = all.filter(({ signers }) => signers.every(([alg]) => alg !== "ES384" && alg !== "ES512"))
      assert.strictEqual(some.length, 4)
      const together = yield* Tokens.make(Object.assign({}, ...some.map(({ options }) => options)))
      for (const { signers } of some) {
        for (const [alg, key] of signers) {
          const token = yield* signText(key, alg, JSON.stringify({ sub: "ada" }))
          assert.strictEqual(yield* user(together, token), "user ada", alg)
        }
      }
    }))

  it.scoped("another key of the same kind is refused", () =>
    Effect.gen(function*() {
      for (const family of yield* families) {
        const service = yield* Tokens.make(family.options)
        for (const [alg] of family.signers) {
          const foreign = alg.startsWith("HS") ? new TextEncoder().encode("another") : (yield* pair(alg)).privateKey
          const token = yield* signText(foreign, alg, JSON.stringify({ sub: "ada" }))
          assert.strictEqual(yield* user(service, token), "close 3500", alg)
        }
      }
    }))

  it.scoped("a public key is no HMAC secret", () =>
    Effect.gen(function*() {
      for (const alg of ["RS256", "ES256", "EdDSA"]) {
        const { pem: text } = yield* pem(alg)
        const publicKey = { RS256: { rsaPublicKey: text }, ES256: { ecdsaPublicKey: text } }[alg] ??
          { ed25519PublicKey: text }
        for (const options of [publicKey, { ...publicKey, hmacSecret }]) {
          const service = yield* Tokens.make(options)
          for (const bytes of [text, text.trim()].map((form) => new TextEncoder().encode(form))) {
            for (const forged of ["HS256", "HS384", "HS512"]) {
              const token = yield* signText(bytes, forged, JSON.stringify({ sub: "admin" }))
              assert.strictEqual(yield* user(service, token), "close 3500")
            }
          }
        }
        const mistaken = yield* Effect.flip(Tokens.make({ hmacSecret: Redacted.make(text) }))
        assert.strictEqual(mistaken.key, "hmacSecret")
      }
    }))

  it.scoped("none, other algorithms, and a key in the header are refused", () =>
    Effect.gen(function*() {
      const service = yield* secretly({ rsaPublicKey: (yield* pem("RS256")).pem })
      const payload = Encoding.encodeBase64Url(JSON.stringify({ sub: "admin" }))
      for (const alg of ["none", "None", "NONE", "", undefined, null, 1, "HS", "hs256", "__proto__", "constructor"]) {
        const header = Encoding.encodeBase64Url(JSON.stringify({ alg }))
        for (const signature of ["", "AAAA"]) {
          assert.strictEqual(yield* user(service, `${header}.${payload}.${signature}`), "close 3500", String(alg))
          assert.strictEqual(yield* subscribe(service, `${header}.${payload}.${signature}`), "error 103", String(alg))
        }
      }
      const pss = yield* pair("PS256")
      assert.strictEqual(yield* user(service, yield* signText(pss.privateKey, "PS256", "{}")), "close 3500")
      const own = yield* pair("RS256")
      const jwk = yield* Effect.promise(() => Jose.exportJWK(own.publicKey))
      const embedded = yield* Effect.promise(() =>
        new Jose.CompactSign(new TextEncoder().encode("{}")).setProtectedHeader({ alg: "RS256", jwk })
          .sign(own.privateKey)
      )
      assert.strictEqual(yield* user(service, embedded), "close 3500")
    }))

  it.scoped("garbage is refused", () =>
    Effect.gen(function*() {
      const service = yield* secretly()
      const good = yield* sign({ sub: "ada" })
      const garbage = [".", "..", "...", "a.b.c", "null", "{}", good.slice(0, -1), `${good}.`, `${good}.x`, ` ${good}`]
      for (const token of garbage) {
        assert.strictEqual(yield* user(service, token), "close 3500", token)
        assert.strictEqual(yield* subscribe(service, token), "error 103", token)
      }
      for (const payload of ["", "null", "1", "\"a\"", "[]", "{", "{\"sub\":"]) {
        assert.strictEqual(yield* user(service, yield* signText(hmacKey, "HS256", payload)), "close 3500", payload)
      }
    }))
})

describe("claims", () => {
  it.scoped("of a connection", () =>
    Effect.gen(function*() {
      const service = yield* secretly()
      const token = yield* sign({
        sub: "ada",
        exp: 60,
        nbf: 0,
        iat: 0,
        jti: "1",
        aud: ["x"],
        iss: "y",
        info: { name: "Ada" },
        meta: { plan: "pro" },
        channels: ["a", "b"],
        another: true
      })
      assert.deepStrictEqual(yield* service.connect(connecting(token)), {
        user: "ada",
        info: { name: "Ada" },
        meta: { plan: "pro" },
        expireAt: 60,
        clientRefresh: true,
        subscriptions: new Map(
          ["a", "b"].map((channel) => [
            channel,
            { info: undefined, data: undefined, expireAt: undefined, override: undefined }
          ])
        )
      })
    }))

  it.scoped("subs have options, and win over channels", () =>
    Effect.gen(function*() {
      const service = yield* secretly()
      const result = yield* service.connect(connecting(
        yield* sign({
          channels: ["ignored"],
          subs: {
            a: {
              info: 1,
              data: [2],
              override: {
                presence: { value: true },
                join_leave: { value: false },
                force_push_join_leave: { value: true },
                force_recovery: { value: false },
                force_positioning: {}
              }
            },
            b: { b64info: btoa("{\"x\":1}"), info: "loses", b64data: btoa("null") }
          }
        })
      ))
      assert.strictEqual(result.user, "")
      assert.deepStrictEqual([...result.subscriptions], [
        ["a", {
          info: 1,
          data: [2],
          expireAt: undefined,
          override: {
            presence: true,
            joinLeave: false,
            forcePushJoinLeave: true,
            forceRecovery: false,
            forcePositioning: false
          }
        }],
        ["b", { info: { x: 1 }, data: null, expireAt: undefined, override: undefined }]
      ])
      const empty = yield* service.connect(connecting(yield* sign({ channels: ["a"], subs: {} })))
      assert.deepStrictEqual([...empty.subscriptions.keys()], ["a"])
    }))

  it.scoped("of a subscription", () =>
    Effect.gen(function*() {
      const service = yield* secretly()
      const token = yield* sign({
        sub: "ada",
        channel: "news",
        client: "c1",
        exp: 60,
        expire_at: 90,
        info: { a: 1 },
        data: "d",
        override: { presence: { value: true } }
      })
      assert.deepStrictEqual(yield* subscribe(service, token), {
        info: { a: 1 },
        data: "d",
        expireAt: 90,
        override: { presence: true }
      })
    }))

  it.scoped("expire_at decides when the connection expires, if it is there", () =>
    Effect.gen(function*() {
      const service = yield* secretly()
      const expireAt = (claims: object) =>
        Effect.flatMap(
          sign(claims),
          (token) => Effect.map(service.connect(connecting(token)), (found) => found.expireAt)
        )
      assert.strictEqual(yield* expireAt({}), undefined)
      assert.strictEqual(yield* expireAt({ exp: 60 }), 60)
      assert.strictEqual(yield* expireAt({ exp: 60, expire_at: 0 }), undefined)
      assert.strictEqual(yield* expireAt({ exp: 60, expire_at: 10 }), 10)
      assert.strictEqual(yield* expireAt({ expire_at: 10 }), 10)
      assert.strictEqual(yield* expireAt({ exp: 60, expire_at: null }), 60)
      assert.strictEqual(yield* expireAt({ exp: 60.5 }), 61)
    }))

  const text = [1, true, null, [], {}]
  const number = ["1", true, null, [], {}, 1e300, -1]
  const wrong: ReadonlyArray<readonly [string, ReadonlyArray<unknown>]> = [
    ["sub", text],
    ["iss", text],
    ["jti", text],
    ["aud", [1, true, null, {}, [1]]],
    ["exp", ["60", true, null, [], {}, 1e300]],
    ["nbf", ["0", true, null, [], {}]],
    ["iat", ["0", true, null, [], {}]],
    ["expire_at", number.filter((value) => value !== null)],
    ["b64info", [1, "!", "a", btoa("no json"), btoa("{"), {}]]
  ]

  it.scoped("of the wrong type make a bad token", () =>
    Effect.gen(function*() {
      const service = yield* secretly()
      const ofConnections: typeof wrong = [
        ...wrong,
        ["channel", ["", "news", null, 1]],
        ["channels", ["a", [1], {}, 1]],
        ["subs", [
          "",
          "a",
          1,
          [],
          [{}],
          ["a"],
          { a: 1 },
          { a: null },
          { a: [] },
          { a: { override: [] } },
          { a: { override: { presence: true } } },
          { a: { override: { presence: { value: "true" } } } },
          { a: { override: { join_leave: { value: 1 } } } },
          { a: { b64info: "!" } },
          { a: { b64data: btoa("{") } }
        ]]
      ]
      for (const [claim, values] of ofConnections) {
        for (const value of values) {
          const token = yield* sign({ sub: "ada", [claim]: value })
          assert.strictEqual(yield* user(service, token), "close 3500", `${claim} ${JSON.stringify(value)}`)
        }
      }
      const ofSubscriptions: typeof wrong = [
        ...wrong,
        ["channel", ["", null, 1, ["news"], undefined]],
        ["client", [1, null, {}]],
        ["b64data", ["!", btoa("{")]],
        ["override", [1, [], { force_recovery: true }]]
      ]
      for (const [claim, values] of ofSubscriptions) {
        for (const value of values) {
          const token = yield* sign({ sub: "ada", channel: "news", [claim]: value })
          assert.strictEqual(yield* subscribe(service, token), "error 103", `${claim} ${JSON.stringify(value)}`)
        }
      }
    }))

  it.scoped("keys such as __proto__ are only text", () =>
    Effect.gen(function*() {
      const service = yield* secretly()
      const payload = `{"__proto__":{"sub":"admin","channels":["secret"]},"subs":{"__proto__":{"info":1},` +
        `"constructor":{"__proto__":{"info":2}},"toString":{}}}`
      const found = yield* service.connect(connecting(yield* signText(hmacKey, "HS256", payload)))
      assert.strictEqual(found.user, "")
      assert.instanceOf(found.subscriptions, Map)
      assert.deepStrictEqual([...found.subscriptions.keys()], ["__proto__", "constructor", "toString"])
      assert.strictEqual(found.subscriptions.get("__proto__")?.info, 1)
      assert.strictEqual(found.subscriptions.get("constructor")?.info, undefined)
      assert.strictEqual(found.subscriptions.get("toString")?.info, undefined)
    }))

  it.scoped("audience and issuer are required where they are configured", () =>
    Effect.gen(function*() {
      const both = yield* secretly({ audience: "hub", issuer: "bank" })
      const good = { aud: "hub", iss: "bank" }
      assert.strictEqual(yield* user(both, yield* sign(good)), "user ")
      assert.strictEqual(yield* user(both, yield* sign({ ...good, aud: ["other", "hub"] })), "user ")
      const bad = [
        {},
        { aud: "hub" },
        { iss: "bank" },
        { ...good, aud: "hub2" },
        { ...good, aud: [] },
        { ...good, iss: "Bank" },
        // Expired as well: still a bad one, for which a new token does not help.
        { ...good, iss: "other", exp: -1 }
      ]
      for (const claims of bad) {
        assert.strictEqual(yield* user(both, yield* sign(claims)), "close 3500", JSON.stringify(claims))
        assert.strictEqual(yield* subscribe(both, yield* sign({ ...claims, sub: "ada", channel: "news" })), "error 103")
      }
    }))
})

describe("time", () => {
  it.scoped("a token expires at exp, and begins at nbf", () =>
    Effect.gen(function*() {
      const service = yield* secretly()
      const token = yield* sign({ sub: "ada", nbf: 10, exp: 20 })
      const granting = yield* sign({ sub: "ada", channel: "news", nbf: 10, exp: 20 })
      const now = Effect.all([
        user(service, token),
        outcome(service.refresh(token, "ada")).pipe(Effect.map((found) => typeof found === "string" ? found : "good")),
        subscribe(service, granting).pipe(Effect.map((found) => typeof found === "string" ? found : "good"))
      ])
      const expired = ["error 109", "close 3005", "error 109"]
      yield* TestClock.setTime(9_999)
      assert.deepStrictEqual(yield* now, expired)
      yield* TestClock.setTime(10_000)
      assert.deepStrictEqual(yield* now, ["user ada", "good", "good"])
      yield* TestClock.setTime(19_999)
      assert.deepStrictEqual(yield* now, ["user ada", "good", "good"])
      yield* TestClock.setTime(20_000)
      assert.deepStrictEqual(yield* now, expired)
    }))

  it.scoped("leeway widens both ends, and the connection lasts as long", () =>
    Effect.gen(function*() {
      const service = yield* secretly({ leeway: "5 seconds" })
      const token = yield* sign({ sub: "ada", nbf: 10, exp: 20 })
      for (
        const [seconds, expected] of [[4, "error 109"], [5, "user ada"], [24, "user ada"], [25, "error 109"]] as const
      ) {
        yield* TestClock.setTime(seconds * 1000)
        assert.strictEqual(yield* user(service, token), expected, String(seconds))
      }
      yield* TestClock.setTime(24_000)
      assert.strictEqual((yield* service.connect(connecting(token))).expireAt, 25)
    }))

  it.scoped("what is expired and forged is forged", () =>
    Effect.gen(function*() {
      const service = yield* secretly()
      const token = yield* signText(new TextEncoder().encode("other"), "HS256", JSON.stringify({ exp: -1 }))
      assert.strictEqual(yield* user(service, token), "close 3500")
      assert.strictEqual(yield* subscribe(service, token), "error 103")
    }))
})

describe("who is refused", () => {
  it.scoped("no token: 3501, or anonymous", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* user(yield* secretly(), ""), "close 3501")
      for (const options of [{ allowAnonymous: true }, { insecure: true }]) {
        const anonymous = yield* secretly(options)
        const found = yield* anonymous.connect(connecting(""))
        assert.deepStrictEqual({ ...found }, { user: "", clientRefresh: false, subscriptions: new Map() })
        assert.strictEqual(yield* user(anonymous, "forged"), "close 3500")
        assert.strictEqual(yield* outcome(anonymous.refresh("", "")), "close 3501")
      }
    }))

  it.effect("anonymous alone", () =>
    Effect.gen(function*() {
      const service = yield* Authenticator
      assert.strictEqual(yield* user(service, ""), "user ")
      assert.strictEqual(yield* user(service, yield* sign({ sub: "ada" })), "close 3500")
      assert.strictEqual(yield* subscribe(service, yield* sign({ sub: "ada", channel: "news" })), "error 103")
    }).pipe(Effect.provide(Tokens.layerAnonymous)))

  it.scoped("a refresh is for the same user", () =>
    Effect.gen(function*() {
      const service = yield* secretly()
      const token = yield* sign({ sub: "ada", exp: 60 })
      assert.strictEqual((yield* service.refresh(token, "ada")).expireAt, 60)
      assert.strictEqual(yield* outcome(service.refresh(token, "bob")), "close 3500")
      assert.strictEqual(yield* outcome(service.refresh(token, "")), "close 3500")
      assert.strictEqual(yield* outcome(service.refresh("forged", "ada")), "close 3500")
      assert.strictEqual(yield* outcome(service.refresh("", "ada")), "close 3501")
    }))

  it.scoped("a subscription is for one channel, user and client", () =>
    Effect.gen(function*() {
      const service = yield* secretly()
      const claims = { sub: "ada", channel: "news", client: "c1" }
      const token = yield* sign(claims)
      assert.isObject(yield* subscribe(service, token))
      assert.strictEqual(yield* subscribe(service, token, { channel: "other" }), "close 3500")
      assert.strictEqual(yield* subscribe(service, token, { user: "bob" }), "close 3500")
      assert.strictEqual(yield* subscribe(service, token, { user: "" }), "close 3500")
      assert.strictEqual(yield* subscribe(service, token, { client: "c2" }), "close 3500")
      const anyClient = yield* sign({ ...claims, client: undefined })
      assert.isObject(yield* subscribe(service, anyClient, { client: "c2" }))
      const anonymous = yield* sign({ channel: "news" })
      assert.isObject(yield* subscribe(service, anonymous, { user: "" }))
      assert.strictEqual(yield* subscribe(service, anonymous), "close 3500")
      assert.strictEqual(yield* subscribe(service, ""), "error 103")
    }))

  it.scoped("a connection's token grants no subscription, nor the other way round", () =>
    Effect.gen(function*() {
      const service = yield* secretly()
      assert.strictEqual(yield* subscribe(service, yield* sign({ sub: "ada" })), "error 103")
      assert.strictEqual(yield* user(service, yield* sign({ sub: "ada", channel: "news" })), "close 3500")
    }))
})

describe("options", () => {
  const refused = (options: Tokens.TokensOptions) => Effect.flip(Tokens.make(options))

  it.scoped("that contradict one another, or are no keys", () =>
    Effect.gen(function*() {
      const rsa = yield* pem("RS256")
      const ec = yield* pem("ES256")
      const ed = yield* pem("EdDSA")
      const privateKey = yield* Effect.promise(() => Jose.exportPKCS8(rsa.privateKey))
      const weak = generateKeyPairSync("rsa", { modulusLength: 1024 }).publicKey
        .export({ format: "pem", type: "spki" }).toString()
      const x25519 = generateKeyPairSync("x25519").publicKey.export({ format: "pem", type: "spki" }).toString()
      const jwksUrl = "https://user:pa55word@keys.example/"
      const cases: ReadonlyArray<readonly [string, Tokens.TokensOptions]> = [
        ["hmacSecret", {}],
        ["hmacSecret", { allowAnonymous: false, insecure: false }],
        ["hmacSecret", { hmacSecret: Redacted.make("") }],
        ["rsaPublicKey", { rsaPublicKey: "" }],
        ["rsaPublicKey", { rsaPublicKey: "secret" }],
        ["rsaPublicKey", { rsaPublicKey: ec.pem }],
        ["rsaPublicKey", { rsaPublicKey: privateKey }],
        ["rsaPublicKey", { rsaPublicKey: weak }],
        ["ecdsaPublicKey", { ecdsaPublicKey: rsa.pem }],
        ["ecdsaPublicKey", { ecdsaPublicKey: ed.pem }],
        ["ed25519PublicKey", { ed25519PublicKey: ec.pem }],
        ["ed25519PublicKey", { ed25519PublicKey: x25519 }],
        ["jwksUrl", { jwksUrl: "" }],
        ["jwksUrl", { jwksUrl: "keys.json" }],
        ["jwksUrl", { jwksUrl: "file:///etc/keys.json" }],
        ["jwksUrl", { jwksUrl }],
        ["rsaPublicKey", { jwksUrl: "https://keys.example/", rsaPublicKey: rsa.pem }],
        ["ecdsaPublicKey", { jwksUrl: "https://keys.example/", ecdsaPublicKey: ec.pem }],
        ["ed25519PublicKey", { jwksUrl: "https://keys.example/", ed25519PublicKey: ed.pem }],
        ["jwksMaxAge", { jwksUrl: "https://keys.example/", jwksMaxAge: "-1 seconds" }],
        ["jwksCooldown", { jwksUrl: "https://keys.example/", jwksCooldown: -1 }],
        ["leeway", { hmacSecret, leeway: "-1 seconds" }],
        ["leeway", { hmacSecret, leeway: -1 }],
        ["leeway", { hmacSecret, leeway: Infinity }],
        ["audience", { hmacSecret, audience: "" }],
        ["issuer", { hmacSecret, issuer: "" }],
        ["audience", { allowAnonymous: true, audience: "hub" }],
        ["issuer", { allowAnonymous: true, issuer: "bank" }]
      ]
      for (const [key, options] of cases) {
        const error: InvalidOption = yield* refused(options)
        assert.strictEqual(error._tag, "InvalidOption")
        assert.strictEqual(error.key, key, error.message)
        assert.notInclude(error.message, "pa55word")
        assert.notInclude(error.message, "PRIVATE KEY")
      }
    }))

  it.effect("that there are not are named, with those that there are, and without their value", () =>
    Effect.gen(function*() {
      const misspelt = { hmacSecret, allowAnonymus: true, hmac_secret: "pa55word" }
      const found = yield* Tokens.problems(misspelt)
      assert.deepStrictEqual(found.map(({ key }) => key), ["allowAnonymus", "hmac_secret"])
      for (const { expected, message } of found) {
        assert.match(expected, /^one of hmacSecret, .*, allowAnonymous, insecure$/)
        assert.notInclude(message, "pa55word")
      }
      assert.deepInclude(yield* Effect.flip(Effect.scoped(Tokens.make(misspelt))), { key: "allowAnonymus" })
    }))

  it.effect("fail the layer", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Effect.provide(Authenticator, Tokens.layer({})))
      assert.strictEqual(error._tag, "InvalidOption")
    }))

  it.scoped("that are not safe are logged, without the secret; and so are refusals, without the token", () =>
    Effect.gen(function*() {
      const lines: Array<string> = []
      const logger = Logger.map(Logger.logfmtLogger, (line) => {
        lines.push(line)
      })
      yield* Effect.gen(function*() {
        const service = yield* Tokens.make({ hmacSecret: Redacted.make("short and secret"), insecure: true })
        yield* user(service, "a.b.c")
        const forged = yield* sign({ sub: "ada-the-user" })
        yield* user(service, forged)
        yield* user(service, yield* signText(new TextEncoder().encode("short and secret"), "HS256", "{\"sub\":4711}"))
        assert.notInclude(lines.join("\n"), forged.slice(0, 20))
      }).pipe(
        Logger.withMinimumLogLevel(LogLevel.All),
        Effect.provide(Logger.replace(Logger.defaultLogger, logger))
      )
      const text = lines.join("\n")
      assert.include(text, "development only")
      assert.include(text, "shorter than 32")
      assert.strictEqual(lines.filter((line) => line.includes("A token was refused")).length, 3)
      for (const secret of ["short and secret", "ada-the-user", "4711", "a.b.c"]) assert.notInclude(text, secret)
    }))
})

describe("JWKS", () => {
  /** A server whose keys, status and body the test sets, and which counts the fetches. */
  const jwks = Effect.gen(function*() {
    const state = { keys: [] as Array<unknown>, status: 200, body: undefined as string | undefined, fetches: 0 }
    const server = yield* Effect.acquireRelease(
      Effect.async<ReturnType<typeof createServer>>((resume) => {
        const created = createServer((_, response) => {
          state.fetches++
          response.writeHead(state.status, { "content-type": "application/json" })
          response.end(state.body ?? JSON.stringify({ keys: state.keys }))
        })
        created.listen(0, "127.0.0.1", () => resume(Effect.succeed(created)))
      }),
      (created) =>
        Effect.async<void>((resume) => {
          created.close(() => resume(Effect.void))
          created.closeAllConnections()
        })
    )
    const address = server.address()
    const jwksUrl = `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}/keys.json`
    return { state, jwksUrl }
  })

  const keyed = (kid: string, alg: string) =>
    Effect.gen(function*() {
      const { privateKey, publicKey } = yield* pair(alg)
      const jwk = yield* Effect.promise(() => Jose.exportJWK(publicKey))
      return {
        jwk: { ...jwk, kid, use: "sig" },
        token: (claims: object = { sub: "ada" }, header = kid) =>
          signText(privateKey, alg, JSON.stringify(claims), header)
      }
    })

  /** Moves only what `Date` says: that is what jose reckons with. */
  const withDate = Effect.acquireRelease(
    Effect.sync(() => {
      vi.useFakeTimers({ toFake: ["Date"], now: 1_000_000 })
      return { pass: (ms: number) => vi.setSystemTime(Date.now() + ms) }
    }),
    () => Effect.sync(() => vi.useRealTimers())
  )

  it.scoped("keys of all kinds, fetched once however many ask", () =>
    Effect.gen(function*() {
      const { jwksUrl, state } = yield* jwks
      const keys = yield* Effect.all(
        ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "EdDSA"].map((alg) => keyed(alg, alg))
      )
      state.keys = keys.map(({ jwk }) => jwk)
      const service = yield* Tokens.make({ jwksUrl, hmacSecret })
      assert.strictEqual(state.fetches, 0)
      const tokens = yield* Effect.all(keys.map(({ token }) => token()))
      const users = yield* Effect.all(
        [...tokens, ...tokens].map((token) => user(service, token)),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(new Set(users), new Set(["user ada"]))
      assert.strictEqual(yield* user(service, yield* sign({ sub: "ada" })), "user ada")
      assert.strictEqual(state.fetches, 1)
    }))

  it.scoped("a public key of the set is no HMAC secret, nor is a secret that is in the set", () =>
    Effect.gen(function*() {
      const { jwksUrl, state } = yield* jwks
      const { jwk } = yield* keyed("k", "RS256")
      state.keys = [jwk, { kty: "oct", kid: "o", k: Encoding.encodeBase64Url(hmac), alg: "HS256" }]
      const service = yield* Tokens.make({ jwksUrl })
      assert.strictEqual(yield* user(service, yield* signText(hmacKey, "HS256", "{}", "o")), "close 3500")
      const bytes = new TextEncoder().encode(JSON.stringify(jwk))
      assert.strictEqual(yield* user(service, yield* signText(bytes, "HS256", "{}", "k")), "close 3500")
      const other = yield* keyed("k", "RS256")
      assert.strictEqual(yield* user(service, yield* other.token()), "close 3500")
    }))

  it.scoped("a new key is fetched once; unknown ones do not make it fetch again and again", () =>
    Effect.gen(function*() {
      const date = yield* withDate
      const { jwksUrl, state } = yield* jwks
      const old = yield* keyed("old", "ES256")
      const young = yield* keyed("young", "ES256")
      state.keys = [old.jwk]
      const service = yield* Tokens.make({ jwksUrl })
      assert.strictEqual(yield* user(service, yield* old.token()), "user ada")
      // In the cooldown nobody knows whether the key is new: that is no bad token.
      state.keys = [old.jwk, young.jwk]
      const token = yield* young.token()
      assert.strictEqual(yield* user(service, token), "error 100")
      assert.strictEqual(yield* subscribe(service, token), "error 100")
      date.pass(29_999)
      assert.strictEqual(yield* user(service, token), "error 100")
      assert.strictEqual(state.fetches, 1)
      date.pass(1)
      const users = yield* Effect.all(Array.from({ length: 20 }, () => user(service, token)), {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual(new Set(users), new Set(["user ada"]))
      assert.strictEqual(yield* user(service, yield* old.token()), "user ada")
      assert.strictEqual(state.fetches, 2)
      for (let i = 0; i < 50; i++) {
        assert.strictEqual(yield* user(service, yield* young.token({ sub: "ada" }, `unknown-${i}`)), "error 100")
      }
      assert.strictEqual(state.fetches, 2)
      date.pass(30_000)
      assert.strictEqual(yield* user(service, yield* young.token({ sub: "ada" }, "unknown")), "close 3500")
      assert.strictEqual(state.fetches, 3)
    }))

  it.scoped("a key without a name is replaced by another", () =>
    Effect.gen(function*() {
      const date = yield* withDate
      const { jwksUrl, state } = yield* jwks
      const nameless = Effect.map(pair("ES256"), ({ privateKey, publicKey }) => ({
        jwk: Effect.promise(() => Jose.exportJWK(publicKey)),
        token: signText(privateKey, "ES256", JSON.stringify({ sub: "ada" }))
      }))
      const [old, young] = [yield* nameless, yield* nameless]
      state.keys = [yield* old.jwk]
      const service = yield* Tokens.make({ jwksUrl })
      const [before, after] = [yield* old.token, yield* young.token]
      assert.strictEqual(yield* user(service, before), "user ada")
      state.keys = [yield* young.jwk]
      // In the cooldown nobody knows whether there is another key.
      assert.strictEqual(yield* user(service, after), "error 100")
      assert.strictEqual(state.fetches, 1)
      date.pass(30_000)
      assert.strictEqual(yield* user(service, after), "user ada")
      assert.strictEqual(state.fetches, 2)
      assert.strictEqual(yield* user(service, before), "error 100")
      date.pass(30_000)
      assert.strictEqual(yield* user(service, before), "close 3500")
      assert.strictEqual(state.fetches, 3)
      date.pass(30_000)
      state.status = 500
      assert.strictEqual(yield* user(service, before), "error 100")
    }))

  it.scoped("only what a fetch found out is told by the log, however many bring keys that there are not", () =>
    Effect.gen(function*() {
      const { jwksUrl, state } = yield* jwks
      const key = yield* keyed("k", "ES256")
      state.keys = [key.jwk]
      const service = yield* Tokens.make({ jwksUrl })
      const levels: Array<string> = []
      const logger = Logger.make(({ logLevel }) => void levels.push(logLevel.label))
      const faults = new Faults()
      const refused = (service: Service, kid: string) =>
        Effect.gen(function*() {
          const error = yield* Effect.flip(service.connect(connecting(yield* key.token({ sub: "ada" }, kid))))
          if (error._tag === "ProtocolError") yield* faults.complain("connect", error)
        }).pipe(
          Effect.provide(Logger.replace(Logger.defaultLogger, logger)),
          Logger.withMinimumLogLevel(LogLevel.All)
        )
      assert.strictEqual(yield* user(service, yield* key.token()), "user ada")
      for (const kid of ["unknown", "unknown too"]) yield* refused(service, kid)
      assert.deepStrictEqual(levels.splice(0), ["DEBUG", "DEBUG"])
      const another = yield* Tokens.make({ jwksUrl })
      state.status = 500
      for (let count = 0; count < 3; count++) yield* refused(another, "k")
      assert.deepStrictEqual(levels, ["ERROR", "DEBUG", "DEBUG"])
    }))

  it.scoped("a key that was taken out is good until the set is too old", () =>
    Effect.gen(function*() {
      const date = yield* withDate
      const { jwksUrl, state } = yield* jwks
      const key = yield* keyed("k", "EdDSA")
      state.keys = [key.jwk]
      const service = yield* Tokens.make({ jwksUrl, jwksMaxAge: "5 minutes" })
      const token = yield* key.token()
      assert.strictEqual(yield* user(service, token), "user ada")
      state.keys = []
      date.pass(299_999)
      assert.strictEqual(yield* user(service, token), "user ada")
      assert.strictEqual(state.fetches, 1)
      date.pass(1)
      assert.strictEqual(yield* user(service, token), "close 3500")
      assert.strictEqual(state.fetches, 2)
    }))

  it.scoped("a set that cannot be had is a temporary error, and asked for once a second", () =>
    Effect.gen(function*() {
      const { jwksUrl, state } = yield* jwks
      const key = yield* keyed("k", "RS256")
      state.keys = [key.jwk]
      const service = yield* Tokens.make({ jwksUrl })
      const token = yield* key.token()
      const failures: ReadonlyArray<Partial<typeof state>> = [
        { status: 500 },
        { status: 302 },
        { status: 200, body: "<html>" },
        { status: 200, body: "{\"keys\":1}" },
        { status: 200, body: "[]" }
      ]
      for (const failure of failures) {
        Object.assign(state, { body: undefined }, failure, { fetches: 0 })
        const error = yield* Effect.flip(service.connect(connecting(token)))
        assert.instanceOf(error, ProtocolError, JSON.stringify(failure))
        if (error._tag === "ProtocolError") {
          assert.deepStrictEqual([error.code, error.temporary, error.reason], [100, true, "internal server error"])
          assert.instanceOf(error.cause, Error)
        }
        assert.strictEqual(yield* subscribe(service, token), "error 100")
        assert.strictEqual(yield* outcome(service.refresh(token, "ada")), "error 100")
        yield* TestClock.adjust(999)
        assert.strictEqual(yield* user(service, token), "error 100")
        assert.strictEqual(state.fetches, 1, JSON.stringify(failure))
        yield* TestClock.adjust(1)
      }
      Object.assign(state, { status: 200, body: undefined })
      assert.strictEqual(yield* user(service, token), "user ada")
    }))

  it.scoped("so is a server that is not there", () =>
    Effect.gen(function*() {
      const jwksUrl = yield* Effect.scoped(Effect.map(jwks, (found) => found.jwksUrl))
      const service = yield* Tokens.make({ jwksUrl })
      const { token } = yield* keyed("k", "RS256")
      assert.strictEqual(yield* user(service, yield* token()), "error 100")
      // Nothing is fetched for a token whose algorithm is not accepted.
      assert.strictEqual(yield* user(service, yield* sign({ sub: "ada" })), "close 3500")
    }))
})

describe("properties", () => {
  const check = <A>(arbitrary: fc.Arbitrary<A>, test: (service: Service, value: A) => Effect.Effect<void>) =>
    Effect.flatMap(secretly(), (service) =>
      Effect.promise(() =>
        fc.assert(
          fc.asyncProperty(arbitrary, (value) => Effect.runPromise(test(service, value))),
          { numRuns: runs }
        )
      ))

  const names = [
    "sub",
    "exp",
    "nbf",
    "iat",
    "aud",
    "iss",
    "jti",
    "info",
    "b64info",
    "meta",
    "channels",
    "subs",
    "expire_at",
    "channel",
    "client",
    "data",
    "b64data",
    "override",
    "__proto__"
  ]
  const json = fc.json({ maxDepth: 3 })
  const payload = fc.array(fc.tuple(fc.oneof(fc.constantFrom(...names), fc.string()), json), { maxLength: 8 })
    .map((entries) => `{${entries.map(([name, value]) => `${JSON.stringify(name)}:${value}`).join(",")}}`)

  it.scoped("whatever is signed, the answer is a value or one of the codes", () =>
    check(payload, (service, text) =>
      Effect.gen(function*() {
        const token = yield* signText(hmacKey, "HS256", text)
        const credentials = yield* connect(service, token)
        if (typeof credentials === "string") assert.include(["close 3500", "error 109"], credentials)
        else {
          assert.isString(credentials.user)
          assert.instanceOf(credentials.subscriptions, Map)
          if (credentials.expireAt !== undefined) assert.isTrue(Number.isSafeInteger(credentials.expireAt))
        }
        const grant = yield* subscribe(service, token)
        if (typeof grant === "string") assert.include(["close 3500", "error 103", "error 109"], grant)
        else assert.isObject(grant)
      })))

  it.scoped("what is right comes out as it went in", () => {
    const claims = fc.record({
      sub: fc.string({ unit: "binary" }),
      info: fc.jsonValue(),
      meta: fc.jsonValue(),
      subs: fc.dictionary(fc.oneof(fc.string(), fc.constant("__proto__")), fc.record({ info: fc.jsonValue() }), {
        noNullPrototype: true
      })
    })
    return check(claims, (service, value) =>
      Effect.gen(function*() {
        // Through JSON first: it has no -0, and of lone surrogates UTF-8 keeps nothing.
        const sent: typeof value = JSON.parse(JSON.stringify(value))
        const found = yield* service.connect(connecting(yield* sign(sent)))
        assert.strictEqual(found.user, sent.sub)
        assert.deepStrictEqual(found.info ?? null, sent.info)
        assert.deepStrictEqual(found.meta ?? null, sent.meta)
        assert.deepStrictEqual(
          [...found.subscriptions].map(([channel, grant]) => [channel, grant.info ?? null]),
          Object.entries(sent.subs).map(([channel, { info }]) => [channel, info])
        )
      }).pipe(Effect.orDie))
  })

  it.scoped("a token that was changed anywhere is refused", () =>
    Effect.flatMap(sign({ sub: "ada", info: "x" }), (good) =>
      check(
        // Not the last letter: some of its bits are none of the signature.
        fc.tuple(fc.nat(good.length - 2), fc.constantFrom(..."ABCDEFGHabcdefgh0123456789-_.")),
        (service, [index, letter]) =>
          Effect.gen(function*() {
            const token = good.slice(0, index) + letter + good.slice(index + 1)
            assert.strictEqual(yield* user(service, token), token === good ? "user ada" : "close 3500")
          })
      )))

  it.scoped("text that is no token is refused", () =>
    check(fc.string({ unit: "binary", minLength: 1 }), (service, token) =>
      Effect.gen(function*() {
        assert.strictEqual(yield* user(service, token), "close 3500")
        assert.strictEqual(yield* subscribe(service, token), "error 103")
      })))
})

describe("signing", () => {
  it.scoped("a connection", () =>
    Effect.gen(function*() {
      const service = yield* secretly({ audience: "hub", issuer: "bank" })
      yield* TestClock.setTime(1500)
      const token = yield* TokenSigner.connection({
        secret: hmacSecret,
        user: "ada",
        expireIn: "1 minute",
        info: { name: "Ada" },
        channels: ["news"],
        audience: "hub",
        issuer: "bank"
      })
      const found = yield* service.connect(connecting(token))
      assert.strictEqual(found.user, "ada")
      assert.deepStrictEqual(found.info, { name: "Ada" })
      assert.strictEqual(found.expireAt, 61)
      assert.deepStrictEqual([...found.subscriptions.keys()], ["news"])
      const forever = yield* TokenSigner.connection({ secret: hmacSecret, user: "" })
      assert.deepStrictEqual(Object.keys(Jose.decodeJwt(forever)), ["sub", "iat"])
      assert.strictEqual(yield* user(service, forever), "close 3500")
      assert.strictEqual(yield* user(yield* secretly(), forever), "user ")
    }))

  it.scoped("a subscription", () =>
    Effect.gen(function*() {
      const service = yield* secretly()
      const token = yield* TokenSigner.subscription({
        secret: hmacSecret,
        user: "ada",
        channel: "news",
        expireIn: "1 minute"
      })
      assert.deepStrictEqual(yield* subscribe(service, token), {
        info: undefined,
        data: undefined,
        expireAt: 60,
        override: undefined
      })
      assert.strictEqual(yield* subscribe(service, token, { channel: "other" }), "close 3500")
    }))

  it.effect("wrong options", () =>
    Effect.gen(function*() {
      const secret = hmacSecret
      const bad = [
        ["secret", { secret: Redacted.make(""), user: "" }],
        ["expireIn", { secret, user: "", expireIn: "-1 minute" }],
        ["info", { secret, user: "", info: 1n }]
      ] as const
      for (const [key, options] of bad) {
        assert.strictEqual((yield* Effect.flip(TokenSigner.connection(options))).key, key)
      }
    }))
})
