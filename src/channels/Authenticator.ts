/**
 * Who a client is, and what a token lets it do.
 *
 * @since 1.0.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { Disconnect } from "../core/HubError.js"
import type { Handshake } from "../core/Transport.js"
import type { ProtocolError } from "./ProtocolCode.js"

/**
 * What a grant changes of the channel's own options.
 *
 * @since 1.0.0
 * @category models
 */
export interface Override {
  readonly presence?: boolean | undefined
  readonly joinLeave?: boolean | undefined
  readonly forcePushJoinLeave?: boolean | undefined
  readonly forceRecovery?: boolean | undefined
  readonly forcePositioning?: boolean | undefined
}

/**
 * A subscription that was granted, to one channel.
 *
 * @since 1.0.0
 * @category models
 */
export interface Grant {
  /** JSON that others see as `chanInfo`. To change it give another: its text is kept. */
  readonly info?: unknown
  /** JSON that the client gets with the reply. */
  readonly data?: unknown
  /** When the subscription expires, in seconds of Unix time. Absent: never. */
  readonly expireAt?: number | undefined
  readonly override?: Override | undefined
}

/**
 * Who a client is.
 *
 * @since 1.0.0
 * @category models
 */
export interface Credentials {
  /** Empty for an anonymous user. */
  readonly user: string
  /** JSON that others see as `connInfo`. To change it give another: its text is kept. */
  readonly info?: unknown
  /** JSON that the client gets with the connect reply. */
  readonly data?: unknown
  /** For the application only, never sent. */
  readonly meta?: unknown
  /** When the connection expires, in seconds of Unix time. Absent: never. */
  readonly expireAt?: number | undefined
  /** Whether the client refreshes by a new token. If not, the application does by `channels.refresh`. */
  readonly clientRefresh: boolean
  /** Channels that the server subscribes the client to, as part of connecting. */
  readonly subscriptions: ReadonlyMap<string, Grant>
}

/**
 * What a client said when it connected.
 *
 * @since 1.0.0
 * @category models
 */
export interface ConnectRequest {
  /** Empty if there is none. */
  readonly token: string
  readonly data: unknown
  readonly name: string
  readonly version: string
  /** Headers that the client emulates; a browser cannot set real ones. */
  readonly headers: ReadonlyMap<string, string>
  readonly client: string
  readonly handshake: Handshake
}

/**
 * Decides who a client is, and checks its tokens. A `ProtocolError` is the answer to the command (109 makes the client
 * fetch a new token), a `Disconnect` closes the connection. Interrupted when the socket is gone.
 *
 * @since 1.0.0
 * @category tags
 */
export class Authenticator extends Context.Tag("effect-ws-hub/Authenticator")<Authenticator, {
  readonly connect: (request: ConnectRequest) => Effect.Effect<Credentials, ProtocolError | Disconnect>
  /** A new token for a connection of this user. */
  readonly refresh: (token: string, user: string) => Effect.Effect<Credentials, ProtocolError | Disconnect>
  /** A token for a subscription of this user to this channel. */
  readonly subscribe: (
    token: string,
    request: { readonly channel: string; readonly user: string; readonly client: string }
  ) => Effect.Effect<Grant, ProtocolError | Disconnect>
}>() {}
