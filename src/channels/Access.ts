/**
 * Who may do what in a channel.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import type { Disconnect } from "../core/HubError.js"
import type { Authenticator, Grant } from "./Authenticator.js"
import type { Caller } from "./Channels.js"
import type { Access, Namespace } from "./Namespace.js"
import { errors, type ProtocolError } from "./ProtocolCode.js"
import type { SubscribeParams } from "./ProtocolCommand.js"

/** The users that a channel names: what follows its last `#`, separated by commas. */
const namesUser = (channel: string, user: string): boolean =>
  user !== "" && channel.slice(channel.lastIndexOf("#") + 1).split(",").includes(user)

/** Whether a channel is for the users alone that its name names, and whether this is one. */
const userLimit = (
  channel: string,
  user: string,
  { allowUserLimitedChannels }: Namespace,
  personal: string | undefined
): { readonly isLimited: boolean; readonly isNamed: boolean } => {
  if (allowUserLimitedChannels && channel.includes("#")) return { isLimited: true, isNamed: namesUser(channel, user) }
  const isLimited = personal !== undefined && channel.startsWith(personal)
  return { isLimited, isNamed: isLimited && channel === personalChannel(personal, user) }
}

/**
 * The channel of a user's own. None for a user whose id would name others, or a part of it.
 *
 * @internal
 */
export const personalChannel = (prefix: string, user: string): string | undefined =>
  user === "" || /[#,]/.test(user) ? undefined : prefix + user

/**
 * Whether an `allow…` option lets a client do something.
 *
 * @internal
 */
export const allows = (access: Access, user: string, isSubscriber: boolean): boolean =>
  (access.client || access.subscriber && isSubscriber) && (user !== "" || access.anonymous)

/**
 * Grants or refuses a subscription that a client asks for; the first rule that applies decides.
 *
 * @internal
 */
export const subscribe = (
  { caller, handler, insecure, namespace, params, personal, tokens }: {
    readonly params: SubscribeParams
    readonly caller: Caller
    readonly namespace: Namespace
    readonly insecure: boolean
    /** How the names of personal channels begin, if there are any. */
    readonly personal: string | undefined
    readonly tokens: Authenticator["Type"]
    /** What a handler says, if there is one for the channel. */
    readonly handler: Effect.Effect<Grant, ProtocolError | Disconnect> | undefined
  }
): Effect.Effect<Grant, ProtocolError | Disconnect> => {
  const { channel, token } = params
  const { client, user } = caller
  if (token !== "") return tokens.subscribe(token, { channel, user, client })
  if (channel.startsWith("$")) return Effect.fail(errors.permissionDenied)
  if (handler !== undefined) return handler
  const { isLimited, isNamed } = userLimit(channel, user, namespace, personal)
  if (isNamed || !isLimited && allows(namespace.subscribe, user, false)) return Effect.succeed({})
  return insecure ? Effect.succeed({}) : Effect.fail(errors.permissionDenied)
}
