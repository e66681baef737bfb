/**
 * What a channel offers and to whom: options by namespace, and which namespace a channel belongs to.
 *
 * @since 1.0.0
 */
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { badRequest, errors, type ProtocolError } from "./ProtocolCode.js"

const ExpectedId = Symbol.for("effect-ws-hub/channels/Expected")

const flag = (description: string) =>
  Schema.optional(Schema.Boolean.annotations({ description, [ExpectedId]: "true or false" }))

const count = (description: string) =>
  Schema.optional(Schema.NonNegativeInt.annotations({
    description: `${description} 0: none, or no limit.`,
    [ExpectedId]: "a whole number, 0 or above"
  }))

/** As Effect reads durations: "5 minutes", or a number of milliseconds. */
const duration = (description: string) =>
  Schema.optional(
    Schema.Union(
      Schema.Finite.pipe(Schema.nonNegative()),
      Schema.String.pipe(Schema.filter((text) => {
        const parsed = Duration.decodeUnknown(text)
        return parsed._tag === "Some" && Duration.isFinite(parsed.value) && !text.trim().startsWith("-")
      }))
    ).annotations({
      description: `${description} A duration such as "5 minutes", or milliseconds.`,
      [ExpectedId]: "a duration such as \"5 minutes\" or a number of milliseconds"
    })
  )

const choice = <const Words extends readonly [string, string, ...ReadonlyArray<string>]>(
  description: string,
  ...words: Words
) =>
  Schema.optional(
    Schema.Literal(...words).annotations({
      description,
      [ExpectedId]: `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`
    })
  )

const isPattern = (text: string): boolean => {
  try {
    new RegExp(text, "u")
    return true
  } catch {
    return false
  }
}

/**
 * The options of a namespace, as they are configured. Everything is off unless it is named here.
 *
 * @since 1.0.0
 * @category schemas
 */
export const NamespaceOptions = Schema.Struct({
  presence: flag("Keeps who is subscribed."),
  joinLeave: flag("Publishes when clients join and leave; who asks for it gets it."),
  forcePushJoinLeave: flag("Every subscriber gets joins and leaves."),
  historySize: count("Publications that are kept."),
  historyTtl: duration("Time that publications are kept."),
  historyMetaTtl: duration("Time that the position of the stream is kept after its last use. Defaults to 30 days."),
  forcePositioning: flag("Positions are checked: a subscriber that missed something is told."),
  allowPositioning: flag("Clients may ask for positioning."),
  forceRecovery: flag("A client that comes back gets what it missed."),
  allowRecovery: flag("Clients may ask for recovery."),
  forceRecoveryMode: choice(
    "What a client that comes back gets: all that it missed, or the newest publication. Defaults to stream.",
    "stream",
    "cache"
  ),
  autoCacheRecover: flag("In cache mode a client gets the newest publication without asking."),
  allowSubscribeForClient: flag("Users may subscribe."),
  allowSubscribeForAnonymous: flag("Anonymous clients may too, where users may."),
  allowPublishForClient: flag("Users may publish."),
  allowPublishForSubscriber: flag("Users who are subscribed may publish."),
  allowPublishForAnonymous: flag("Anonymous clients may too, where users may."),
  allowPresenceForClient: flag("Users may ask who is subscribed."),
  allowPresenceForSubscriber: flag("Users who are subscribed may ask who else is."),
  allowPresenceForAnonymous: flag("Anonymous clients may too, where users may."),
  allowHistoryForClient: flag("Users may read the history."),
  allowHistoryForSubscriber: flag("Users who are subscribed may read the history."),
  allowHistoryForAnonymous: flag("Anonymous clients may too, where users may."),
  allowUserLimitedChannels: flag("The users that a channel names after # may subscribe to it."),
  channelRegex: Schema.optional(
    Schema.String.pipe(Schema.filter(isPattern)).annotations({
      description: "What a channel's name without its namespace must match; it may then hold more than ASCII.",
      [ExpectedId]: "a regular expression"
    })
  ),
  overflow: choice(
    "What becomes of publications for a subscriber that does not keep up. Only disconnect with positioning or recovery. Defaults to disconnect.",
    "disconnect",
    "drop-oldest",
    "drop-newest",
    "conflate"
  ),
  coalesceWindow: duration("Publications within the window are joined: the newest one is published when it ends."),
  publishRate: count("Publications per second that a client may make in the channels of this namespace."),
  subscribeRate: count("Subscriptions per second that a client may make in this namespace."),
  historyRate: count("Reads of history or presence per second that a client may make in this namespace.")
}).annotations({ identifier: "NamespaceOptions", parseOptions: { onExcessProperty: "error" } })

/**
 * What an option of a namespace must be, for people. Nothing if there is no such option.
 *
 * @internal
 */
export const expectedOf = (key: string): string | undefined => {
  const found = Object.entries(NamespaceOptions.fields).find(([name]) => name === key)
  return found === undefined ? undefined : String(found[1].from.ast.annotations[ExpectedId])
}

/**
 * Names of namespaces. `__proto__` cannot be one: no object could hold it safely.
 *
 * @internal
 */
export const NamespaceName = Schema.String.pipe(Schema.pattern(/^(?!__proto__$)[-a-zA-Z0-9_]{2,}$/))

/**
 * The options of a namespace, as they are configured.
 *
 * @since 1.0.0
 * @category models
 */
export type NamespaceOptions = typeof NamespaceOptions.Type

/**
 * The options of all channels.
 *
 * @since 1.0.0
 * @category models
 */
export interface NamespacesOptions {
  /** Of channels whose name has no `:`. Absent: there are none, and asking for one is error 102. */
  readonly withoutNamespace?: NamespaceOptions | undefined
  /** By name: two characters or more of letters, digits, `-` and `_`. */
  readonly namespaces?: Readonly<Record<string, NamespaceOptions>> | undefined
}

/**
 * The options of a namespace, as they are used. Times in milliseconds, rates per second with `Infinity` for no limit.
 *
 * @since 1.0.0
 * @category models
 */
export interface Namespace {
  readonly name: string
  readonly presence: boolean
  readonly joinLeave: boolean
  readonly forcePushJoinLeave: boolean
  /** Absent: no history. */
  readonly stream: { readonly size: number; readonly ttl: number; readonly metaTtl: number } | undefined
  readonly forcePositioning: boolean
  readonly allowPositioning: boolean
  readonly forceRecovery: boolean
  readonly allowRecovery: boolean
  readonly recoveryMode: "stream" | "cache"
  readonly autoCacheRecover: boolean
  readonly subscribe: Access
  readonly publish: Access
  readonly readPresence: Access
  readonly readHistory: Access
  readonly allowUserLimitedChannels: boolean
  readonly pattern: RegExp | undefined
  readonly overflow: "disconnect" | "drop-oldest" | "drop-newest" | "conflate"
  readonly coalesceWindow: number
  readonly publishRate: number
  readonly subscribeRate: number
  readonly historyRate: number
}

/**
 * Who may do something: any user, subscribers only, and whether that includes anonymous clients.
 *
 * @since 1.0.0
 * @category models
 */
export interface Access {
  readonly client: boolean
  readonly subscriber: boolean
  readonly anonymous: boolean
}

/** @internal */
export const millis = (input: number | string | undefined, fallback: number): number =>
  input === undefined ? fallback : Duration.toMillis(Option.getOrThrow(Duration.decodeUnknown(input)))

const rate = (limit: number | undefined): number => limit === undefined || limit === 0 ? Infinity : limit

const month = 30 * 24 * 3600 * 1000

/**
 * Fills in what the options leave open. They are right: `ChannelsLive` has checked them.
 *
 * @since 1.0.0
 * @category constructors
 */
export const make = (name: string, options: NamespaceOptions): Namespace => {
  const size = options.historySize ?? 0
  const ttl = millis(options.historyTtl, 0)
  return {
    name,
    presence: options.presence ?? false,
    joinLeave: options.joinLeave ?? false,
    forcePushJoinLeave: options.forcePushJoinLeave ?? false,
    stream: size > 0 && ttl > 0
      ? { size, ttl, metaTtl: Math.max(ttl, millis(options.historyMetaTtl, month)) }
      : undefined,
    forcePositioning: options.forcePositioning ?? false,
    allowPositioning: options.allowPositioning ?? false,
    forceRecovery: options.forceRecovery ?? false,
    allowRecovery: options.allowRecovery ?? false,
    recoveryMode: options.forceRecoveryMode ?? "stream",
    autoCacheRecover: options.autoCacheRecover ?? false,
    subscribe: {
      client: options.allowSubscribeForClient ?? false,
      subscriber: false,
      anonymous: options.allowSubscribeForAnonymous ?? false
    },
    publish: {
      client: options.allowPublishForClient ?? false,
      subscriber: options.allowPublishForSubscriber ?? false,
      anonymous: options.allowPublishForAnonymous ?? false
    },
    readPresence: {
      client: options.allowPresenceForClient ?? false,
      subscriber: options.allowPresenceForSubscriber ?? false,
      anonymous: options.allowPresenceForAnonymous ?? false
    },
    readHistory: {
      client: options.allowHistoryForClient ?? false,
      subscriber: options.allowHistoryForSubscriber ?? false,
      anonymous: options.allowHistoryForAnonymous ?? false
    },
    allowUserLimitedChannels: options.allowUserLimitedChannels ?? false,
    pattern: options.channelRegex === undefined ? undefined : new RegExp(options.channelRegex, "u"),
    overflow: options.overflow ?? "disconnect",
    coalesceWindow: millis(options.coalesceWindow, 0),
    publishRate: rate(options.publishRate),
    subscribeRate: rate(options.subscribeRate),
    historyRate: rate(options.historyRate)
  }
}

/** Names of channels are at most this long, in UTF-16 units. */
const longest = 255

/**
 * Finds the namespace of a channel: the text before its first `:`, without one leading `$`. Error 107 for a name that
 * cannot be, 102 for a namespace that is not configured.
 *
 * @since 1.0.0
 * @category constructors
 */
export const resolver = (
  options: NamespacesOptions
): (channel: string) => Either.Either<Namespace, ProtocolError> => {
  // The answers are made once: this runs for every command.
  const answer = (name: string, options: NamespaceOptions) => {
    const namespace = make(name, options)
    return { pattern: namespace.pattern, found: Either.right(namespace) }
  }
  const plain = options.withoutNamespace === undefined ? undefined : answer("", options.withoutNamespace)
  const named = new Map(Object.entries(options.namespaces ?? {}).map(([name, found]) => [name, answer(name, found)]))
  return (channel) => {
    if (channel === "" || channel.length > longest) {
      return Either.left(badRequest(`a channel's name has 1 to ${longest} characters`))
    }
    const start = channel.startsWith("$") ? 1 : 0
    const boundary = channel.indexOf(":", start)
    const known = boundary < 0 ? plain : named.get(channel.slice(start, boundary))
    if (known === undefined) return Either.left(errors.unknownChannel)
    const { found, pattern } = known
    if (pattern !== undefined) {
      return pattern.test(channel.slice(boundary < 0 ? start : boundary + 1))
        ? found
        : Either.left(badRequest("the channel's name does not match the namespace's pattern"))
    }

    return /^[\x00-\x7f]*$/.test(channel)
      ? found
      : Either.left(badRequest("a channel's name is ASCII, unless its namespace says otherwise"))
  }
}
