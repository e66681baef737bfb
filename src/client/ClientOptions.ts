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
  /** Any JSON for the server's authenticator. The SDK leaves out `false`, `0` and `""`. */
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

/** @internal */
export const millis = (duration: Duration.DurationInput | undefined): number | undefined =>
  duration === undefined ? undefined : Duration.toMillis(duration)

type Defined<A> = { readonly [K in keyof A]: Exclude<A[K], undefined> }

/**
 * Without the absent ones: the SDK takes `undefined` for a value.
 *
 * @internal
 */
export const defined = <A extends object>(options: A): Partial<Defined<A>> =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Partial<Defined<A>>
