/**
 * What a client is made with.
 *
 * @since 1.0.0
 */
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"

/**
 * What opens sockets: the global `WebSocket` of browsers, or that of the package `ws`.
 *
 * @since 1.0.0
 * @category models
 */
export type WebSocketConstructor = new(url: string) => object

/**
 * A token, which may be kept out of logs.
 *
 * @since 1.0.0
 * @category models
 */
export type Token = string | Redacted.Redacted

/** @internal */
export const tokenText = (token: Token): string => typeof token === "string" ? token : Redacted.value(token)

/**
 * What a client is made with.
 *
 * @since 1.0.0
 * @category models
 */
export interface ClientOptions<E = never, R = never> {
  /** Where the hub is: `wss://…/connection/websocket`. */
  readonly url: string
  /** The first token. Absent: `getToken` is asked for it, or there is none. */
  readonly token?: Token | undefined
  /**
   * A new token, when there is none yet and whenever one has expired. It fails with `Unauthorized` to give up: the
   * client is disconnected. After any other failure the SDK pauses and asks again. It is interrupted when the client's
   * scope closes.
   */
  readonly getToken?: Effect.Effect<Token, E, R> | undefined
  /** Any JSON for the server's authenticator, but `null`, `false`, `0` and `""`, which the SDK leaves out. */
  readonly data?: unknown
  /** What the client is, for the server's logs. Defaults to `js`. */
  readonly name?: string | undefined
  /** Its version, for the server's logs. */
  readonly version?: string | undefined
  /** Sent with the connect command, for servers that read them as headers. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** What opens sockets. Defaults to the global `WebSocket`, which Node has from version 22 on. */
  readonly websocket?: WebSocketConstructor | undefined
  /** How long a request, and an attempt to connect, may take. Defaults to 5 seconds. */
  readonly timeout?: Duration.DurationInput | undefined
  /** The shortest pause between attempts to connect; it grows. Defaults to 500 milliseconds. */
  readonly minReconnectDelay?: Duration.DurationInput | undefined
  /** The longest one. Defaults to 20 seconds. */
  readonly maxReconnectDelay?: Duration.DurationInput | undefined
  /** How late a ping of the server may be before the connection counts as broken. Defaults to 10 seconds. */
  readonly maxServerPingDelay?: Duration.DurationInput | undefined
  /** How many events may wait for one reader of a stream, at least 1. Defaults to 1024. */
  readonly bufferSize?: number | undefined
}

/** @internal */
export const defaults = { timeout: 5000, bufferSize: 1024 }

/** A timer of more than 2^31 milliseconds fires at once, and the SDK adds the interval of pings to some: 23 days. */
const longest = 2_000_000_000

/** @internal */
export const millis = (duration: Duration.DurationInput | undefined): number | undefined =>
  duration === undefined ? undefined : Math.min(longest, Duration.toMillis(duration))

/**
 * Why data cannot be sent along, if they cannot: the SDK leaves them out, or breaks at them.
 *
 * @internal
 */
export const unsendable = (data: unknown): string | undefined => {
  if (data === undefined) return undefined
  try {
    // Of a function it is `undefined`, whatever its type says.
    const text: string | undefined = JSON.stringify(data)
    return text === undefined ? "the data is not JSON" : data ? undefined : `the SDK does not send ${text} along`
  } catch (error) {
    return `the data is not JSON: ${String(error)}`
  }
}

type Defined<A> = { readonly [K in keyof A]: Exclude<A[K], undefined> }

/**
 * Without the absent ones: the SDK takes `undefined` for a value.
 *
 * @internal
 */
export const defined = <A extends object>(options: A): Partial<Defined<A>> =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Partial<Defined<A>>
