/** Who may do what: each option of a namespace alone, users that a channel names, and what a grant overrides. */
import { assert, describe, it } from "@effect/vitest"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import type { Override } from "../../src/channels/Authenticator.js"
import * as BrokerMemory from "../../src/channels/BrokerMemory.js"
import type { NamespaceOptions } from "../../src/channels/Namespace.js"
import { Presence } from "../../src/channels/Presence.js"
import * as PresenceMemory from "../../src/channels/PresenceMemory.js"
import { eventuallyEffect } from "../node/support.js"
import { type Claims, connected, type Document, online, open, serve, token, user, type Wire, wire } from "./support.js"

/** The replies to commands, whatever is pushed between them. */
const replies = (client: Wire, ...commands: ReadonlyArray<Document & { readonly id: number }>) =>
  Effect.gen(function*() {
    yield* client.send(...commands)
    const found = new Map<unknown, Document>()
    while (found.size < commands.length) {
      const document = yield* client.next
      if (document["id"] !== undefined) found.set(document["id"], document)
    }
    return commands.map(({ id }): Document => found.get(id) ?? {})
  })

const codeOf = (reply: Document | undefined): number =>
  (reply?.["error"] as { readonly code: number } | undefined)?.code ?? 0

describe("each option alone lets some do something, and nobody anything else", () => {
  const clients = {
    user: { user: "ada" },
    "user in another channel": { user: "ada", subs: { "alone:other": {} } },
    subscriber: { user: "ada", subs: { "alone:x": {} } },
    anonymous: {},
    "anonymous subscriber": { subs: { "alone:x": {} } }
  } satisfies Record<string, Claims>

  const commands = {
    subscribe: { subscribe: { channel: "alone:new" } },
    publish: { publish: { channel: "alone:x", data: 1 } },
    presence: { presence: { channel: "alone:x" } },
    presence_stats: { presence_stats: { channel: "alone:x" } },
    history: { history: { channel: "alone:x" } }
  }

  type Client = keyof typeof clients
  type Allowed = Partial<Record<keyof typeof commands, ReadonlyArray<Client>>>

  const users: ReadonlyArray<Client> = ["user", "user in another channel", "subscriber"]
  const everybody: ReadonlyArray<Client> = [...users, "anonymous", "anonymous subscriber"]
  const subscribers: ReadonlyArray<Client> = ["subscriber", "anonymous subscriber"]

  const table: ReadonlyArray<readonly [NamespaceOptions, Allowed]> = [
    [{}, {}],
    [{ allowSubscribeForClient: true }, { subscribe: users }],
    [{ allowSubscribeForAnonymous: true }, {}],
    [{ allowSubscribeForClient: true, allowSubscribeForAnonymous: true }, { subscribe: everybody }],
    [{ allowPublishForClient: true }, { publish: users }],
    [{ allowPublishForSubscriber: true }, { publish: ["subscriber"] }],
    [{ allowPublishForAnonymous: true }, {}],
    [{ allowPublishForClient: true, allowPublishForAnonymous: true }, { publish: everybody }],
    [{ allowPublishForSubscriber: true, allowPublishForAnonymous: true }, { publish: subscribers }],
    [{ allowPresenceForClient: true }, { presence: users, presence_stats: users }],
    [{ allowPresenceForSubscriber: true }, { presence: ["subscriber"], presence_stats: ["subscriber"] }],
    [{ allowPresenceForAnonymous: true }, {}],
    [
      { allowPresenceForClient: true, allowPresenceForAnonymous: true },
      { presence: everybody, presence_stats: everybody }
    ],
    [
      { allowPresenceForSubscriber: true, allowPresenceForAnonymous: true },
      { presence: subscribers, presence_stats: subscribers }
    ],
    [{ allowHistoryForClient: true }, { history: users }],
    [{ allowHistoryForSubscriber: true }, { history: ["subscriber"] }],
    [{ allowHistoryForAnonymous: true }, {}],
    [{ allowHistoryForClient: true, allowHistoryForAnonymous: true }, { history: everybody }],
    [{ allowHistoryForSubscriber: true, allowHistoryForAnonymous: true }, { history: subscribers }],
    [{ allowUserLimitedChannels: true }, {}]
  ]

  for (const [options, allowed] of table) {
    it.scopedLive(Object.keys(options).join(" and ") || "none", () =>
      Effect.gen(function*() {
        const alone = { presence: true, historySize: 10, historyTtl: "1 minute", ...options }
        const server = yield* serve({ namespaces: { alone } })
        for (const [name, claims] of Object.entries(clients)) {
          const client = yield* online(server, claims)
          const asked = Object.entries(commands)
          const found = yield* replies(client, ...asked.map(([, command], index) => ({ id: index + 2, ...command })))
          assert.deepStrictEqual(
            asked.map(([operation], index) => [operation, codeOf(found[index])]),
            asked.map(([operation]) => {
              const may = allowed[operation as keyof typeof commands] ?? []
              return [operation, may.includes(name as Client) ? 0 : 103]
            }),
            name
          )
        }
      }))
  }
})

describe("channels that name their users", () => {
  const namespaces = {
    both: { allowSubscribeForClient: true, allowSubscribeForAnonymous: true, allowUserLimitedChannels: true },
    plain: { allowSubscribeForClient: true }
  }
  const table: ReadonlyArray<readonly [channel: string, allowed: ReadonlyArray<string>]> = [
    ["both:x", ["ada", "eve", ""]],
    ["both:x#ada", ["ada"]],
    ["both:x#ada,eve", ["ada", "eve"]],
    ["both:x#eve#ada", ["ada"]],
    ["both:x#ad", []],
    ["both:x#adam", []],
    ["both:x#ada ", []],
    ["both:x#", []],
    ["both:x#,", []],
    ["plain:x#ada", ["ada", "eve"]]
  ]
  for (const [channel, allowed] of table) {
    it.scopedLive(`${channel}: for ${allowed.join(" and ") || "nobody"}, though the namespace lets all subscribe`, () =>
      Effect.gen(function*() {
        const server = yield* serve({ namespaces })
        for (const name of ["ada", "eve", ""]) {
          const [reply] = yield* replies(yield* online(server, { user: name }), { id: 2, subscribe: { channel } })
          assert.strictEqual(codeOf(reply), allowed.includes(name) ? 0 : 103, name)
        }
      }))
  }

  it.scopedLive("a token, code of the application and insecure mode open them to others", () =>
    Effect.gen(function*() {
      const server = yield* serve({ namespaces })
      const insecure = yield* serve({ namespaces, insecure: true })
      yield* server.channels.register({
        matches: (channel) => channel === "both:handled#ada",
        subscribe: () => Effect.succeed({}),
        publish: () => Effect.succeed(Option.none())
      })
      const claims = { user: "eve", channel: "both:x#ada" }
      yield* (yield* user(server, "eve")).subscribe("both:x#ada", { token: token(claims) })
      yield* (yield* user(server, "eve")).subscribe("both:handled#ada")
      yield* (yield* user(insecure, "eve")).subscribe("both:x#ada")
    }))
})

describe("a personal channel without a namespace", () => {
  it.scopedLive("is # and the user, and nobody else's", () =>
    Effect.gen(function*() {
      const server = yield* serve({
        withoutNamespace: { allowSubscribeForClient: true, allowUserLimitedChannels: true },
        personalChannel: {}
      })
      const [ada, eve] = [yield* user(server, "ada"), yield* user(server, "eve")]
      assert.deepInclude(yield* ada.next("subscribed"), { channel: "#ada" })
      assert.deepInclude(yield* eve.next("subscribed"), { channel: "#eve" })
      yield* server.channels.publish("#ada", "for you")
      assert.deepInclude(yield* ada.next("publication"), { channel: "#ada", data: "for you" })
      assert.deepInclude(yield* eve.sub("#ada").next("unsubscribed"), { code: 103 })
      const nobody = yield* connected(server)
      assert.deepInclude(yield* nobody.sub("#").next("unsubscribed"), { code: 103 })
      assert.deepStrictEqual(nobody.heard("subscribed"), [])
    }))

  for (const personalChannel of [{}, { namespace: "open" }]) {
    it.scopedLive(`is nobody else's in a namespace that is open to all: ${JSON.stringify(personalChannel)}`, () =>
      Effect.gen(function*() {
        const open = { allowSubscribeForClient: true, allowSubscribeForAnonymous: true }
        const server = yield* serve({ withoutNamespace: open, namespaces: { open }, personalChannel })
        const prefix = personalChannel.namespace === undefined ? "#" : `${personalChannel.namespace}:#`
        const asked = ["ada", "", "x", "bob,ada,eve", "x#ada"].map((name) => `${prefix}${name}`)
        const asks = [...asked, "x#ada", "open:x#ada"].map((channel, n) => ({ id: n + 2, subscribe: { channel } }))
        const codes = (claims: Claims) =>
          Effect.flatMap(online(server, claims), (client) => Effect.map(client.ask(...asks), Arr.map(codeOf)))
        assert.deepStrictEqual(yield* codes({ user: "eve" }), [103, 103, 103, 103, 103, 0, 0])
        assert.deepStrictEqual(yield* codes({}), [103, 103, 103, 103, 103, 0, 0])
        assert.deepStrictEqual(yield* codes({ user: "ada" }), [105, 103, 103, 103, 103, 0, 0])
      }))
  }

  it.scopedLive("a user whose id would name others has none", () =>
    Effect.gen(function*() {
      const server = yield* serve({ personalChannel: {} })
      for (const [name, channels] of [["ada,eve", []], ["ada#eve", []], ["ada", ["#ada"]]] as const) {
        const client = yield* wire(server)
        const [reply] = yield* client.ask({ id: 1, connect: { token: token({ user: name }) } })
        assert.deepStrictEqual(Object.keys((reply?.["connect"] as { subs?: object }).subs ?? {}), [...channels])
      }
    }))

  for (const namespace of [undefined, "open"]) {
    it.scopedLive(`a user whose id cannot stand in a name connects without (namespace: ${namespace})`, () => {
      const said: Array<string> = []
      const logger = Logger.make(({ logLevel, message }) => {
        if (logLevel._tag === "Warning") said.push(String(message))
      })
      return Effect.gen(function*() {
        const server = yield* serve({ withoutNamespace: open, namespaces: { open }, personalChannel: { namespace } })
        const names = { "google:1": namespace !== undefined, "Zoë": false, ["x".repeat(255)]: false }
        for (const [name, has] of Object.entries(names)) {
          const client = yield* wire(server)
          const [reply] = yield* client.ask({ id: 1, connect: { token: token({ user: name }) } })
          const { subs = {} } = reply?.["connect"] as { readonly subs?: object }
          assert.deepStrictEqual(Object.keys(subs), has ? [`${namespace}:#${name}`] : [])
        }
        assert.lengthOf(said.filter((line) => line.includes("has no personal channel")), 1)
      }).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
    })
  }

  it.scopedLive("is as the token grants it, if that names it", () =>
    Effect.gen(function*() {
      const server = yield* serve({ personalChannel: {} })
      const ada = yield* user(server, "ada", { subs: { "#ada": { data: "hello" } } })
      assert.deepInclude(yield* ada.next("subscribed"), { channel: "#ada", data: "hello" })
    }))
})

describe("what a grant overrides", () => {
  const stream = { historySize: 10, historyTtl: "1 minute" }
  /** What must be on beside an option for it to be seen. */
  const beside = {
    presence: {},
    joinLeave: { forcePushJoinLeave: true },
    forcePushJoinLeave: { joinLeave: true },
    forceRecovery: stream,
    forcePositioning: stream
  } satisfies { readonly [Name in keyof Required<Override>]: NamespaceOptions }

  const names = ["presence", "joinLeave", "forcePushJoinLeave", "forceRecovery", "forcePositioning"] as const

  const nobody = { presence: false, join: false, recoverable: false, positioned: false }
  const seen = {
    presence: { ...nobody, presence: true },
    joinLeave: { ...nobody, join: true },
    forcePushJoinLeave: { ...nobody, join: true },
    forceRecovery: { ...nobody, recoverable: true, positioned: true },
    forcePositioning: { ...nobody, positioned: true }
  }

  const rows: ReadonlyArray<readonly [option: boolean, override: boolean | undefined, is: boolean]> = [
    [false, undefined, false],
    [false, false, false],
    [false, true, true],
    [true, undefined, true],
    [true, false, false],
    [true, true, true]
  ]

  const channel = "granted:x"

  /** What is subscribed, and what is said of that. */
  const ways = {
    "a subscription token": (client: Wire, override: Override) =>
      Effect.map(
        client.ask({ id: 2, subscribe: { channel, token: token({ user: "ada", channel, grant: { override } }) } }),
        ([reply]) => reply?.["subscribe"] as Document
      ),
    "a connection token": (client: Wire, override: Override) =>
      Effect.map(
        client.ask({ id: 1, connect: { token: token({ user: "ada", subs: { [channel]: { override } } }) } }),
        ([reply]) => ((reply?.["connect"] as Document)["subs"] as Record<string, Document>)[channel] ?? {}
      )
  }

  for (const name of names) {
    for (const [way, subscribe] of Object.entries(ways)) {
      it.scopedLive(`${name}, in ${way}`, () =>
        Effect.gen(function*() {
          for (const [option, override, is] of rows) {
            const presence = yield* PresenceMemory.make
            const server = yield* serve({
              namespaces: { granted: { ...beside[name], [name]: option } },
              shared: Layer.merge(BrokerMemory.layer, Layer.succeed(Presence, presence))
            })
            const client = yield* way === "a connection token" ? wire(server) : online(server, { user: "ada" })
            const result = yield* subscribe(client, override === undefined ? {} : { [name]: override })
            // The join, if there is one, comes before the next reply.
            yield* client.send({ id: 3, rpc: { method: "nobody answers" } })
            const { push = {} } = yield* client.next
            assert.deepStrictEqual(
              {
                presence: (yield* presence.get(channel)).size === 1,
                join: Object.hasOwn(push as Document, "join"),
                recoverable: result["recoverable"] ?? false,
                positioned: result["positioned"] ?? false
              },
              is ? seen[name] : nobody,
              `${option} overridden by ${override}`
            )
          }
        }))
    }
  }

  it.scopedLive("who is not announced hears of others, and who alone is announced is heard of", () =>
    Effect.gen(function*() {
      const server = yield* serve({
        namespaces: {
          pushed: { ...open, joinLeave: true, forcePushJoinLeave: true },
          quiet: { ...open, forcePushJoinLeave: true }
        }
      })
      const subscribe = (client: Wire, user: string, channel: string, joinLeave: boolean) =>
        client.ask({
          id: 2,
          subscribe: { channel, token: token({ user, channel, grant: { override: { joinLeave } } }) }
        })
      const users = { watcher: yield* online(server, { user: "watcher" }), ada: yield* online(server, { user: "ada" }) }
      yield* subscribe(users.watcher, "watcher", "pushed:x", false)
      yield* users.ada.ask({ id: 2, subscribe: { channel: "pushed:x" } })
      const heard = (yield* users.watcher.next)["push"] as Document
      assert.nestedInclude(heard, { channel: "pushed:x", "join.info.user": "ada" })
      yield* users.watcher.ask({ id: 3, subscribe: { channel: "quiet:x" } })
      const other = yield* online(server, { user: "eve" })
      yield* subscribe(other, "eve", "quiet:x", true)
      const next = (yield* users.watcher.next)["push"] as Document
      assert.nestedInclude(next, { channel: "quiet:x", "join.info.user": "eve" })
    }))

  it.scopedLive("by a handler, and by the server", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      yield* server.channels.register({
        matches: (channel) => channel === "kept:handled",
        subscribe: () => Effect.succeed({ override: { forceRecovery: true } }),
        publish: () => Effect.succeed(Option.none())
      })
      const ada = yield* user(server, "ada")
      assert.deepInclude(yield* ada.sub("kept:handled").next("subscribed"), { recoverable: true })
      yield* server.channels.subscribeUser("ada", "kept:given", { override: { forceRecovery: true } })
      assert.deepInclude(yield* ada.next("subscribed"), { channel: "kept:given", recoverable: true })
    }))

  it.scopedLive("a leave follows the join that was overridden, and presence goes with its client", () =>
    Effect.gen(function*() {
      const presence = yield* PresenceMemory.make
      const server = yield* serve({ shared: Layer.merge(BrokerMemory.layer, Layer.succeed(Presence, presence)) })
      const grant = { override: { joinLeave: true, forcePushJoinLeave: true, presence: true } }
      const claims = { user: "ada", channel: "closed:x", grant }
      const [ada, watcher] = [yield* user(server, "ada"), yield* user(server, "bob")]
      const heard = yield* watcher.subscribe("closed:x", { token: token({ ...claims, user: "bob" }) })
      yield* ada.subscribe("closed:x", { token: token(claims) })
      assert.strictEqual((yield* presence.get("closed:x")).size, 2)
      ada.client.disconnect()
      assert.strictEqual((yield* heard.next("leave")).info.user, "ada")
      yield* eventuallyEffect(Effect.orDie(Effect.map(presence.get("closed:x"), ({ size }) => size === 1)))
      assert.deepStrictEqual(heard.heard("join").map(({ info }) => info.user), ["bob", "ada"])
    }))
})
