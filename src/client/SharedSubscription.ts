/**
 * A subscription of the SDK, and those who share it.
 *
 * @since 1.0.0
 */
import type { Centrifuge, ErrorContext, SubscribedContext, Subscription as SdkSubscription } from "centrifuge"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import { ProtocolError } from "../channels/ProtocolCode.js"
import type { StreamPosition } from "../channels/Publication.js"
import { Signal } from "../core/Signal.js"
import { Unsubscribed } from "./ClientError.js"
import { defined, millis, tokenText } from "./ClientOptions.js"
import { type Fetch, infoOf, listen, publicationOf } from "./Sdk.js"
import type { Subscriber } from "./Subscriber.js"
import type { SubscribeError, SubscribeOptions } from "./Subscription.js"

/** What it needs of its client. */
interface Client {
  readonly sdk: Centrifuge
  readonly log: (context: Pick<ErrorContext, "type" | "error">, channel: string) => void
}

/** @internal */
export type Asked = Omit<SubscribeOptions, "getToken">

/** Why a subscription ended: the server's answer to subscribing, or what came later. */
const endOf = (channel: string, code: number, reason: string, cause: { readonly cause?: unknown }): SubscribeError =>
  code >= 100 && code < 2000
    ? new ProtocolError({ code, reason, temporary: false })
    : new Unsubscribed({ channel, code, reason, ...cause })

/** @internal */
export class SharedSubscription {
  private readonly subscribers = new Set<Subscriber>()
  private readonly changed = new Signal()
  private readonly fetching = new AbortController()
  private readonly client: Client
  private readonly sdk: SdkSubscription
  private readonly ignore: () => void
  private readonly asked: Asked
  private readonly fetches: boolean
  private readonly onEnd: () => void
  private tokenFailure: Cause.Cause<unknown> | undefined
  /** What the server said last; none while it is not subscribed. */
  private context: SubscribedContext | undefined
  private position: StreamPosition | undefined
  private ended: SubscribeError | undefined

  constructor(client: Client, channel: string, asked: Asked, fetch: Fetch | undefined, onEnd: () => void) {
    this.client = client
    this.asked = asked
    this.fetches = fetch !== undefined
    this.onEnd = onEnd
    const { data, joinLeave, maxResubscribeDelay, minResubscribeDelay, positioned, recoverable, since, token } = asked
    this.sdk = client.sdk.newSubscription(
      channel,
      defined({
        data,
        joinLeave,
        positioned,
        recoverable,
        since,
        token: token === undefined ? undefined : tokenText(token),
        getToken: fetch?.(this.fetching.signal, (cause) => {
          this.tokenFailure = cause
        }),
        minResubscribeDelay: millis(minResubscribeDelay),
        maxResubscribeDelay: millis(maxResubscribeDelay)
      })
    )
    this.ignore = listen(this.sdk, {
      subscribed: (context) => this.subscribed(context),
      subscribing: () => {
        this.context = undefined
      },
      unsubscribed: ({ code, reason }) =>
        this.end(endOf(
          channel,
          code,
          reason,
          code === 1 && this.tokenFailure !== undefined ? { cause: Cause.squash(this.tokenFailure) } : {}
        )),
      publication: (context) => {
        const publication = publicationOf(context)
        if (this.position !== undefined && publication.offset > 0) {
          this.position = { ...this.position, offset: publication.offset }
        }
        for (const { events } of this.subscribers) events.offer({ _tag: "Published", ...publication })
      },
      join: ({ info }) => this.member("Joined", infoOf(info)),
      leave: ({ info }) => this.member("Left", infoOf(info)),
      error: (context) => client.log(context, channel)
    })
    this.sdk.subscribe()
  }

  /** What a later subscriber asks for and the first one did not. */
  lacks(later: Asked, fetches: boolean): string | undefined {
    // Its token expires, and nobody would fetch another.
    if (fetches && !this.fetches && this.asked.token !== undefined) return "getToken"
    if (later.since !== undefined) return "since"
    if (later.data !== undefined && JSON.stringify(later.data) !== JSON.stringify(this.asked.data)) return "data"
    return (["joinLeave", "recoverable", "positioned"] as const)
      .find((name) => later[name] === true && this.asked[name] !== true)
  }

  join(subscriber: Subscriber): void {
    this.subscribers.add(subscriber)
    if (this.context !== undefined) subscriber.subscribed(this.context.data, this.position, false)
  }

  /** The last one ends the subscription. */
  leave(subscriber: Subscriber): void {
    subscriber.leave()
    if (!this.subscribers.delete(subscriber) || this.subscribers.size > 0 || this.ended !== undefined) return
    this.end(new Unsubscribed({ channel: this.sdk.channel, code: 0, reason: "unsubscribe called" }))
  }

  /** Ends it for all who share it. */
  end(error: SubscribeError): void {
    this.ended = error
    this.context = undefined
    this.ignore()
    this.fetching.abort()
    this.client.sdk.removeSubscription(this.sdk)
    for (const subscriber of this.subscribers) subscriber.fail(error)
    this.onEnd()
    this.changed.notify()
  }

  /** Waits until it is subscribed. */
  readonly active: Effect.Effect<void, SubscribeError> = Effect.suspend(() =>
    Effect.flatMap(
      this.changed.until(() => this.ended !== undefined || this.context !== undefined),
      () => this.ended === undefined ? Effect.void : Effect.fail(this.ended)
    )
  )

  private subscribed(context: SubscribedContext): void {
    this.context = context
    this.position = context.streamPosition
    for (const subscriber of this.subscribers) subscriber.subscribed(context.data, this.position, context.recovered)
    this.changed.notify()
  }

  private member(_tag: "Joined" | "Left", info: ReturnType<typeof infoOf>): void {
    for (const subscriber of this.subscribers) subscriber.member({ _tag, info })
  }
}
