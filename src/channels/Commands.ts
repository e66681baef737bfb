/**
 * What a connected client may ask for.
 *
 * @since 1.0.0
 */
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import type { Disconnect } from "../core/HubError.js"
import * as Access from "./Access.js"
import type { Grant } from "./Authenticator.js"
import type { ChannelHandler } from "./Channels.js"
import * as Connecting from "./Connecting.js"
import * as Expiry from "./Expiry.js"
import type { Namespace } from "./Namespace.js"
import { badRequest, disconnects, errors, internalError, notJson, type ProtocolError } from "./ProtocolCode.js"
import type { Command } from "./ProtocolCommand.js"
import { isDeep, replies, stringify } from "./ProtocolReply.js"
import type { Session } from "./Session.js"
import * as Subscribing from "./Subscribing.js"
import { Subscription } from "./Subscription.js"

/**
 * The reply to a command is sent when this succeeds; its failure is the reply, or closes the connection.
 *
 * @internal
 */
export type Handled = Effect.Effect<void, ProtocolError | Disconnect>

type Of<Tag extends Command["_tag"]> = Extract<Command, { readonly _tag: Tag }>

/** @internal */
export const handle = (session: Session, command: Exclude<Command, { _tag: "pong" | "connect" }>): Handled => {
  switch (command._tag) {
    case "publish":
      return publish(session, command)
    case "subscribe":
      return session.exclusively(command.params.channel, subscribe(session, command))
    case "unsubscribe":
      return session.exclusively(command.channel, unsubscribe(session, command))
    case "presence":
    case "presence_stats":
      return presence(session, command)
    case "history":
      return history(session, command)
    case "rpc":
      return rpc(session, command)
    case "send":
      return session.atLeisure(session.node.receive(command.data, session.caller))
    case "refresh":
      return Connecting.refresh(session, command)
    case "sub_refresh":
      return refresh(session, command)
    case "ping":
      return Effect.fail(errors.notAvailable)
  }
}

/** What a span may tell of a command: no token, no data, and of a name that is no channel's as much as of one that is. */
const attributesOf = (command: Exclude<Command, { _tag: "pong" }>): Readonly<Record<string, string>> | undefined => {
  switch (command._tag) {
    case "connect":
    case "refresh":
      return {}
    case "subscribe":
      return { channel: command.params.channel.slice(0, mostShown) }
    case "sub_refresh":
      return { channel: command.channel.slice(0, mostShown) }
    case "rpc":
      return { method: command.method.slice(0, mostShown) }
    default:
      return undefined
  }
}

const mostShown = 255

/** Effect's own, which shows its spans to nobody. */
const noTracer = Context.get(DefaultServices.liveServices, Tracer.Tracer)

/**
 * In a span of its own, if it runs code of the application as a rule; what clients do most has none. It has no parent:
 * what was traced when the connection came to be has long ended.
 *
 * @internal
 */
export const traced = (command: Exclude<Command, { _tag: "pong" }>, handled: Handled): Handled => {
  const attributes = attributesOf(command)
  if (attributes === undefined) return handled
  const options = { attributes, captureStackTrace: false, root: true }
  return Effect.tracerWith((tracer) =>
    tracer === noTracer ? handled : Effect.withSpan(handled, `Session.${command._tag}`, options)
  )
}

/** The namespace of a channel, unless the client does this too often. */
const inNamespace = (
  session: Session,
  channel: string,
  operation: "publish" | "subscribe" | "history",
  use: (namespace: Namespace) => Handled
): Handled =>
  Effect.suspend(() => {
    const found = session.node.namespaceOf(channel)
    if (Either.isLeft(found)) return Effect.fail(found.left)
    const limited = session.limit(operation, found.right)
    return limited === undefined ? use(found.right) : Effect.fail(limited)
  })

const begin = Effect.fnUntraced(function*(
  session: Session,
  id: number,
  params: Of<"subscribe">["params"],
  subscription: Subscription,
  handler: Effect.Effect<Grant, ProtocolError | Disconnect> | undefined
) {
  const { node } = session
  const { channel, namespace } = subscription
  const grant = yield* session.atLeisure(Access.subscribe({
    params,
    caller: session.caller,
    namespace,
    insecure: node.config.insecure,
    personal: node.config.personalChannel?.prefix,
    tokens: node.authenticator,
    handler
  }))
  if (Expiry.isOver(grant, session.node.unixTime())) {
    return yield* (params.token === "" ? errors.expired : errors.tokenExpired)
  }
  const unsayable = session.unsayable([grant])
  if (unsayable !== undefined) return yield* unsayable
  // Only who brings tokens can bring another.
  subscription.refreshable = params.token !== ""
  // Before anything is kept for the client: what it missed may be much.
  if (params.recover) yield* session.caughtUp
  const prepared = yield* Subscribing.prepare(subscription, grant, params, session.roomFor([grant]))
  yield* Subscribing.commit(session, [prepared], (results) => {
    const result = results.get(channel)
    if (result !== undefined) session.reply(replies.subscribe(id, result))
  })
})

const subscribe = (session: Session, { id, params }: Of<"subscribe">): Handled => {
  const { node } = session
  const { channel } = params
  switch (params.unsupported) {
    case "delta":
      return Effect.fail(disconnects.badRequest)
    case "filter":
      return Effect.fail(badRequest("filters are not available"))
    case "type":
      return Effect.fail(errors.notAvailable)
  }
  return inNamespace(session, channel, "subscribe", (namespace) => {
    if (session.subscriptions.has(channel)) return Effect.fail(errors.alreadySubscribed)
    if (session.subscriptions.size >= node.config.channelLimit) return Effect.fail(errors.limitExceeded)
    const subscription = new Subscription(session, channel, namespace, false)
    session.subscriptions.set(channel, subscription)
    const handler = node.handlerOf(channel)
    const handled = handler && Effect.flatMap(Scope.make(), (scope) => {
      subscription.scope = scope
      return handler.subscribe({ channel, data: params.data, caller: session.caller, scope })
    })
    return Effect.tapErrorCause(
      begin(session, id, params, subscription, handled),
      () => Subscribing.release(subscription)
    )
  })
}

const unsubscribe = (session: Session, { channel, id }: Of<"unsubscribe">): Handled =>
  Effect.suspend(() => {
    const subscription = session.subscriptions.get(channel)
    const released = subscription === undefined ? Effect.void : Subscribing.release(subscription)
    return Effect.map(released, () => session.reply(replies.empty(id, "unsubscribe")))
  })

/** By a handler of the application, which decides what is published, if anything. */
const publishBy = (
  handler: ChannelHandler,
  session: Session,
  { channel, data, id }: Of<"publish">,
  namespace: Namespace
): Handled => {
  const { node } = session
  const info = session.infoIn(session.subscriptions.get(channel))
  const reply = () => session.reply(replies.empty(id, "publish"))
  return session.atLeisure(
    Effect.suspend(() =>
      handler.publish({ channel, data, caller: session.caller, isSubscriber: session.isSubscriber(channel) })
    )
  ).pipe(
    Effect.flatMap((instead): Handled =>
      instead._tag === "None"
        ? Effect.sync(reply)
        // What is wrong with the client's own data is told to the client; anything else is the application's fault.
        : Effect.mapError(
          node.publisher.publish(channel, namespace, instead.value, {}, info, reply),
          (error) => error.code === errors.badRequest.code && instead.value !== data ? internalError(error) : error
        )
    )
  )
}

/** Decides at once and in few steps, since it is what clients do most: it runs when the command is handled. */
const publish = (session: Session, command: Of<"publish">): Handled => {
  const { channel, data, id } = command
  const { node } = session
  const found = node.namespaceOf(channel)
  if (Either.isLeft(found)) return Effect.fail(found.left)
  const namespace = found.right
  if (data === undefined) return Effect.fail(badRequest("a publication has data"))
  const limited = session.limit("publish", namespace)
  if (limited !== undefined) return Effect.fail(limited)
  const handler = node.handlerOf(channel)
  if (handler !== undefined) return publishBy(handler, session, command, namespace)
  const subscription = session.subscriptions.get(channel)
  if (!session.may("publish", namespace, subscription?.status === "Live")) return Effect.fail(errors.permissionDenied)
  const info = session.infoIn(subscription)
  const { publications } = session
  return publications === undefined || namespace.coalesceWindow > 0
    ? node.publisher.publish(channel, namespace, data, {}, info, () => session.reply(replies.empty(id, "publish")))
    : node.publisher.together(channel, namespace, data, info, publications, id)
}

const presence = (session: Session, { _tag, channel, id }: Of<"presence" | "presence_stats">): Handled =>
  inNamespace(session, channel, "history", (namespace): Handled => {
    const { node } = session
    if (!namespace.presence) return Effect.fail(errors.notAvailable)
    if (!session.may("readPresence", namespace, session.isSubscriber(channel))) {
      return Effect.fail(errors.permissionDenied)
    }
    return _tag === "presence"
      ? Effect.flatMap(
        node.presenceOf(channel),
        (found) => session.answer(replies.presence(id, found))
      )
      : Effect.map(node.statsOf(channel), (found) => session.reply(replies.presenceStats(id, found)))
  })

const history = (session: Session, { channel, id, options }: Of<"history">): Handled =>
  inNamespace(session, channel, "history", (namespace) => {
    const { node } = session
    if (namespace.stream === undefined) return Effect.fail(errors.notAvailable)
    if (!session.may("readHistory", namespace, session.isSubscriber(channel))) {
      return Effect.fail(errors.permissionDenied)
    }
    const limit = Math.min(options.limit ?? Infinity, node.config.historyLimit)
    return Effect.flatMap(
      node.history(channel, namespace, { ...options, limit: limit === Infinity ? undefined : limit }),
      ({ position, publications }) => session.answer(replies.history(id, publications, position))
    )
  })

const rpc = (session: Session, { data, id, method }: Of<"rpc">): Handled =>
  Effect.flatMap(session.atLeisure(session.node.call(method, data, session.caller)), (answer) => {
    const json = stringify(answer ?? null)
    if (json !== undefined) return session.answer(replies.rpc(id, json))
    // What is made of such data is the client's fault; anything else that has no text is the application's.
    return Effect.fail(isDeep(data) ? notJson : internalError(`the method ${method} answered what is not JSON`))
  })

const refresh = (session: Session, { channel, id, token }: Of<"sub_refresh">): Handled =>
  Effect.gen(function*() {
    const { client, node, user } = session
    const subscription = session.subscriptions.get(channel)
    if (subscription === undefined) return yield* errors.permissionDenied
    if (token === "") return yield* disconnects.badRequest
    const grant = yield* session.atLeisure(node.authenticator.subscribe(token, { channel, user, client }))
    if (Expiry.isOver(grant, session.node.unixTime())) return yield* errors.tokenExpired
    subscription.expireAt = grant.expireAt
    subscription.refreshable = true
    subscription.info = grant.info
    session.reply(replies.refresh(id, "sub_refresh", Expiry.ttlOf(grant.expireAt, node.unixTime())))
  })
