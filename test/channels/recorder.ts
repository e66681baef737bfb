/** `Channels` that writes down what it is asked, and answers from what the name of the channel says. */
import { Disconnect } from "effect-ws-hub"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { Channels } from "../../src/channels/Channels.js"
import { badRequest, errors, internalError, ProtocolError } from "../../src/channels/ProtocolCode.js"
import type { ClientInfo } from "../../src/channels/Publication.js"

export interface Call {
  readonly method: string
  readonly args: ReadonlyArray<unknown>
}

const refusals = new Map<string, ProtocolError>([
  ["unknown:", errors.unknownChannel],
  ["denied:", errors.permissionDenied],
  ["plain:", errors.notAvailable],
  ["lost:", errors.unrecoverablePosition],
  ["busy:", errors.tooManyRequests],
  ["conflict:", errors.conflict],
  ["broken:", internalError(new Error("the broker is down"))],
  ["temporary:", new ProtocolError({ code: 450, reason: "later", temporary: true })],
  ["", badRequest("a channel's name has 1 to 255 characters")]
])

/** One connection; a node is missing if the user is Eve. */
const counted = (user: string) => ({ count: 1, missing: user === "eve" ? ["n2"] : [] })

export const ada: ClientInfo = { user: "ada", client: "c1", connInfo: { name: "Ada" }, chanInfo: null }

/** With `hold`, a publication to `held:` waits for it; `first` is told of it. */
export const make = () => {
  const calls: Array<Call> = []
  const held = Deferred.unsafeMake<void>(-1 as never)
  const ask = <A>(method: string, channel: string, args: ReadonlyArray<unknown>, answer: () => A) =>
    Effect.suspend(() => {
      calls.push({ method, args })
      const refused = refusals.get(channel === "" ? "" : channel.slice(0, channel.indexOf(":") + 1) || "none")
      if (channel === "defect:") throw new Error("a bug")
      return refused === undefined ? Effect.succeed(answer()) : refused
    })
  const position = (channel: string) =>
    channel === "free" ? Option.none() : Option.some({ offset: calls.length, epoch: "e" })

  const service = Channels.of({
    publish: (channel, data, options) =>
      channel === "held:wait"
        ? Effect.zipRight(Deferred.await(held), Effect.sync(() => position(channel)))
        : Effect.tap(ask("publish", channel, [channel, data, options], () => position(channel)), () =>
          channel === "held:release" ? Deferred.succeed(held, undefined) : Effect.void),
    broadcast: (channels, data, options) =>
      Effect.sync(() => {
        calls.push({ method: "broadcast", args: [channels, data, options] })
        return channels.map((channel) =>
          channel === "unknown:a" ? Either.left(errors.unknownChannel) : Either.right(position(channel))
        )
      }),
    subscribe: () => Stream.empty,
    history: (channel, options) =>
      ask("history", channel, [channel, options], () => ({
        publications: options?.limit === 0 ? [] : [
          { data: { n: 1 }, offset: 1, info: ada, tags: Object.fromEntries([["__proto__", "x"]]) },
          { data: null, offset: 0 }
        ],
        offset: 2,
        epoch: "e"
      })),
    removeHistory: (channel) => ask("removeHistory", channel, [channel], () => undefined),
    presence: (channel) =>
      ask(
        "presence",
        channel,
        [channel],
        () => new Map([["c1", ada], ["__proto__", { user: "", client: "__proto__" }]])
      ),
    presenceStats: (channel) => ask("presenceStats", channel, [channel], () => ({ clients: 2, users: 1 })),
    disconnect: (user, options) => Effect.orDie(ask("disconnect", "none", [user, options], () => counted(user))),
    unsubscribe: (user, channel, options) => ask("unsubscribe", channel, [user, channel, options], () => counted(user)),
    subscribeUser: (user, channel, options) =>
      ask("subscribeUser", channel, [user, channel, options], () => counted(user)),
    refresh: (user, options) => Effect.orDie(ask("refresh", "none", [user, options], () => counted(user))),
    channels: (pattern) =>
      Effect.orDie(
        ask("channels", "none", [pattern], () => ({
          channels: new Map([["news", { clients: 3 }], ["__proto__", { clients: 1 }]]),
          missing: []
        }))
      ),
    info: Effect.succeed({
      nodes: [
        { uid: "u", name: "n", version: "v", clients: 1, users: 2, channels: 3, subscriptions: 4, uptime: 5.7 }
      ],
      missing: []
    }),
    rpc: () => Effect.void,
    call: (method, data) => {
      calls.push({ method: "call", args: [method, data] })
      switch (method) {
        case "echo":
          return Effect.succeed(data)
        case "nothing":
          return Effect.void
        case "bigint":
          return Effect.succeed(1n)
        case "kick":
          return new Disconnect({ code: 4501, reason: "go away" })
        case "own":
          return new ProtocolError({ code: 1400, reason: "not today", temporary: false })
        default:
          return errors.methodNotFound
      }
    },
    onMessage: () => Effect.void,
    send: () => Effect.succeed({ sent: false, missing: [] }),
    register: () => Effect.void,
    serve: () => Effect.void
  })
  return { calls, service }
}
