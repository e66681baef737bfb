/**
 * The connection of a client: its state, its requests and its messages.
 *
 * @since 1.0.0
 */
import { Centrifuge, type ClientEvents, type ErrorContext } from "centrifuge"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Runtime from "effect/Runtime"
import type * as Stream from "effect/Stream"
import { Signal } from "../core/Signal.js"
import { ConnectionError, SlowReader, Unanswered } from "./ClientError.js"
import { type ClientOptions, defaults, defined, millis, tokenText, unsendable } from "./ClientOptions.js"
import { latest, Reader, Readers } from "./Reader.js"
import { type Fetch, listen, requestError } from "./Sdk.js"
import type { RequestError } from "./Subscription.js"

/**
 * Not connected yet, or not just now: the SDK goes on trying.
 *
 * @since 1.0.0
 * @category models
 */
export interface Connecting {
  readonly _tag: "Connecting"
  /** Why: 0 at the beginning, 1 the connection was lost, 2 no ping came, or the code of the server's close. */
  readonly code: number
  readonly reason: string
  /** What went wrong with the last attempt. */
  readonly error?: {
    /** Where: `transport`, `connectToken`, `connect`. */
    readonly type: string
    readonly code: number
    readonly message: string
    /** The failure of `getToken`. */
    readonly cause?: unknown
  }
}

/**
 * Connected.
 *
 * @since 1.0.0
 * @category models
 */
export interface Connected {
  readonly _tag: "Connected"
  /** The connection's id in the protocol. */
  readonly client: string
  /** What the server said. */
  readonly data: unknown
}

/**
 * Disconnected for good.
 *
 * @since 1.0.0
 * @category models
 */
export interface Disconnected {
  readonly _tag: "Disconnected"
  readonly error: ConnectionError
}

/**
 * The state of a client.
 *
 * @since 1.0.0
 * @category models
 */
export type ClientState = Connecting | Connected | Disconnected

/** Newer sockets take those of HTTP for their own. */
const protocols = new Set(["ws:", "wss:", "http:", "https:"])

/** Of these the application may have to know; the others say that the network is as networks are. */
const worthAWarning = new Set(["configuration", "connectToken", "refreshToken", "subscribe", "subscribeToken"])

/** @internal */
export class Connection {
  readonly sdk: Centrifuge
  readonly timeout: number
  readonly bufferSize: number
  /** Calls it once the client is disconnected for good. */
  onEnd: (error: ConnectionError) => void = () => {}
  private current: ClientState = { _tag: "Connecting", code: 0, reason: "connect called" }
  private readonly changed = new Signal()
  private readonly states = new Readers<ClientState, never>()
  private readonly incoming = new Readers<unknown, SlowReader | ConnectionError>()
  private readonly fetching = new AbortController()
  private readonly runtime: Runtime.Runtime<never>
  private readonly ignore: () => void
  private tokenFailure: Cause.Cause<unknown> | undefined

  /** Throws what is wrong with the options, and what the SDK throws. */
  constructor(runtime: Runtime.Runtime<never>, options: Omit<ClientOptions, "getToken">, fetch: Fetch | undefined) {
    const { protocol } = new URL(options.url)
    if (!protocols.has(protocol)) throw new TypeError(`No socket speaks ${protocol}`)
    const wrong = unsendable(options.data)
    if (wrong !== undefined) throw new TypeError(wrong)
    this.runtime = runtime
    this.timeout = millis(options.timeout) ?? defaults.timeout
    this.bufferSize = options.bufferSize ?? defaults.bufferSize
    this.sdk = new Centrifuge(
      options.url,
      defined({
        token: options.token === undefined ? undefined : tokenText(options.token),
        getToken: fetch?.(this.fetching.signal, (cause) => {
          this.tokenFailure = cause
        }),
        data: options.data,
        name: options.name,
        version: options.version,
        headers: options.headers,
        websocket: options.websocket,
        timeout: this.timeout,
        minReconnectDelay: millis(options.minReconnectDelay),
        maxReconnectDelay: millis(options.maxReconnectDelay),
        maxServerPingDelay: millis(options.maxServerPingDelay)
      })
    )
    this.ignore = listen<ClientEvents>(this.sdk, {
      connecting: ({ code, reason }) => this.become({ _tag: "Connecting", code, reason }),
      connected: ({ client, data }) => {
        this.tokenFailure = undefined
        this.become({ _tag: "Connected", client, data })
      },
      disconnected: ({ code, reason }) => this.disconnected(code, reason),
      message: ({ data }) => this.incoming.offer(data),
      error: (context) => this.onError(context)
    })
    this.sdk.connect()
  }

  /** Disconnects, and waits for nothing. */
  close(): void {
    this.fetching.abort()
    this.sdk.disconnect()
    this.ignore()
  }

  get state(): ClientState {
    return this.current
  }

  /** The state, and each that follows; a reader that is slow sees the newest. Ends when disconnected. */
  get changes(): Stream.Stream<ClientState> {
    return this.states.stream(() => {
      const reader = new Reader<ClientState, never>(1, latest)
      reader.offer(this.current)
      return reader
    })
  }

  /** What the server sends to this client outside of channels, from when the stream runs. */
  get messages(): Stream.Stream<unknown, SlowReader | ConnectionError> {
    return this.incoming.stream(() =>
      new Reader(this.bufferSize, () => new SlowReader({ bufferSize: this.bufferSize }))
    )
  }

  /** Waits until it is connected. */
  readonly connected: Effect.Effect<Connected, ConnectionError> = Effect.suspend(() => {
    switch (this.current._tag) {
      case "Connected":
        return Effect.succeed(this.current)
      case "Disconnected":
        return Effect.fail(this.current.error)
      case "Connecting":
        return Effect.zipRight(this.changed.until(() => this.current._tag !== "Connecting"), this.connected)
    }
  })

  /** Gives up when it takes longer than requests may take, in a finalizer too. */
  inTime<A, E1>(effect: Effect.Effect<A, E1>): Effect.Effect<A, E1 | Unanswered> {
    return Effect.timeoutFail(Effect.interruptible(effect), {
      duration: this.timeout,
      onTimeout: () => new Unanswered({ code: 1, reason: "timeout" })
    })
  }

  /**
   * Asks the server, once connected. The SDK is called only then: what waits in it would be sent even if nobody waits
   * for the answer any more.
   */
  request<A>(call: (sdk: Centrifuge) => Promise<A>): Effect.Effect<A, RequestError> {
    return Effect.suspend(() =>
      this.current._tag === "Connected"
        ? Effect.tryPromise({ try: () => call(this.sdk), catch: requestError })
        : Effect.zipRight(this.inTime(this.connected), this.request(call))
    )
  }

  /** Tells of what the SDK goes on from by itself. */
  log(context: Pick<ErrorContext, "type" | "error">, channel?: string): void {
    const level = worthAWarning.has(context.type) ? Effect.logWarning : Effect.logDebug
    Runtime.runFork(this.runtime)(
      level(`The client tries again after an error (${context.type}): ${context.error.message}`).pipe(
        Effect.annotateLogs({ package: "effect-ws-hub", ...(channel === undefined ? {} : { channel }) })
      )
    )
  }

  private onError(context: ErrorContext): void {
    this.log(context)
    if (this.current._tag !== "Connecting") return
    const { error: { code, message }, type } = context
    const cause = type === "connectToken" ? this.cause : {}
    this.become({ ...this.current, error: { type, code, message, ...cause } })
  }

  private disconnected(code: number, reason: string): void {
    const error = new ConnectionError({ code, reason, ...(code === 1 ? this.cause : {}) })
    this.become({ _tag: "Disconnected", error })
    this.states.finish((reader) => reader.done())
    this.incoming.finish((reader) => reader.fail(error))
    this.onEnd(error)
  }

  /** Why there was no token. */
  private get cause(): { readonly cause?: unknown } {
    return this.tokenFailure === undefined ? {} : { cause: Cause.squash(this.tokenFailure) }
  }

  private become(state: ClientState): void {
    this.current = state
    this.states.offer(state)
    this.changed.notify()
  }
}
