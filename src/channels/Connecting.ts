/**
 * How a client says who it is, and says so again before that expires.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type { Disconnect } from "../core/HubError.js"
import * as Access from "./Access.js"
import type { Credentials, Grant } from "./Authenticator.js"
import type { ChannelsConfig } from "./ChannelsConfig.js"
import * as Expiry from "./Expiry.js"
import { disconnects, errors, type ProtocolError } from "./ProtocolCode.js"
import type { Command } from "./ProtocolCommand.js"
import { replies } from "./ProtocolReply.js"
import type { Session } from "./Session.js"
import * as Subscribing from "./Subscribing.js"
import { Subscription } from "./Subscription.js"

interface Identified {
  /** What the server subscribes the client to. */
  readonly granted: ReadonlyArray<readonly [Subscription, Grant]>
  /** Whom it replaces: its user's earlier connections, where there may be but one. */
  readonly replaced: ReadonlyArray<Session>
}

/** Whether any of what the client was granted has expired before it began. */
const isOver = (credentials: Credentials, { node }: Session): boolean => {
  const now = node.unixTime()
  return [credentials, ...credentials.subscriptions.values()].some((granted) => Expiry.isOver(granted, now))
}

/** The channel of the user's own, if there can be one: its name must be of the namespace, and no others' too. */
const personalOf = (
  { node, user }: Session,
  { namespace, prefix }: NonNullable<ChannelsConfig["personalChannel"]>
): string | undefined => {
  if (user === "") return undefined
  const channel = Access.personalChannel(prefix, user)
  const found = channel === undefined ? undefined : Either.getOrUndefined(node.namespaceOf(channel))
  if (found?.name === namespace) return channel
  node.fork(node.faults.sayOnce("A user whose id does not fit into the name of a channel has no personal channel"))
  return undefined
}

/** From here on the user is known, and so are the channels that the server subscribes it to. */
const identify = (
  session: Session,
  credentials: Credentials
): Effect.Effect<Identified, ProtocolError | Disconnect> =>
  Effect.suspend((): Effect.Effect<Identified, ProtocolError | Disconnect> => {
    const { node } = session
    const { clientRefresh, subscriptions, user } = credentials
    session.credentials = credentials
    if (isOver(credentials, session)) {
      return Effect.fail(clientRefresh ? errors.tokenExpired : errors.expired)
    }
    const { channelLimit, personalChannel, userConnections } = node.config
    const others = user === "" ? [] : node.roster.of(user)
    const replaced = personalChannel?.singleConnection === true ? others : []
    if (others.length - replaced.length >= userConnections) return Effect.fail(disconnects.connectionLimit)
    node.roster.add(session)
    const grants = new Map(subscriptions)
    const personal = personalChannel && personalOf(session, personalChannel)
    if (personal !== undefined && !grants.has(personal)) grants.set(personal, {})
    if (grants.size > channelLimit) return Effect.fail(disconnects.channelLimit)
    const subscribed = Effect.forEach(
      grants,
      ([channel, grant]) =>
        Effect.map(node.namespaceOf(channel), (namespace) => {
          const subscription = new Subscription(session, channel, namespace, true)
          session.subscriptions.set(channel, subscription)
          return [subscription, grant] as const
        })
    )
    return Effect.map(subscribed, (granted) => ({ granted, replaced }))
  })

/** Seconds until the connection expires, if it is the client that refreshes it. */
const ttlOf = ({ credentials: { clientRefresh, expireAt }, node }: Session): number | undefined =>
  clientRefresh ? Expiry.ttlOf(expireAt, node.unixTime()) : undefined

const answer = Effect.fnUntraced(function*(
  session: Session,
  { data, headers, id, name, subscriptions, token, version }: Connect,
  connected: () => void
) {
  const { client, connection: { handshake }, node } = session
  const credentials = yield* session.atLeisure(
    node.authenticator.connect({ token, data, name, version, headers, client, handshake })
  )
  const { granted, replaced } = yield* identify(session, credentials)
  const returning = granted.filter(([{ channel }]) => subscriptions.get(channel)?.recover === true)
  const given = [credentials, ...granted.map(([, grant]) => grant)]
  const unsayable = session.unsayable(given)
  if (unsayable !== undefined) return yield* unsayable
  const room = session.roomFor(given, Math.max(1, returning.length))
  const prepared = yield* Effect.forEach(granted, ([subscription, grant]) => {
    const asked = subscriptions.get(subscription.channel)
    const was = asked?.recover === true ? Subscribing.returning(asked.since) : undefined
    return Subscribing.prepare(subscription, grant, was, room)
  })
  yield* Subscribing.commit(session, prepared, (results) => {
    connected()
    session.reply(replies.connect(id, {
      client,
      version: node.config.version,
      ttl: ttlOf(session),
      data: credentials.data,
      subscriptions: results,
      ping: node.config.pingInterval / 1000,
      pong: node.config.pingInterval > 0 && node.config.pongTimeout !== Infinity
    }))
    // Not before: a connection that fails replaces none.
    for (const other of replaced) other.close(disconnects.connectionLimit)
  })
})

type Connect = Extract<Command, { _tag: "connect" }>

/**
 * Answers the connect command: with all that the server subscribes the client to. `connected` is called with the reply.
 *
 * @internal
 */
export const connect = (
  session: Session,
  command: Connect,
  connected: () => void
): Effect.Effect<void, ProtocolError | Disconnect> =>
  answer(session, command, connected).pipe(
    Effect.tapErrorCause(() =>
      Effect.suspend(() => {
        // The socket may stay open for a while, and must not count among its user's.
        session.node.roster.leave(session)
        return session.releaseAll
      })
    )
  )

/**
 * Answers the refresh command. Where the new token names other channels than the one before, the client connects again.
 *
 * @internal
 */
export const refresh = (
  session: Session,
  { id, token }: Extract<Command, { _tag: "refresh" }>
): Effect.Effect<void, ProtocolError | Disconnect> =>
  Effect.gen(function*() {
    const before = session.credentials
    if (!before.clientRefresh || token === "") return yield* disconnects.badRequest
    const credentials = yield* session.atLeisure(session.node.authenticator.refresh(token, session.user)).pipe(
      Effect.catchIf((error) => error.code === errors.tokenExpired.code, () => disconnects.expired)
    )
    if (credentials.user !== session.user) return yield* disconnects.invalidToken
    if (isOver(credentials, session)) return yield* disconnects.expired
    const channels = credentials.subscriptions
    const isSame = channels.size === before.subscriptions.size &&
      [...before.subscriptions.keys()].every((channel) => channels.has(channel))
    if (!isSame) return yield* disconnects.insufficientState
    session.credentials = credentials
    session.reply(replies.refresh(id, "refresh", ttlOf(session)))
  })

/**
 * The server says when the connection expires, or that it has.
 *
 * @internal
 */
export const refreshBy = (
  session: Session,
  { expireAt, expired, info }: {
    readonly expired?: boolean | undefined
    readonly expireAt?: number | undefined
    readonly info?: unknown
  }
): void => {
  if (expired === true) return session.close(disconnects.expired)
  const { credentials } = session
  session.credentials = { ...credentials, expireAt, info: info ?? credentials.info }
}
