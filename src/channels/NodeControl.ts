/**
 * What a node does to its own clients, for itself and when another node asks for it.
 *
 * @since 1.0.0
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import { Disconnect } from "../core/HubError.js"
import type { NodeInfo } from "./Channels.js"
import * as Connecting from "./Connecting.js"
import * as Control from "./Control.js"
import { globOf } from "./Glob.js"
import type { Node } from "./Node.js"
import type { ProtocolError } from "./ProtocolCode.js"
import { pushes } from "./ProtocolReply.js"
import type { Session } from "./Session.js"
import * as Subscribing from "./Subscribing.js"

/** In the node's care: whoever asked for the changes may be interrupted, and they go on. */
const each = (
  node: Node,
  channel: string,
  sessions: ReadonlyArray<Session>,
  change: (session: Session) => Effect.Effect<void>
): Effect.Effect<number> =>
  Effect.suspend(() => {
    if (node.isClosed) return Effect.succeed(0)
    const changes = sessions.map((session) => {
      const done = Deferred.unsafeMake<void>(FiberId.none)
      node.fork(Effect.asVoid(Effect.intoDeferred(session.change(channel, change(session)), done)))
      return done
    })
    return Effect.as(Effect.forEach(changes, Deferred.await, { discard: true }), sessions.length)
  })

/** @internal */
export const info = (node: Node): NodeInfo => ({
  uid: node.uid,
  name: node.config.name,
  version: node.config.version,
  ...node.roster.counts,
  channels: node.members.size,
  subscriptions: [...node.members].reduce((sum, { subscriptions }) => sum + subscriptions.size, 0),
  uptime: node.uptime
})

/** @internal */
export const channels = (
  node: Node,
  { pattern }: Control.FindChannels
): ReadonlyArray<readonly [name: string, clients: number]> => {
  const matches = globOf(pattern)
  return [...node.members].flatMap(({ name, subscriptions: { size } }) =>
    size > 0 && matches(name) ? [[name, size] as const] : []
  )
}

/** @internal */
export const disconnect = (node: Node, { client, code, except, reason, user }: Control.Disconnect): number => {
  const sessions = node.roster.of(user, client).filter((session) => !except.includes(session.client))
  const words = new Disconnect({ code, reason })
  for (const session of sessions) session.close(words)
  return sessions.length
}

/** @internal */
export const unsubscribe = (
  node: Node,
  { channel, client, code, reason, user }: Control.Unsubscribe
): Effect.Effect<number, ProtocolError> =>
  Effect.zipRight(
    node.namespaceOf(channel),
    each(
      node,
      channel,
      node.roster.of(user, client).filter((session) => session.subscriptions.has(channel)),
      (session) => {
        const subscription = session.subscriptions.get(channel)
        return subscription === undefined ? Effect.void : Subscribing.take(subscription, { code, reason })
      }
    )
  )

/** @internal */
export const subscribe = (
  node: Node,
  { channel, client, data, expireAt, info, override, since, user }: Control.SubscribeUser
): Effect.Effect<number, ProtocolError> =>
  Effect.flatMap(node.namespaceOf(channel), (namespace) =>
    each(
      node,
      channel,
      node.roster.of(user, client),
      (session) => Subscribing.give(session, channel, namespace, { data, expireAt, info, override }, since)
    ))

/** @internal */
export const refresh = (node: Node, { client, user, ...options }: Control.Refresh): number => {
  const sessions = node.roster.of(user, client)
  for (const session of sessions) Connecting.refreshBy(session, options)
  return sessions.length
}

/** @internal */
export const send = (node: Node, { client, data }: Control.Send): boolean => {
  const session = node.roster.client(client)
  // Nothing comes before the reply to the connect command.
  if (session?.isConnected !== true) return false
  session.push(pushes.message(data))
  return true
}

const perform = (node: Node, request: Control.Request): string | Effect.Effect<string, ProtocolError> => {
  switch (request._tag) {
    case "info":
      return Control.encodeAnswer(request, info(node))
    case "channels":
      return Control.encodeAnswer(request, channels(node, request))
    case "disconnect":
      return Control.encodeAnswer(request, disconnect(node, request))
    case "unsubscribe":
      return Effect.map(unsubscribe(node, request), (count) => Control.encodeAnswer(request, count))
    case "subscribe":
      return Effect.map(subscribe(node, request), (count) => Control.encodeAnswer(request, count))
    case "refresh":
      return Control.encodeAnswer(request, refresh(node, request))
    case "send":
      return Control.encodeAnswer(request, send(node, request))
  }
}

/**
 * Answers what another node asks. Whatever came, and whatever goes wrong, is answered.
 *
 * @internal
 */
export const answer = (node: Node) => (text: string): Effect.Effect<string> =>
  Effect.suspend(() => {
    const request = Control.decodeRequest(text)
    if (request._tag === "Left") return Effect.succeed(Control.encodeRefusal(request.left))
    const answered = perform(node, request.right)
    return typeof answered === "string" ? Effect.succeed(answered) : answered
  }).pipe(
    Effect.catchAll(({ message }) => Effect.succeed(Control.encodeRefusal(message))),
    Effect.catchAllDefect((defect) =>
      Effect.as(
        Effect.annotateLogs(Effect.logError("A request of another node failed", Cause.die(defect)), {
          package: "effect-ws-hub"
        }),
        Control.encodeRefusal("it failed; the node's log says why")
      )
    )
  )
