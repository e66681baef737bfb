/** Every wrong option of channels is an error that names it when the layer is built, and every right one is taken. */
import { assert, describe, it } from "@effect/vitest"
import { Hub } from "effect-ws-hub"
import * as Effect from "effect/Effect"
import * as fc from "effect/FastCheck"
import * as Layer from "effect/Layer"
import * as BrokerMemory from "../../src/channels/BrokerMemory.js"
import { Channels } from "../../src/channels/Channels.js"
import type { ChannelsOptions } from "../../src/channels/ChannelsConfig.js"
import * as ChannelsConfig from "../../src/channels/ChannelsConfig.js"
import * as ChannelsLive from "../../src/channels/ChannelsLive.js"
import * as PresenceMemory from "../../src/channels/PresenceMemory.js"
import * as Tokens from "../../src/channels/Tokens.js"

const around = Layer.mergeAll(Hub.layer(), BrokerMemory.layer, PresenceMemory.layer, Tokens.layerAnonymous)

/** What does not come from a compiler may be anything. */
const build = (options: unknown) =>
  Effect.asVoid(Effect.provide(Channels, Layer.provide(ChannelsLive.layer(options as ChannelsOptions), around)))

const kept = { historySize: 10, historyTtl: "5 minutes" }

const news = (options: unknown) => ({ namespaces: { news: options } })

const time = "a duration such as \"10 seconds\" or a number of milliseconds, at most 24 days"
const period = "a duration such as \"5 minutes\" or a number of milliseconds"
const name = "a name of two or more letters, digits, hyphens and underscores, other than __proto__"
const history = "a history beside it: historySize and historyTtl above 0"

const wrong: ReadonlyArray<readonly [options: unknown, key: string, expected: string | RegExp]> = [
  [news({ ...kept, historyTtl: "5 minuets", forceRecovery: true }), "namespaces.news.historyTtl", period],
  [news({ historyTtl: Infinity }), "namespaces.news.historyTtl", period],
  [news({ historyTtl: -1 }), "namespaces.news.historyTtl", period],
  [news({ historyTtl: "-1 seconds" }), "namespaces.news.historyTtl", period],
  [news({ historyMetaTtl: "Infinity" }), "namespaces.news.historyMetaTtl", period],
  [news({ historySize: -3.5 }), "namespaces.news.historySize", "a whole number, 0 or above"],
  [news({ histroySize: 10 }), "namespaces.news.histroySize", /^one of presence, .*, historySize, /],
  [news({ presence: "yes" }), "namespaces.news.presence", "true or false"],
  [news({ channelRegex: "(" }), "namespaces.news.channelRegex", "a regular expression"],
  [news({ forceRecoveryMode: "newest" }), "namespaces.news.forceRecoveryMode", "stream or cache"],
  [news({ overflow: "panic" }), "namespaces.news.overflow", "disconnect, drop-oldest, drop-newest or conflate"],
  [news({ forceRecovery: true }), "namespaces.news.forceRecovery", history],
  [news({ allowRecovery: true, historySize: 10 }), "namespaces.news.allowRecovery", history],
  [news({ allowRecovery: true, historySize: 10, historyTtl: 0 }), "namespaces.news.allowRecovery", history],
  [news({ forcePositioning: true }), "namespaces.news.forcePositioning", history],
  [news({ allowPositioning: true }), "namespaces.news.allowPositioning", history],
  [
    news({ autoCacheRecover: true, historySize: 1, historyTtl: "1 minute", forceRecovery: true }),
    "namespaces.news.autoCacheRecover",
    "forceRecoveryMode cache beside it"
  ],
  [news({ coalesceWindow: "1 micro" }), "namespaces.news.coalesceWindow", /^0 or a duration from 1 millisecond/],
  [news({ coalesceWindow: "25 days" }), "namespaces.news.coalesceWindow", /^0 or a duration from 1 millisecond/],
  [news(null), "namespaces.news", "an object"],
  [news([]), "namespaces.news", "an object"],
  [{ namespaces: { n: {} } }, "namespaces.n", name],
  [{ namespaces: { "a.b": {} } }, "namespaces.a.b", name],
  [{ namespaces: { ["__proto__"]: {} } }, "namespaces.__proto__", name],
  [{ namespaces: null }, "namespaces", "an object"],
  [news({ historySize: 10 }), "namespaces.news.historyTtl", "a value beside historySize, or 0 for no history"],
  [news({ historyTtl: "1 minute" }), "namespaces.news.historySize", "a value beside historyTtl, or 0 for no history"],
  [{ withoutNamespace: { historySize: 1.5 } }, "withoutNamespace.historySize", "a whole number, 0 or above"],
  [{ pingIntervall: "1 second" }, "pingIntervall", /^one of insecure, .*, pingInterval, .*, namespaces$/],
  [{ insecure: "false" }, "insecure", "true or false"],
  [{ name: 5 }, "name", "text"],
  [{ version: null }, "version", "text"],
  [{ pingInterval: "1.5 seconds" }, "pingInterval", "whole seconds"],
  [{ pingInterval: "soon" }, "pingInterval", time],
  [{ pongTimeout: NaN }, "pongTimeout", time],
  [{ pingInterval: "5 seconds" }, "pongTimeout", "less than pingInterval, which is 5 seconds"],
  [{ pongTimeout: "25 seconds" }, "pongTimeout", "less than pingInterval, which is 25 seconds"],
  [{ staleTimeout: 0 }, "staleTimeout", `${time}, and above 0`],
  [{ expiredDelay: "-1 seconds" }, "expiredDelay", time],
  [{ expiredDelay: 2 ** 31 }, "expiredDelay", time],
  [{ presenceInterval: 0 }, "presenceInterval", `${time}, and above 0`],
  [{ presenceTtl: "27 seconds" }, "presenceTtl", "more than presenceInterval, which is 27 seconds"],
  [{ presenceInterval: "2 minutes" }, "presenceTtl", "more than presenceInterval, which is 120 seconds"],
  [{ positionCheckInterval: -1 }, "positionCheckInterval", `${time}, and above 0`],
  ...["channelLimit", "userConnections", "recoveryLimit", "historyLimit"].flatMap((key) =>
    [-1, 1.5, "5", Infinity].map((actual) => [{ [key]: actual }, key, "a whole number, or 0 for no limit"] as const)
  ),
  [{ personalChannel: true }, "personalChannel", "an object"],
  [{ personalChannel: { namespace: 5 }, withoutNamespace: {} }, "personalChannel.namespace", "text"],
  [{ personalChannel: { enabled: true }, withoutNamespace: {} }, "personalChannel.enabled", /^one of namespace, /],
  [{ personalChannel: { singleConnection: 1 }, withoutNamespace: {} }, "personalChannel.singleConnection", /^true/],
  [{ personalChannel: {} }, "personalChannel.namespace", /^the name of a namespace/],
  [{ ...news({}), personalChannel: { namespace: "chat" } }, "personalChannel.namespace", /^the name of a namespace/]
]

describe("wrong options of channels", () => {
  it.effect.each(wrong)("%j: %s", ([options, key, expected]) =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(build(options))
      assert.strictEqual(error._tag, "InvalidOption")
      assert.strictEqual(error.key, key)
      if (typeof expected === "string") assert.strictEqual(error.expected, expected)
      else assert.match(error.expected, expected)
    }))

  it("are all found at once", () => {
    const options = { pingInterval: 500, namespaces: { n: {}, news: { overflow: "conflate", forceRecovery: true } } }
    assert.sameMembers(ChannelsConfig.problems(options as ChannelsOptions).map(({ key }) => key), [
      "pingInterval",
      "pongTimeout",
      "namespaces.n",
      "namespaces.news.forceRecovery",
      "namespaces.news.overflow"
    ])
  })
})

const right: ReadonlyArray<ChannelsOptions> = [
  {},
  { withoutNamespace: undefined, namespaces: undefined, pingInterval: undefined, personalChannel: undefined },
  { pingInterval: 0 },
  { pongTimeout: 0, pingInterval: "1 second" },
  { presenceInterval: 1, presenceTtl: 2, expiredDelay: 0, channelLimit: 0, recoveryLimit: 0 },
  { namespaces: { "a-_1": { ...kept, allowRecovery: true, overflow: undefined }, news: { coalesceWindow: 1 } } },
  { namespaces: { news: { historySize: 0 }, olds: { historyTtl: "0 seconds" } } },
  { withoutNamespace: { historySize: 0, historyTtl: "0 seconds", coalesceWindow: "0 millis" }, personalChannel: {} },
  { namespaces: { news: { channelRegex: "^\\p{Letter}+$" } }, personalChannel: { namespace: "news" } }
]

describe("right options of channels", () => {
  it.effect.each(right)("%j", build)

  it.effect("a namespace is refused, or it is as it was meant: never something else without a word", () =>
    Effect.promise(() =>
      fc.assert(fc.asyncProperty(
        fc.oneof(fc.integer({ min: -2, max: 3 }), fc.double(), fc.string(), fc.constantFrom("1 minute", "0 millis")),
        fc.oneof(fc.integer({ min: -2, max: 3 }), fc.double(), fc.string()),
        fc.boolean(),
        async (historyTtl, historySize, forceRecovery) => {
          const built = await Effect.runPromise(Effect.either(build(news({ historyTtl, historySize, forceRecovery }))))
          const isSize = Number.isSafeInteger(historySize) && Number(historySize) >= 0
          const isKept = isSize && Number(historySize) > 0 && (historyTtl === "1 minute" || Number(historyTtl) > 0)
          if (built._tag === "Left") assert.match(built.left.key, /^namespaces\.news\./)
          else assert.isTrue(isSize && (isKept || !forceRecovery), JSON.stringify({ historyTtl, historySize }))
        }
      ))
    ))
})
