/**
 * How a client subscribes, and what a subscriber gets.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { HistoryOptions } from "../channels/Channels.js"
import type { PresenceStats } from "../channels/Presence.js"
import { badRequest, ProtocolError } from "../channels/ProtocolCode.js"
import type { ClientInfo } from "../channels/Publication.js"
import { type Gap, type Unanswered, Unsubscribed } from "./ClientError.js"
import { defined, unsendable } from "./ClientOptions.js"
import type { Connection } from "./Connection.js"
import { type Fetch, infoOf, publicationOf, tokens } from "./Sdk.js"
import { type Asked, SharedSubscription } from "./SharedSubscription.js"
import { Subscriber } from "./Subscriber.js"
import type {
  Event,
  History,
  Published,
  RequestError,
  SubscribeError,
  SubscribeOptions,
  Subscription
} from "./Subscription.js"

/**
 * The publications among events. Fails at a gap.
 *
 * @internal
 */
export const publicationsOf = <A, E>(events: Stream.Stream<Event<A>, E>): Stream.Stream<Published<A>, E | Gap> =>
  Stream.filterMapEffect(events, (event) => {
    switch (event._tag) {
      case "Published":
        return Option.some(Effect.succeed(event))
      case "Recovered":
        return Option.none()
      case "Gap":
        return Option.some(Effect.fail(event))
    }
  })

/**
 * What a client asks about a channel by its name.
 *
 * @internal
 */
export const requests = (connection: Pick<Connection, "request">) => ({
  publish: (channel: string, data: unknown): Effect.Effect<void, RequestError> =>
    Effect.asVoid(connection.request((sdk) => sdk.publish(channel, data))),
  history: (channel: string, { limit, reverse, since }: HistoryOptions = {}): Effect.Effect<History, RequestError> =>
    Effect.map(
      connection.request((sdk) => sdk.history(channel, defined({ limit, reverse, since }))),
      ({ epoch, offset, publications }) => ({ epoch, offset, publications: publications.map(publicationOf) })
    ),
  presence: (channel: string): Effect.Effect<ReadonlyMap<string, ClientInfo>, RequestError> =>
    Effect.map(
      connection.request((sdk) => sdk.presence(channel)),
      ({ clients }) => new Map(Object.entries(clients).map(([client, info]) => [client, infoOf(info)]))
    ),
  presenceStats: (channel: string): Effect.Effect<PresenceStats, RequestError> =>
    Effect.map(
      connection.request((sdk) => sdk.presenceStats(channel)),
      ({ numClients, numUsers }) => ({ clients: numClients, users: numUsers })
    )
})

/**
 * The subscriptions of a client.
 *
 * @internal
 */
export class Subscriptions {
  private readonly shared = new Map<string, SharedSubscription>()
  private readonly connection: Connection

  constructor(connection: Connection) {
    this.connection = connection
    connection.onEnd = (error) => {
      for (const shared of [...this.shared.values()]) shared.end(error)
    }
  }

  subscribe<E = never, R = never>(
    channel: string,
    options: SubscribeOptions<E, R> = {}
  ): Effect.Effect<Subscription, SubscribeError, Scope.Scope | Exclude<R, Scope.Scope>> {
    const { getToken, ...asked } = options
    return Effect.uninterruptibleMask((restore) =>
      Effect.gen(this, function*() {
        const fetch = yield* tokens(getToken)
        const subscriber = new Subscriber(asked.bufferSize ?? this.connection.bufferSize, asked)
        const shared = yield* this.join(channel, asked, fetch, subscriber)
        const leave = Effect.sync(() => shared.leave(subscriber))
        yield* Effect.onError(restore(shared.active), () => leave)
        yield* Effect.addFinalizer(() => leave)
        return this.subscription(channel, shared, subscriber)
      })
    )
  }

  private join(
    channel: string,
    asked: Asked,
    fetch: Fetch | undefined,
    subscriber: Subscriber
  ): Effect.Effect<SharedSubscription, SubscribeError> {
    return Effect.suspend((): Effect.Effect<SharedSubscription, SubscribeError> => {
      const { state } = this.connection
      if (state._tag === "Disconnected") return Effect.fail(state.error)
      // Without a name the server would close the connection; of the others the SDK believes that it has them.
      if (channel === "" || channel in Object.prototype) {
        return Effect.fail(badRequest(`nobody can subscribe to a channel named ${JSON.stringify(channel)}`))
      }
      const wrong = unsendable(asked.data)
      if (wrong !== undefined) return Effect.fail(badRequest(wrong))
      const existing = this.shared.get(channel)
      const lacks = existing?.lacks(asked, fetch !== undefined)
      if (lacks !== undefined) {
        const reason = `already subscribed, without the ${lacks} asked for`
        return Effect.fail(new ProtocolError({ code: 105, reason, temporary: false }))
      }
      const shared = existing ??
        new SharedSubscription(this.connection, channel, asked, fetch, () => this.shared.delete(channel))
      this.shared.set(channel, shared)
      shared.join(subscriber)
      return Effect.succeed(shared)
    })
  }

  private subscription(channel: string, shared: SharedSubscription, subscriber: Subscriber): Subscription {
    const { connection } = this
    const active = Effect.suspend(() =>
      subscriber.left
        ? new Unsubscribed({ channel, code: 0, reason: "unsubscribe called" })
        : connection.inTime(shared.active)
    )
    const once = <A, E>(request: Effect.Effect<A, E>): Effect.Effect<A, E | SubscribeError | Unanswered> =>
      Effect.zipRight(active, request)
    const { history, presence, presenceStats, publish } = requests(connection)
    return {
      channel,
      data: subscriber.granted?.data,
      position: subscriber.granted?.position,
      events: subscriber.events.stream,
      publications: publicationsOf(subscriber.events.stream),
      members: subscriber.members.stream,
      publish: (message) => once(publish(channel, message)),
      history: (options) => once(history(channel, options)),
      presence: once(presence(channel)),
      presenceStats: once(presenceStats(channel))
    }
  }
}
